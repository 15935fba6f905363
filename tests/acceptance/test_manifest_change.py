"""tasks.xml changed while messages wait on the rejects queue; and two copies of one message at once."""

import pytest

TASKS = """
    class Good(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                pass

    class Flaky(Task):
        backoff = 2

        async def run(self, data, context: TaskContext):
            with effect(data, context):
                if context.attempt == 1:
                    raise RuntimeError("the first time")

    class Alert(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                pass

    class New(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                pass
"""


@pytest.fixture
def waiting(app, until):
    """An application that has ended while one message waits on rejects for the second attempt of Flaky."""
    app.task("work", TASKS)
    app.manifest("work Good", "work Flaky", "work Alert default")
    app.publish("old")
    system = app.start().until_up()
    until(lambda: app.waiting("rejects") == 1 and app.waiting("requests") == 0, "the message waits on rejects")
    system.terminate()
    assert system.wait() == 0
    assert (app.count("Good", "end"), app.count("Flaky", "failed"), app.waiting("rejects")) == (1, 1, 1)
    return app


def test_message_is_buried_when_its_pending_task_was_removed(waiting):
    waiting.manifest("work Good", "work Alert default")

    waiting.drain(TASK_MISSING_GRACE_S=0)

    (letter,) = waiting.dead()
    assert letter["failed"] == ["Flaky"]
    assert letter["tasks"]["Flaky"]["error"].startswith("unknown here since ")
    assert "; last error: RuntimeError: the first time\n" in letter["tasks"]["Flaky"]["error"]
    assert letter["tasks"]["Good"]["state"] == "done"
    assert waiting.count("Good", "start") == 1
    assert waiting.count("Alert", "end", "old") == 1


def test_message_whose_task_is_missing_waits_until_a_process_comes_that_has_it(waiting):
    """It became a dead letter in the first second, with its last error gone."""
    waiting.manifest("work Good", "work Alert default")
    system = waiting.start("--drain")

    assert system.wait() == 3
    log = system.log()
    assert "1 message waits for task Flaky, which is not in tasks.xml here" in log
    assert "1 message is left, neither run nor removed: 1 with a task that is not in tasks.xml here (Flaky)" in log
    assert waiting.dead() == []
    assert (waiting.count("Flaky", "start"), waiting.waiting("rejects")) == (1, 1)

    waiting.manifest("work Good", "work Flaky", "work Alert default")
    waiting.drain()

    assert [one.attempt for one in waiting.effects("Flaky", "start", "old")] == [1, 2]
    assert waiting.count("Good", "start") == 1
    assert waiting.dead() == []
    assert waiting.waiting("rejects") == 0


def test_new_task_skips_messages_that_were_there_before(waiting):
    waiting.manifest("work Good", "work Flaky", "work New", "work Alert default")
    waiting.publish("young")

    waiting.drain()

    assert [one.body for one in waiting.effects("New", "end")] == ["young"]
    assert [one.attempt for one in waiting.effects("Flaky", "start", "old")] == [1, 2]
    assert waiting.count("Good", "start", "old") == 1
    assert waiting.dead() == []


def test_renamed_task_is_a_removed_one_and_a_new_one_until_the_letter_is_replayed(waiting):
    renamed = TASKS.replace("class Flaky", "class Renamed")
    waiting.task("work", renamed)
    waiting.manifest("work Good", "work Renamed", "work Alert default")

    waiting.drain(TASK_MISSING_GRACE_S=0)

    (letter,) = waiting.dead()
    assert letter["failed"] == ["Flaky"]
    assert waiting.count("Renamed") == 0

    assert waiting.cli("dead", "replay", "--all").returncode == 0
    waiting.drain()

    assert [one.attempt for one in waiting.effects("Renamed", "start")] == [1, 2]
    assert waiting.count("Renamed", "end", "old") == 1
    assert waiting.count("Good", "start") == 1
    assert waiting.dead() == []


def test_removed_task_that_was_done_leaves_no_trace(waiting):
    waiting.manifest("work Flaky", "work Alert default")

    waiting.drain()

    assert waiting.count("Flaky", "end", "old") == 1
    assert waiting.dead() == []
    assert waiting.waiting("rejects") == 0


def test_start_says_which_waiting_tasks_the_application_does_not_have(waiting, until):
    waiting.manifest("work Good", "work Alert default")

    system = waiting.start()

    told = "-rejects-q: 1 of 1 copy looked at is of tasks that this application doesn't have: Flaky"
    until(lambda: told in system.log(), "the log tells of it")


def test_twins_run_once_when_two_workers_have_them_at_once(app, until):
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
    for _ in range(2):
        told = app.cli("send", "twin", "-a", "mulligan-uid=01a20bfcfe2c-00112233aabbccdd")
        assert told.returncode == 0
    system = app.start(
        "--drain", POOL_SIZE=2, NO_OF_REQUESTS_CONSUMERS=2, NO_OF_REJECTS_CONSUMERS=1, CONCURRENCY=1, LEASE_S=3
    )  # fmt: skip
    until(lambda: "skipped as a duplicate: another copy is being worked on" in system.log(), "the twin is held back")
    (app.folder / "go").touch()

    assert system.wait() == 0
    log = system.log()
    held = next(line for line in log.splitlines() if "another copy is being worked on" in line)
    done = next(line for line in log.splitlines() if "is done: 1 task" in line)
    assert held.split()[2] != done.split()[2], "the two were in two workers"
    assert "it has been finished already" in log
    assert [one.what for one in app.effects("Waits")] == ["start", "end"]
    assert app.waiting("requests") == app.waiting("rejects") == app.waiting("dead") == 0


def test_message_that_no_task_accepts_is_buried_with_that_reason_or_dropped_if_told_so(app):
    app.task(
        "work",
        """
        class Picky(Task):
            def accepts(self, message):
                return False

            def run(self, data):
                raise AssertionError("never")
        """,
    )
    app.manifest("work Picky")
    app.publish("nobody-1")
    app.drain()
    app.publish("nobody-2")
    app.drain(ON_UNROUTED="drop")

    (letter,) = app.dead()

    assert app.cli("dead", "show", letter["uid"], "--body").stdout.endswith("nobody-1\n")
    assert "no task takes it" in app.cli("dead", "ls").stdout
    assert app.waiting("requests") == 0


def test_three_tasks_of_one_message_wait_each_for_its_own_backoff(app):
    code = """
    class {name}(Task):
        backoff = {backoff}
        max_attempts = 2

        async def run(self, data, context: TaskContext):
            with effect(data, context):
                if context.attempt == 1:
                    raise RuntimeError("the first time")
    """
    names = {"Short": 0.2, "Middle": 1, "Long": 3}
    app.task("work", "".join(code.format(name=name, backoff=backoff) for name, backoff in names.items()))
    app.manifest(*(f"work {name}" for name in names))
    app.publish("m1")

    app.drain()

    for name, backoff_s in names.items():
        first, second = app.effects(name, "start")
        assert (first.attempt, second.attempt) == (1, 2)
        assert second.at - first.at >= backoff_s / 2 - 0.05
    assert [one.task for one in app.effects(what="end")] == ["Short", "Middle", "Long"]
    assert app.dead() == []
