"""Tasks that take longer than a lease, that hold the interpreter, that are told to stop, that never end."""

import re
import signal
import time
from textwrap import dedent
from typing import Any

import pytest

from tests.acceptance.harness.source import HOLDER

LONG = HOLDER + dedent("""
    class Sleeper(Task):
        def accepts(self, message):
            return message.body == b"async"

        async def run(self, data, context: TaskContext):
            with effect(data, context):
                await asyncio.sleep(6)

    class Blocker(Task):
        def accepts(self, message):
            return message.body == b"sync"

        def run(self, data, context: TaskContext):
            with effect(data, context):
                time.sleep(6)
""")


def test_task_runs_once_when_it_sleeps_three_lease_times(app):
    app.task("long", LONG)
    app.manifest("long Sleeper", "long Blocker")
    app.send(["async", "sync"])

    app.drain(LEASE_S=2)

    assert [(one.task, one.what) for one in sorted(app.effects(), key=lambda one: (one.task, one.at))] == [
        ("Blocker", "start"), ("Blocker", "end"), ("Sleeper", "start"), ("Sleeper", "end"),
    ]  # fmt: skip
    for task in ("Blocker", "Sleeper"):
        start, end = app.effects(task)
        assert end.at - start.at >= 5.9
    assert app.dead() == []


def test_sigterm_waits_for_a_task_that_holds_the_interpreter_and_keeps_what_it_did(app):
    app.task("long", LONG)
    app.manifest("long Holder")
    app.send(["hold"])
    system = app.start(LEASE_S=2).until_up()
    app.until_effect("Holder", "start")

    system.terminate()

    assert system.wait() == 0
    assert [one.what for one in app.effects()] == ["start", "end"]
    assert " died" not in system.log()
    assert app.waiting("requests") == app.waiting("rejects") == app.waiting("dead") == 0


def test_nothing_is_lost_or_run_after_its_record_when_all_processes_pause_for_two_leases(app, until):
    app.task("work", STOPPED)
    app.manifest("work Quick", "work Sleeper")
    app.environment["SLOW_S"] = "1"
    bodies = [f"m{number}" for number in range(60)]
    app.send(bodies)
    system = app.start("--drain", LEASE_S=1, CONCURRENCY=5).until_up()
    until(lambda: app.count("Sleeper", "end") >= 5, "some are done")

    system.signal_all(signal.SIGSTOP)
    done, log_length = app.finished(), app.count()
    time.sleep(2.5)  # the pause itself: longer than two leases, as a laptop sleeps
    system.signal_all(signal.SIGCONT)

    assert system.wait() == 0, system.log()[-3000:]
    again = [one for one in app.effects()[log_length:] if one.what == "start" and (one.uid, one.task) in done]
    assert again == []
    for task in ("Quick", "Sleeper"):
        assert {one.body for one in app.effects(task, "end")} == set(bodies)
    assert app.waiting("requests") == app.waiting("rejects") == app.waiting("dead") == 0


STOPPED = """
    class Quick(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                pass

    class Sleeper(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                await asyncio.sleep(float(os.environ["SLOW_S"]))

    class Blocker(Task):
        def run(self, data, context: TaskContext):
            with effect(data, context):
                time.sleep(float(os.environ["SLOW_S"]))

    class Stubborn(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                until = time.monotonic() + float(os.environ["SLOW_S"])
                while time.monotonic() < until:
                    try:
                        await asyncio.sleep(1)
                    except asyncio.CancelledError:
                        pass
"""


@pytest.mark.parametrize("slow", ["Sleeper", "Blocker", "Stubborn"])
def test_sigterm_keeps_the_promise_during_a_long_task(app, until, slow):
    app.task("work", STOPPED)
    app.manifest("work Quick", f"work {slow}")
    app.environment["SLOW_S"] = "600"
    app.publish("m1")
    system = app.start(SHUTDOWN_S=4, LEASE_S=60).until_up()
    app.until_effect(slow, "start")
    until(app.finished, "the end of Quick is recorded")

    system.terminate()

    assert system.wait(30) == 0
    assert system.group() == []
    assert " died" not in system.log(), "no worker had to be killed"
    status = app.status()
    unfinished = status["requests"]["ready"] + status["rejects"]["ready"]
    assert unfinished == 1, f"the message is not to be had at once: {status}"
    app.environment["SLOW_S"] = "0"
    app.drain(LEASE_S=60)
    assert app.count("Quick", "start") == 1
    assert [one.attempt for one in app.effects(slow, "start")] == [1, 1], "a shutdown burns no attempt"
    assert app.count(slow, "end") == 1
    assert app.dead() == []


HANGS = """
    class Neighbour(Task):
        timeout_s = 30

        def accepts(self, message):
            return message.body.startswith(b"good")

        async def run(self, data, context: TaskContext):
            with effect(data, context):
                await asyncio.sleep(0.05)

    class Hangs(Task):
        timeout_s = 1

        def accepts(self, message):
            return message.body == b"bad"
"""

KINDS = {
    "async": """
        max_attempts = 2

        async def run(self, data, context: TaskContext):
            with effect(data, context):
                await asyncio.sleep(600)
    """,
    "thread": """
        max_attempts = 1

        def run(self, data, context: TaskContext):
            with effect(data, context):
                time.sleep(600)
    """,
    "swallows-cancellation": """
        max_attempts = 1

        async def run(self, data, context: TaskContext):
            with effect(data, context):
                while True:
                    try:
                        await asyncio.sleep(600)
                    except asyncio.CancelledError:
                        pass
    """,
    "blocks-the-loop": """
        max_attempts = 1

        async def run(self, data, context: TaskContext):
            with effect(data, context):
                time.sleep(600)
    """,
}


@pytest.fixture(scope="module")
def hanging(tmp_path_factory, request) -> Any:
    """One system a kind of hang, all at the same time: each takes a while to be seen. Given drained."""
    systems: list[Any] = []
    app_class = request.getfixturevalue("app_class")
    apps = {kind: app_class(tmp_path_factory.mktemp(kind) / "app", systems).lay_out() for kind in KINDS}
    try:
        for kind, app in apps.items():
            app.task("work", HANGS + KINDS[kind])
            app.manifest("work Neighbour", "work Hangs")
            app.settings |= {"POOL_SIZE": 1, "SHUTDOWN_S": 2, "LEASE_S": 5}
            app.send(
                [*(f"good-{number}" for number in range(15)), "bad", *(f"good-{number}" for number in range(15, 30))]
            )
            app.start("--drain")
        for system in systems:
            assert system.wait(150) == 0, system.log()[-3000:]
        yield {kind: (app, system) for (kind, app), system in zip(apps.items(), systems, strict=True)}
    finally:
        for system in systems:
            system.end()


@pytest.mark.parametrize("kind", KINDS)
def test_task_that_hangs_is_timed_out_and_its_attempts_count(hanging, kind):
    app, _ = hanging[kind]

    (letter,) = app.dead()

    assert letter["failed"] == ["Hangs"]
    assert letter["tasks"]["Hangs"]["error"].startswith("timed out after 1 s")
    assert letter["tasks"]["Hangs"]["attempts"] == (2 if kind == "async" else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_of_a_task_that_hangs_lose_nothing(hanging, kind):
    app, system = hanging[kind]

    assert sorted({one.body for one in app.effects("Neighbour", "end")}) == sorted(f"good-{n}" for n in range(30))
    assert app.waiting("requests") == app.waiting("rejects") == 0
    assert all(one.attempt == 1 for one in app.effects("Neighbour", "start"))
    assert "Traceback" not in system.log()


@pytest.mark.parametrize("kind", ["thread", "swallows-cancellation"])
def test_worker_is_recycled_in_order_when_a_task_does_not_end(hanging, kind):
    _, system = hanging[kind]

    assert "is replaced: task Hangs goes on although its 1 s are over" in system.log()


def test_worker_is_killed_and_its_stacks_are_told_when_a_task_blocks_its_loop(hanging):
    _, system = hanging["blocks-the-loop"]

    assert "is killed and replaced: a task holds it" in system.log()
    assert "Current thread" in system.log()
    assert re.search(r"\(\d+ more threads? of the worker's wait for work\)", system.log())
    assert f"signal {signal.SIGKILL.value}" in system.log()
