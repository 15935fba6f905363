"""The faults of the program that was there before: each test fails with its behaviour."""

import pytest

from mulligan.brokers.open import open_broker
from mulligan.clock import SystemClock
from mulligan.core.delivery import Outgoing, Queues
from mulligan.core.message import QueueName

TASKS = """
    class Good(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                pass

    class Bad(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                if data.startswith("never") or (data.startswith("once") and context.attempt == 1):
                    raise RuntimeError("a reason that a person can read")

    class Alert(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                pass
"""

# hears every event in the worker that tells it, and ends that worker at the first one of the name
KILLER = """
    import os, signal
    from pathlib import Path

    def hear(event):
        if type(event).__name__ == os.environ["KILL_AT"]:
            try:
                os.close(os.open("killed", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def three(app):
    app.task("work", TASKS)
    app.manifest("work Good", "work Bad", "work Alert default")
    return app


@pytest.fixture
def send_raw(app):
    """Puts a message on a queue as a program would that knows nothing of us."""

    async def send(kind, body, attributes):
        broker = open_broker("sqlite:///var/mulligan.db", clock=SystemClock(), emit=lambda _: None, base_dir=app.folder)
        names = {one: QueueName(f"msgparser-{one}-q") for one in ("requests", "rejects", "dead")}
        try:
            await broker.declare(Queues("msgparser", *names.values()), create=True)
            assert await broker.send(names[kind], [Outgoing(body.encode(), attributes)]) == [None]
        finally:
            await broker.close()

    return send


# 1: it deleted a message before re-posting it, and a reject before alerting


@pytest.mark.parametrize(
    ("event", "body"),
    [
        ("TaskFailed", "once-1"),  # the failure is known, and nothing of it is on a queue
        ("MessageRejected", "once-1"),  # the copy is on rejects, the original is still there
        ("TaskExhausted", "never-1"),  # before the burial
        ("MessageDeadLettered", "never-1"),  # the dead letter is there, nobody was alerted
        ("DefaultTasksFinished", "never-1"),  # alerted, not removed
        ("MessageDone", "good-1"),  # done, not removed
    ],
)
def test_nothing_is_lost_when_the_worker_is_killed_between_two_steps(three, event, body):
    (three.folder / "killer.py").write_text("\n".join(line[4:] for line in KILLER.splitlines()))
    three.environment["KILL_AT"] = event
    three.publish(body)

    log = three.drain(LISTENERS="killer:hear", LEASE_S=2).log()

    assert log.count("died: signal 9") == 1
    assert three.waiting("requests") == three.waiting("rejects") == 0
    if body.startswith("never"):
        (letter,) = three.dead()
        assert letter["failed"] == ["Bad"]
        assert three.count("Alert", "end") >= 1
    else:
        assert three.dead() == []
        assert three.count("Bad", "end") >= 1
        assert three.count("Alert") == 0
    assert three.count("Good", "end") >= 1


def test_message_is_kept_as_a_dead_letter_when_the_alert_fails_too(three):
    three.task(
        "alert",
        "class Alert(Task):\n    max_attempts = 2\n    def run(self, data):\n        raise OSError('Slack is away')\n",
    )
    three.manifest("work Bad", "alert Alert default")
    uid = three.publish("never-1")

    log = three.drain().log()

    assert [(letter["uid"], letter["failed"]) for letter in three.dead()] == [(uid, ["Bad"])]
    assert "Alert failed permanently (attempt 2): OSError: Slack is away" in log


def test_alert_that_fails_twice_is_tried_again_until_it_succeeds(three):
    three.task(
        "alert",
        """
        class Alert(Task):
            max_attempts = 5

            def run(self, data, context: TaskContext):
                with effect(data, context):
                    if context.attempt < 3:
                        raise OSError("Slack is away")
        """,
    )
    three.manifest("work Bad", "alert Alert default")
    three.publish("never-1")

    three.drain()

    assert [one.what for one in three.effects("Alert") if one.what != "start"] == ["failed", "failed", "end"]
    assert three.count("Bad", "start") == 2
    assert len(three.dead()) == 1


# 2: any exception but one killed the consumer for good


def test_no_exception_ends_a_consumer(app):
    raises = {
        "value": "raise ValueError('wrong')",
        "base": "raise BaseException('base')",
        "exit": "sys.exit(3)",
        "interrupt": "raise KeyboardInterrupt",
        "generator": "raise GeneratorExit",
        "stop": "raise StopAsyncIteration",
        "cancelled": "raise asyncio.CancelledError",
        "memory": "raise MemoryError",
        "recursion": "f = lambda: f(); f()",
        "text": "raise type('Bad', (Exception,), {'__str__': lambda self: 1 / 0})",
        "returns": "return False",
    }
    lines = "".join(f"            if data == {name!r}:\n                {code}\n" for name, code in raises.items())
    code = "\nclass {}(Task):\n    max_attempts = 1\n    {} run(self, data: str):\n        if True:\n{}"
    app.task("work", code.format("Async", "async def", lines) + code.format("Sync", "def", lines))
    app.manifest("work Async", "work Sync")
    good = [f"good-{number}" for number in range(20)]
    app.send([*raises, *good])

    log = app.drain(POOL_SIZE=1, NO_OF_REQUESTS_CONSUMERS=1, NO_OF_REJECTS_CONSUMERS=1, CONCURRENCY=1).log()

    assert log.count(" is done: 2 tasks") == len(good)
    assert {tuple(letter["failed"]) for letter in app.dead()} == {("Async", "Sync")}
    assert len(app.dead()) == len(raises)
    assert " died" not in log
    assert log.count("is up:") == 1


# 3: with a pool smaller than the consumers some never started: test_pool.py
# 4: a task longer than the visibility ran twice: test_long_task.py; and with it all tasks of the message ran again:


def test_only_the_task_that_failed_runs_again(three):
    three.publish("once-1")

    three.drain()

    assert [one.attempt for one in three.effects("Bad", "start")] == [1, 2]
    assert [one.attempt for one in three.effects("Good", "start")] == [1]


# 5: whoever could send to the requests queue chose which tasks ran


async def test_sender_cannot_choose_which_tasks_run(three, send_raw):
    story = (
        '{"v":1,"uid":"01a20bfcfe2c-c9fd3ff262f8f68eecca","gen":0,"hop":1,"seen":1,'
        '"tasks":{"Good":["d",1],"Bad":["d",1]}}'
    )
    await send_raw("requests", "good-1", {"past_results": "[{'Good': True}, {'Bad': True}]"})
    await send_raw("requests", "good-2", {"mulligan": story})

    three.drain()

    for body in ("good-1", "good-2"):
        assert {one.task for one in three.effects(what="end", body=body)} == {"Good", "Bad"}


async def test_reject_without_our_attribute_runs_all_tasks_and_is_told_of(three, send_raw):
    three.settings["UNKNOWN_ON_REJECTS"] = "run"
    await send_raw("rejects", "good-1", {"past_results": "[{'Good': True}, {'Bad': False}]"})

    log = three.drain().log()

    assert {one.task for one in three.effects(what="end")} == {"Good", "Bad"}
    assert "without retry state, so not from this program: all its tasks run" in log


# 6: four API requests a good message, received one at a time


def test_messages_are_received_and_recorded_many_at_a_time(app, until):
    app.task(
        "work",
        """
        class Waits(Task):
            async def run(self, data, context: TaskContext):
                with effect(data, context):
                    while not os.path.exists("go"):
                        await asyncio.sleep(0.05)
        """,
    )
    app.manifest("work Waits")
    app.send([f"m{number}" for number in range(100)])
    system = app.start(
        "--drain", POOL_SIZE=1, NO_OF_REQUESTS_CONSUMERS=1, NO_OF_REJECTS_CONSUMERS=1, CONCURRENCY=100, LEASE_S=600
    )  # fmt: skip
    until(lambda: app.count("Waits", "start") == 100, "all messages are in flight")

    # all messages of one receive have the same end of their lease, all claims of one call the same time
    receives = app.rows("mulligan.db", "SELECT count(DISTINCT visible_at) FROM message WHERE is_leased")
    claims = app.rows("ledger.db", "SELECT count(DISTINCT touched_at) FROM record")
    (app.folder / "go").touch()

    assert system.wait() == 0
    records = app.rows("ledger.db", "SELECT count(DISTINCT touched_at) FROM record WHERE progress IS NOT NULL")
    print(f"100 messages: {receives[0][0]} receives, {claims[0][0]} claims, {records[0][0]} records")
    assert receives[0][0] <= 20
    assert claims[0][0] <= 20
    assert records[0][0] <= 50


# 7: tasks.xml was read again for every message; failures were swallowed without a reason in the log


def test_tasks_xml_is_read_once(three, until):
    system = three.start().until_up()
    (three.folder / "tasks.xml").write_text("<tasks> this is not XML any more")

    three.send(["good-1", "once-1"])

    until(lambda: three.count("Bad", "end") == 2, "both messages are done")
    system.terminate()
    assert system.wait() == 0
    assert "tasks.xml" not in system.log()


def test_log_has_the_reason_and_the_place_of_a_failure(three):
    uid = three.publish("never-1")

    log = three.drain().log()

    assert f"{uid} Bad failed (attempt 1 of 2" in log
    assert "RuntimeError: a reason that a person can read" in log
    assert "tasks/work.py line" in three.cli("dead", "show", uid).stdout
