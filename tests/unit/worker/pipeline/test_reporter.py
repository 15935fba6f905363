import asyncio

import pytest

from mulligan.core.event import (
    DefaultTasksFinished,
    DuplicateSkipped,
    MessageDeadLettered,
    MessageDone,
    MessageReleased,
    SuspectDied,
    TaskExhausted,
    TaskFailed,
    TaskSkipped,
    TaskSucceeded,
)
from mulligan.core.message import TaskName
from mulligan.core.outcome import SUCCEEDED, Died, Failed, Skipped
from mulligan.core.progress import FRESH, Mark, Progress, State
from mulligan.worker.ipc.lease_table import Counter
from mulligan.worker.pipeline.reporter import EventReporter

NOW = 1_700_000_000.0
ONE = TaskName("One")
DONE, EXHAUSTED = Mark(State.DONE, 1), Mark(State.EXHAUSTED, 2, reason="no")
FAILED = Mark(State.PENDING, 1, NOW + 10.0, "no", NOW)


@pytest.fixture
def task(registry):
    return registry.tasks[ONE]


@pytest.fixture
async def silent(table, clock, events):
    """For somebody who hears of nothing that each message brings."""
    return EventReporter(table, clock, events.append, lambda _: False)


@pytest.fixture
def make_moved(make_flight):
    def make_moved(progress):
        """A flight for which something was done here, and that stands so now."""
        flight = make_flight()
        flight.progress, flight.has_moved = progress, True
        return flight

    return make_moved


@pytest.mark.parametrize(
    ("outcome", "mark", "kind", "counter"),
    [
        (SUCCEEDED, DONE, TaskSucceeded, Counter.SUCCEEDED),
        (Skipped("not ours"), DONE, TaskSkipped, Counter.SUCCEEDED),
        (Failed("no"), FAILED, TaskFailed, Counter.FAILED),
        (Failed("no"), EXHAUSTED, TaskExhausted, Counter.FAILED),
        (Died("signal 9"), FRESH, SuspectDied, Counter.FAILED),
        (Died("signal 9"), EXHAUSTED, TaskExhausted, Counter.FAILED),
    ],
)
async def test_end_of_an_attempt_is_reported_and_counted(
    reporter, make_moved, task, table, events, outcome, mark, kind, counter
):
    flight = make_moved(Progress({ONE: mark}, deaths=1))

    reporter.outcome(flight, task, outcome, NOW, 1000.0)

    assert [(type(event), event.uid, event.task) for event in events] == [(kind, flight.message.uid, ONE)]
    assert [table.count(one) for one in (Counter.SUCCEEDED, Counter.FAILED)] == [
        int(counter is one) for one in (Counter.SUCCEEDED, Counter.FAILED)
    ]


async def test_failure_says_when_the_task_is_tried_again(reporter, make_moved, task, events):
    reporter.outcome(make_moved(Progress({ONE: FAILED})), task, Failed("no"), NOW + 4.0, 1000.0)

    assert events == [TaskFailed(events[0].uid, ONE, 1, 2, "no", 6.0)]


async def test_success_says_how_long_it_took(reporter, make_moved, task, events):
    await asyncio.sleep(3)

    reporter.outcome(make_moved(Progress({ONE: DONE})), task, SUCCEEDED, NOW, 1001.0)

    assert events == [TaskSucceeded(events[0].uid, ONE, 1, 2.0)]


async def test_message_is_counted_and_not_reported_when_nobody_hears_it(silent, make_moved, task, table, events):
    flight = make_moved(Progress({ONE: DONE}))

    silent.outcome(flight, task, SUCCEEDED, NOW, 1000.0)
    silent.finished(flight)

    assert events == []
    assert (table.count(Counter.SUCCEEDED), table.count(Counter.DONE)) == (1, 1)


async def test_message_is_done_when_its_tasks_are(reporter, make_moved, table, events):
    reporter.finished(make_moved(Progress({ONE: DONE})))

    assert [(type(event), event.tasks) for event in events] == [(MessageDone, 1)]
    assert table.count(Counter.DONE) == 1


async def test_message_that_was_finished_elsewhere_is_a_duplicate(reporter, make_flight, table, events):
    flight = make_flight()
    flight.progress = Progress({ONE: DONE})

    reporter.finished(flight)

    assert [type(event) for event in events] == [DuplicateSkipped]
    assert (table.count(Counter.DONE), table.count(Counter.FOLDED)) == (0, 1)


async def test_buried_message_is_not_counted_as_done_and_says_which_default_tasks_failed(
    reporter, make_moved, table, events
):
    alerts = {TaskName("Alert"): DONE, TaskName("Pager"): EXHAUSTED}

    reporter.finished(make_moved(Progress({ONE: EXHAUSTED}, alerts, is_buried=True)))
    reporter.finished(make_moved(Progress({ONE: EXHAUSTED}, is_buried=True)))

    assert events == [DefaultTasksFinished(events[0].uid, ("Pager",))]
    assert table.count(Counter.DONE) == 0


async def test_dead_letter_names_the_tasks_that_failed(reporter, make_moved, events):
    reporter.dead_lettered(make_moved(Progress({ONE: EXHAUSTED, TaskName("Two"): DONE})))

    assert events == [MessageDeadLettered(events[0].uid, ("One",))]


async def test_release_says_why_and_for_how_long(reporter, make_flight, events):
    flight = make_flight()
    flight.reason = "not due yet"

    reporter.released(flight, 10.0)

    assert events == [MessageReleased(flight.message.uid, "not due yet", 10.0)]
