"""A process is killed at its n-th commit, for every n that two small messages need: nothing is lost at any of them.

strace kills whatever process first comes to its n-th fdatasync, the worker or the supervisor. What was written before
is in the file and was not confirmed: the moment between two steps of the order record -> copy -> remove.
"""

import os
import signal

import pytest

from tests.acceptance.harness.strace import injecting, need_strace

CODE = """
    class Good(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                pass

    class Bad(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                if data == "never" or context.attempt == 1:
                    raise RuntimeError("as its name says")

    class Alert(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                pass
"""
COMMITS = range(1, 13)


@pytest.fixture(scope="module", autouse=True)
def strace() -> None:
    need_strace()


@pytest.mark.parametrize("count", COMMITS)
def test_nothing_is_lost_when_a_process_is_killed_at_its_commit(app, until, count):
    app.task("work", CODE)
    app.manifest("work Good", "work Bad", "work Alert default")
    app.settings |= {
        "POOL_SIZE": 1, "NO_OF_REQUESTS_CONSUMERS": 1, "NO_OF_REJECTS_CONSUMERS": 1, "CONCURRENCY": 1,
        "LEASE_S": 1, "TASK_BACKOFF_S": 0.1,
    }  # fmt: skip
    app.cli("check")  # makes the databases: their own commits are not what is looked at
    uids = {"once": app.publish("once"), "never": app.publish("never")}
    system = app.start("--drain", before=injecting("fdatasync,fsync", f"signal=KILL:when={count}"))

    until(
        lambda: system.popen.poll() is not None or "died: signal 9" in system.log(),
        "something was killed or all is done",
    )
    for process in system.group():
        os.kill(process.pid, signal.SIGKILL)
    until(lambda: not system.group(), "all have ended")
    done, log_length = app.finished(), app.count()
    app.drain()

    assert [one for one in app.effects()[log_length:] if one.what == "start" and (one.uid, one.task) in done] == []
    assert {letter["uid"] for letter in app.dead()} == {uids["never"]}
    assert app.waiting("requests") == app.waiting("rejects") == 0
    for body in uids:
        assert app.count("Good", "end", body) >= 1
    assert app.count("Bad", "end", "once") >= 1
    assert {one.body for one in app.effects("Alert", "end")} == {"never"}
    print(
        f"commit {count}: {'killed' if 'died' in system.log() else 'ended'}, "
        f"{app.count(what='start') - 7} starts repeated"
    )
