"""Messages whose task this process doesn't know: while versions are rolled out and back, they wait."""

import asyncio

import pytest

from mulligan.core import retry_state
from mulligan.core.delivery import Outgoing
from mulligan.core.event import (
    LedgerUp,
    MessageDeadLettered,
    MessageDone,
    MessageRejected,
    MessageReleased,
    TaskMissing,
)
from mulligan.core.message import TaskName, Uid
from mulligan.core.outcome import Interrupted
from mulligan.core.progress import FRESH, Mark, Progress, State
from mulligan.core.retry_state import RetryState
from mulligan.worker.in_flight import IsolatedResult, IsolatedStart
from tests.integration.worker.service import QUEUES, Recording, task

JIRA, MAIL = TaskName("Jira"), TaskName("Mail")
UID = Uid("018bcfe56800-1")
DAY_S = 86_400.0


def copy(clock, marks, *, hop=1, generation=0, alerts=None, seen_s=0.0):
    """A copy on rejects, first received seen_s seconds ago."""
    progress = Progress(marks, alerts or {}, is_buried=alerts is not None)
    told = RetryState(UID, generation, hop, clock.now() - seen_s, progress)
    return Outgoing(b"hello", {retry_state.ATTRIBUTE: retry_state.encode(told)})


def failed_once(clock):
    return Mark(State.PENDING, 1, clock.now(), "ValueError: no route to host", clock.now() - 10)


async def test_message_whose_task_is_missing_waits_with_its_mark_as_it_was(service, clock):
    mark = failed_once(clock)
    worker = service.worker(task("Mail", Recording()))

    await service.broker.send(QUEUES.rejects, [copy(clock, {JIRA: mark})])
    await asyncio.sleep(2000)
    await worker.drain()

    assert [event.delay_s for event in service.told(MessageReleased)] == pytest.approx(
        [30, 30, 60, 120, 240, 480, 900, 900], rel=0.02
    )
    await asyncio.sleep(1000)
    (found,) = await service.broker.receive(QUEUES.rejects, 1, wait_s=0.0, lease_s=1.0)
    assert retry_state.decode(found.attributes[retry_state.ATTRIBUTE]).progress == Progress({JIRA: mark})
    assert service.told(MessageDeadLettered) == []
    assert worker.network.count("send") == worker.network.count("ack") == 0


async def test_message_whose_task_was_missing_goes_on_where_it_stood(service, clock):
    jira = Recording()
    old = service.worker(task("Mail", Recording()))
    await service.broker.send(QUEUES.rejects, [copy(clock, {JIRA: failed_once(clock)})])
    await service.until(lambda: service.told(TaskMissing))
    await old.drain()

    service.worker(task("Jira", jira))
    await service.until_empty()

    assert jira.runs == [("hello", 2)]
    assert jira.contexts[0].previous_error == "ValueError: no route to host"


async def test_other_tasks_of_a_message_run_while_one_is_missing_and_their_end_travels_with_the_copy(service, clock):
    mail = Recording()
    worker = service.worker(task("Mail", mail))

    await service.broker.send(QUEUES.rejects, [copy(clock, {JIRA: failed_once(clock), MAIL: FRESH})])
    await asyncio.sleep(300)

    assert len(mail.runs) == 1
    assert [event.hop for event in service.told(MessageRejected)] == [2]
    assert await service.totals() == (0, 1, 0)
    await worker.drain()
    service.worker(task("Jira", Recording()), task("Mail", mail))
    await service.until_empty(within_s=2000)
    assert len(mail.runs) == 1


async def test_message_whose_task_stays_missing_is_buried_after_its_grace_with_its_last_error(service, clock):
    alert = Recording()
    service.worker(task("Alert", alert, is_default=True))

    await service.broker.send(QUEUES.rejects, [copy(clock, {JIRA: failed_once(clock)})])
    await asyncio.sleep(DAY_S - 1)
    assert alert.runs == []
    await asyncio.sleep(60)

    assert len(alert.runs) == 1
    (letter,) = await service.dead()
    mark = letter.progress.marks[JIRA]
    assert (mark.state, mark.attempts) == (State.EXHAUSTED, 1)
    assert mark.reason.startswith("unknown here since 20")
    assert mark.reason.endswith("last error: ValueError: no route to host")
    assert len(service.told(MessageReleased)) < 110


async def test_grace_of_a_task_that_never_ran_counts_from_the_first_receipt_of_its_message(service, clock):
    began_at = clock.now()
    service.worker(task("Mail", Recording()), missing_grace_s=600.0)

    await service.broker.send(QUEUES.rejects, [copy(clock, {JIRA: FRESH}, seen_s=200.0)])
    await service.until(lambda: service.told(MessageDeadLettered))

    assert 400 <= clock.now() - began_at < 420


async def test_grace_of_a_replayed_message_counts_from_its_replay(service, clock):
    began_at = clock.now()
    service.worker(task("Mail", Recording()), missing_grace_s=600.0)

    await service.broker.send(QUEUES.rejects, [copy(clock, {JIRA: FRESH}, hop=0, generation=1, seen_s=5 * DAY_S)])
    await service.until(lambda: service.told(MessageDeadLettered), within_s=1000)

    assert 600 <= clock.now() - began_at < 620


async def test_grace_of_a_message_on_requests_ends_though_no_copy_of_it_tells_of_its_first_receipt(service, clock):
    """Another process began it, so that the ledger knows its route, and gave it back."""
    began_at = clock.now()
    old = service.worker(task("Jira", Recording(1000.0), timeout_s=2000.0), task("Mail", Recording()))
    await service.send("hello")
    await asyncio.sleep(1)
    await old.drain(0.0)
    await old.sweep()
    assert await service.totals() == (0, 1, 0) or await service.totals() == (1, 0, 0)

    service.worker(task("Mail", Recording()), missing_grace_s=600.0)
    await service.until(lambda: service.told(MessageDeadLettered), within_s=1000)

    assert 600 <= clock.now() - began_at < 640


async def test_default_task_that_is_missing_is_waited_for_from_the_burial_on(service, clock):
    exhausted = Mark(State.EXHAUSTED, 2, 0.0, "ValueError: no", clock.now())
    alert = Recording()
    worker = service.worker(task("Mail", Recording()), missing_grace_s=600.0)
    await service.broker.send(
        QUEUES.rejects, [copy(clock, {JIRA: exhausted}, alerts={TaskName("Alert"): FRESH}, seen_s=5 * DAY_S)]
    )
    await asyncio.sleep(100)
    assert await service.totals() == (0, 1, 0)
    await worker.drain()

    service.worker(task("Mail", Recording()), task("Alert", alert, is_default=True), missing_grace_s=600.0)
    await service.until_empty()

    assert len(alert.runs) == 1


async def test_missing_task_is_told_once_a_process_and_then_hourly_with_the_number_of_messages(service, clock):
    service.worker(task("Mail", Recording()))
    copies = [
        Outgoing(
            b"hello",
            {
                retry_state.ATTRIBUTE: retry_state.encode(
                    RetryState(Uid(f"018bcfe56800-{number}"), 0, 1, clock.now(), Progress({JIRA: FRESH}))
                )
            },
        )
        for number in range(20)
    ]

    await service.broker.send(QUEUES.rejects, copies)
    await asyncio.sleep(3000)
    first = service.told(TaskMissing)
    await asyncio.sleep(3000)

    assert [(event.task, event.queue, event.copies, event.grace_s) for event in first] == [
        ("Jira", QUEUES.rejects, 1, DAY_S)
    ]
    _, second = service.told(TaskMissing)
    assert second.copies >= 100


async def test_group_waits_with_its_head_whose_task_is_missing(service):
    one, two = Recording(ValueError("once")), Recording()
    await service.send("1")
    old = in_one_group(service.worker(task("One", one), task("Two", two), **HELD, starts=False))
    old.start()
    await service.until(lambda: two.runs)
    await old.drain()

    new = in_one_group(service.worker(task("Two", two), **HELD, starts=False))
    await asyncio.sleep(60)
    await service.send("2")
    new.start()
    await service.until(lambda: service.told(TaskMissing))
    await asyncio.sleep(10)

    assert two.runs == [("1", 1)]
    assert service.told(TaskMissing)[0].groups == ("g",)
    assert service.told(MessageReleased)[-1].reason == "the head of its group comes first"
    assert [(told.tasks, told.in_group) for told in new.left] == [(["One"], True)]


HELD = {"stages": (0,), "holds_groups": True}


def in_one_group(worker):
    """On a FIFO queue, of which one receive is answered."""
    worker.network.group = "g"
    worker.network.faults["receive"] = [None, *[asyncio.Event().wait] * 50]
    return worker


async def test_shutdown_releases_a_message_whose_task_is_missing_for_its_wait(service, clock):
    worker = service.worker(task("Mail", Recording()), starts=False)
    await service.broker.send(QUEUES.rejects, [copy(clock, {JIRA: failed_once(clock)})])
    worker.pipelines[1].stop_running()
    worker.start()
    await service.until(lambda: service.told(MessageReleased))

    assert service.told(MessageReleased)[0].delay_s == pytest.approx(30, rel=0.02)


async def test_messages_that_wait_for_a_missing_task_are_told_to_the_supervisor(service, clock):
    worker = service.worker(task("Mail", Recording()))

    await service.broker.send(QUEUES.rejects, [copy(clock, {JIRA: failed_once(clock), MAIL: FRESH})])
    await asyncio.sleep(35)

    first, second = worker.left[:2]
    assert (first.tasks, second.tasks) == ([JIRA], [JIRA])
    assert first.id == f"{UID} 0 2"  # a copy, of which the broker's id is not known
    assert second.id != first.id
    assert second.until - first.until == pytest.approx(30, rel=0.05)


async def test_suspect_whose_task_is_missing_in_its_own_process_waits(service, clock):
    jira = task("Jira", Recording())
    worker = service.worker(jira, starts=False)
    recorder = worker.pipelines[1].recorder

    def put(flight, tasks):
        flight.alone = IsolatedStart()
        flight.alone.result = IsolatedResult(jira, Interrupted(lacks_task=True), 0.0, is_last=True)
        recorder.ended_alone(flight)

    worker.pipelines[1].isolated.put = put
    await service.broker.send(QUEUES.rejects, [copy(clock, {JIRA: failed_once(clock)})])
    row = await service.ledger.claim([_claim(clock)], clock.now())
    assert row
    await service.ledger.end([(UID, 0, "dead")])

    worker.start()
    await service.until(lambda: service.told(MessageReleased))

    assert service.told(MessageReleased)[0].delay_s == pytest.approx(30, rel=0.02)
    assert [event.task for event in service.told(TaskMissing)] == ["Jira"]
    assert service.told(MessageDeadLettered, MessageDone, LedgerUp) == []


def _claim(clock):
    from mulligan.ledger.base import Claim

    return Claim(UID, 0, 1, "dead", clock.now() + 60)
