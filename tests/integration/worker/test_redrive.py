"""Queues that move a message away after few receives: it is handed on to rejects before, with what is known of it."""

import asyncio

import pytest

from mulligan.core import retry_state
from mulligan.core.delivery import Depth, Outgoing
from mulligan.core.error import LedgerError
from mulligan.core.event import (
    DuplicateSkipped,
    MessageDeadLettered,
    MessageDone,
    MessageRejected,
    MessageReleased,
    RowDamaged,
)
from mulligan.core.lifecycle import Report
from mulligan.core.message import TaskName, Uid
from mulligan.core.progress import Mark, Progress, State
from mulligan.core.queue_role import QueueRole
from mulligan.core.retry_state import RetryState
from mulligan.ledger.base import Claim
from tests.integration.worker.service import LEDGER_DOWN, QUEUES, REFUSED, Recording, task

UID = Uid("018bcfe56800-1")
ONE = TaskName("One")
HOUR_S = 3600.0


class Redrive:
    """Receives of a queue, each of which is checked to be no more than the queue gives."""

    def __init__(self, receives):
        self.receives, self.most = receives, 0

    def __call__(self, worker):
        real = worker.network._real.receive

        async def receive(queue, max_count, **more):
            found = await real(queue, max_count, **more)
            self.most = max([self.most, *(one.receive_count for one in found)])
            return found

        worker.network._real.receive = receive
        return worker


def waiting(clock, wait_s, *, body=b"hello"):
    """A copy on rejects whose task has failed once, and is due in wait_s seconds."""
    mark = Mark(State.PENDING, 1, clock.now() + wait_s, "ValueError: no", clock.now())
    told = RetryState(UID, 0, 1, clock.now(), Progress({ONE: mark}))
    return Outgoing(body, {retry_state.ATTRIBUTE: retry_state.encode(told)})


@pytest.mark.parametrize(
    ("receives", "count", "delay_s", "max_delay_s", "expected"),
    [
        (None, 10_000, 0.0, 900.0, False),
        (5, 3, 0.0, 900.0, False),
        (5, 4, 0.0, 900.0, True),
        (5, 5, 30.0, 900.0, True),
        (2, 1, 30.0, 900.0, True),
        (2, 1, 30.0, 0.0, False),  # on FIFO a copy would come back at once
        (2, 1, 0.0, 0.0, True),
        (2, 2, 30.0, 0.0, True),
    ],
)
def test_message_is_handed_on_at_its_last_receive_but_one(receives, count, delay_s, max_delay_s, expected):
    stage = QueueRole(1, True, "t", 60.0, receives=receives, max_delay_s=max_delay_s)

    assert stage.hands_on(count, delay_s) is expected


@pytest.mark.parametrize(("receives", "most"), [(2, 1), (3, 2), (5, 4)])
async def test_message_that_waits_long_is_never_received_as_often_as_its_queue_gives_it(service, clock, receives, most):
    one, redrive = Recording(), Redrive(receives)
    redrive(service.worker(task("One", one), receives=receives, features={"max_delay_s": 900.0, "max_lease_s": 60.0}))

    await service.broker.send(QUEUES.rejects, [waiting(clock, HOUR_S)])
    await service.until_empty(within_s=2 * HOUR_S)

    assert one.runs == [("hello", 2)]
    assert redrive.most == most
    assert service.told(MessageRejected)


async def test_message_is_handed_on_at_a_shutdown_and_nothing_of_it_runs_twice(service):
    good, slow = Recording(), Recording(1000.0)
    worker = service.worker(task("Good", good), task("Slow", slow, timeout_s=2000.0), receives=2)
    await service.send("hello")
    await service.until(lambda: slow.runs)

    await worker.drain(0.0)

    assert await service.totals() == (0, 1, 0)
    service.worker(task("Good", good), task("Slow", slow), receives=2)
    await service.until_empty()
    assert len(good.runs) == 1
    assert len(slow.runs) == 2


async def test_message_that_gets_no_place_is_handed_on_with_what_the_ledger_knows(service, clock):
    good, slow = Recording(), Recording(*[200.0] * 2)
    tasks = task("Good", good), task("Slow", slow, timeout_s=2000.0)
    first = service.worker(*tasks, capacity=10)
    await service.send("hello")
    await service.until(lambda: good.runs)
    await first.drain(0.0)
    await first.sweep()

    worker = service.worker(*tasks, receives=2, starts=False)
    for pipeline in worker.pipelines:
        give_back_once(pipeline.capacity)
    worker.start()
    await service.until_empty(within_s=1000)

    assert len(good.runs) == 1
    assert "no place came free in time" not in {event.reason for event in service.told(MessageReleased)}
    assert service.told(MessageDeadLettered) == []


def give_back_once(capacity):
    """The first messages that come get no place in time."""
    real = capacity.acquire

    def acquire(flights):
        capacity.acquire = real
        for flight in flights:
            flight.reason = "no place came free in time"
        capacity._reports.put(Report.TURNED_AWAY, flights)

    capacity.acquire = acquire


async def test_head_of_a_group_is_handed_on_and_its_group_goes_on(service):
    one = Recording(ValueError("once"))
    await service.send("1", "2")
    worker = service.worker(task("One", one), stages=(0,), holds_groups=True, receives=2, starts=False)
    worker.network.group = "g"

    worker.start()
    await service.until(lambda: service.told(MessageDone))

    assert one.runs == [("1", 1), ("2", 1)]
    assert [event.hop for event in service.told(MessageRejected)] == [1]
    assert await service.totals() == (0, 1, 0)


def as_fifo(worker):
    """Receives as of a FIFO queue with one group: in order, and nothing while one of it is hidden."""
    worker.network.group = "g"
    real = worker.network._real.receive

    async def receive(queue, max_count, **more):
        depth = await worker.network._real.depth(queue)
        found = []
        if not depth.in_flight and not depth.delayed:
            found = await real(queue, max_count, **{**more, "wait_s": 0.0})
        if not found:
            await asyncio.sleep(1)
        return sorted(found, key=lambda one: one.sent_at)

    worker.network._real.receive = receive
    return worker


async def test_message_behind_one_that_can_not_be_read_is_handed_on_before_its_queue_moves_it_away(service, clock):
    """It came back as often as its head, was never claimed, and became a dead letter though nothing was wrong."""
    redrive = Redrive(3)
    worker = service.worker(task("One", Recording()), stages=(1,), holds_groups=True, receives=3, starts=False)
    as_fifo(redrive(worker))
    await service.send("hello", queue=QUEUES.rejects, mulligan='{"v":2,"uid":"018bcfe56800-2"}')
    await asyncio.sleep(1)
    await service.broker.send(QUEUES.rejects, [waiting(clock, 0.0)])

    worker.start()
    await service.until(lambda: service.told(MessageRejected), within_s=2 * HOUR_S)

    assert [(event.uid, event.hop) for event in service.told(MessageRejected)] == [(UID, 2)]
    assert redrive.most == 2
    assert await service.totals() == (0, 2, 0)


async def test_new_message_behind_one_whose_row_can_not_be_read_is_handed_on_and_not_begun(service):
    one = Recording()
    worker = service.worker(task("One", one), stages=(0,), holds_groups=True, receives=2, starts=False)
    as_fifo(worker).ledger.cut["look"] = LedgerError("the row can't be read")
    told = RetryState(UID, 0, 1, 0.0, Progress({}), id="4711")
    await service.send("first", **{retry_state.ATTRIBUTE: retry_state.encode(told)})
    await asyncio.sleep(1)
    await service.send("second")

    worker.start()
    await service.until(lambda: service.told(MessageRejected))

    assert one.runs == []
    assert await service.totals() == (1, 1, 0)


async def test_group_waits_for_its_head_while_the_heads_row_can_not_be_claimed_and_goes_on_in_order(service):
    one = Recording()
    worker = service.worker(task("One", one), stages=(0,), holds_groups=True, starts=False)
    real, first = as_fifo(worker).ledger._real.claim, []

    async def claim(claims, now):
        first[:] = first or [claims[0].uid]
        if worker.ledger.cut.get("row") and any(item.uid == first[0] for item in claims):
            raise LedgerError("the row can't be read")
        return await real(claims, now)

    worker.ledger._real.claim, worker.ledger.cut["row"] = claim, LedgerError("")
    await service.send("1")
    await asyncio.sleep(1)
    await service.send("2")

    worker.start()
    await service.until(lambda: service.told(RowDamaged))
    await asyncio.sleep(600)
    assert one.runs == []
    assert await service.totals() == (2, 0, 0)
    assert all(told.lacks_row for told in worker.left)
    del worker.ledger.cut["row"]
    await service.until_empty(2 * HOUR_S)

    assert [body for body, _ in one.runs] == ["1", "2"]


async def test_message_that_another_one_works_on_is_left_alone_for_longer_when_few_receives_are_left(service, clock):
    await service.ledger.claim([Claim(UID, 0, 1, "other", clock.now() + 30)], clock.now())
    worker = service.worker(task("One", Recording()), receives=2)
    await service.broker.send(QUEUES.rejects, [waiting(clock, 0.0)])

    await service.until(lambda: service.told(DuplicateSkipped))
    await service.ledger.give_back([(UID, 0, "other")])  # else it counts as a death, and a real process takes real time
    await asyncio.sleep(100)

    assert released(worker) == [900.0]
    await service.ledger.give_back([(UID, 0, "other")])  # left to run out, it would look like a dead worker's
    await service.until_empty(within_s=2000)


async def test_copy_that_can_not_be_read_is_left_alone_for_as_long_as_its_queue_can_before_it_moves_it(service):
    worker = service.worker(task("One", Recording()), receives=3)

    await service.send("hello", queue=QUEUES.rejects, mulligan='{"v":2,"uid":"018bcfe56800-1"}')
    await asyncio.sleep(20 * HOUR_S)

    assert released(worker) == [60.0, 900.0, 43_200.0, 43_200.0]
    assert worker.network.count("send") == worker.network.count("ack") == 0


def released(worker):
    return [
        entry[1]
        for name, (_, entries) in ((n, a) for n, a in worker.network.calls if n == "release")
        for entry in entries
    ]


async def test_message_that_can_not_be_handed_on_is_released_for_a_while_and_goes_on_later(service, clock):
    one = Recording()
    worker = service.worker(task("One", one), receives=2)
    worker.network.faults["send"] = [[REFUSED]]

    await service.broker.send(QUEUES.rejects, [waiting(clock, 20.0)])
    await service.until_empty(within_s=2000)

    assert released(worker)[0] == 900.0
    assert one.runs == [("hello", 2)]


async def test_message_that_can_not_be_buried_is_left_alone_for_longer_when_few_receives_are_left(service):
    """It came back each minute, until its queue moved it away, and nobody was alerted."""
    alert = Recording()
    worker = service.worker(
        task("One", Recording(ValueError("no")), attempts=1), task("Alert", alert, is_default=True), receives=3
    )
    worker.network.faults["send"] = [[REFUSED], [REFUSED]]

    await service.send("hello")
    await service.until_empty(within_s=2000)

    assert released(worker) == [60.0, 900.0]
    assert len(alert.runs) == 1
    assert await service.totals() == (0, 0, 1)


async def test_message_is_released_when_the_ledger_can_not_be_asked_at_the_end(service):
    """It can't be handed on: nobody knows how far it is. Its queue may move it then, and lose nothing of it."""
    worker = service.worker(task("One", Recording()), receives=2)
    worker.ledger.cut["claim"] = worker.ledger.cut["give_back"] = LEDGER_DOWN
    await service.send("hello")
    await asyncio.sleep(5)

    await worker.drain(0.0)
    await worker.sweep()

    assert await service.totals() == (1, 0, 0)


# -- what stays in flight


LIKE_SQS = {"max_delay_s": 900.0, "max_in_flight": 100}


def crowded(worker, in_flight):
    async def depth(queue):
        return Depth(0, 0, in_flight)

    worker.network._real.depth = depth
    return worker


async def test_long_wait_is_a_copy_when_more_than_half_of_what_may_be_in_flight_is(service, clock):
    one = Recording()
    worker = crowded(service.worker(task("One", one), features=LIKE_SQS), 60)

    await service.broker.send(QUEUES.rejects, [waiting(clock, HOUR_S)])
    await service.until_empty(within_s=2 * HOUR_S)

    assert one.runs == [("hello", 2)]
    assert [event.hop for event in service.told(MessageRejected)] == [2, 3, 4, 5][: len(service.told(MessageRejected))]
    assert 3 <= len(service.told(MessageRejected)) <= 4
    assert worker.network.count("depth") <= 5


async def test_long_wait_is_a_release_while_little_is_in_flight(service, clock):
    one = Recording()
    crowded(service.worker(task("One", one), features=LIKE_SQS), 40)

    await service.broker.send(QUEUES.rejects, [waiting(clock, HOUR_S)])
    await service.until_empty(within_s=2 * HOUR_S)

    assert one.runs == [("hello", 2)]
    assert service.told(MessageRejected) == []
    assert len(service.told(MessageReleased)) == 1


async def test_short_wait_is_a_release_however_much_is_in_flight_and_asks_for_no_depth(service, clock):
    worker = crowded(service.worker(task("One", Recording()), features=LIKE_SQS), 99)

    await service.broker.send(QUEUES.rejects, [waiting(clock, 890.0)])
    await service.until_empty(within_s=2 * HOUR_S)

    assert service.told(MessageRejected) == []
    assert worker.network.count("depth") == 0


async def test_message_that_can_not_be_buried_is_not_replayed_for_what_else_is_in_flight(service):
    """Its copy on rejects had nothing pending, so it was taken for a dead letter that somebody had moved there."""
    one, alert = Recording(ValueError("no")), Recording()
    worker = crowded(
        service.worker(
            task("One", one, attempts=1), task("Alert", alert, is_default=True),
            features={"max_delay_s": 4.0, "max_in_flight": 100},
        ),
        60,
    )  # fmt: skip
    worker.network.faults["send"] = [[REFUSED]]

    await service.send("hello")
    await service.until_empty(within_s=2000)

    assert len(one.runs) == 1
    assert len(alert.runs) == 1
    assert await service.totals() == (0, 0, 1)
