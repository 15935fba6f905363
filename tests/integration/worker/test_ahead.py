"""Messages that were asked for ahead of their places: received and claimed, and not begun yet."""

import asyncio
import random

import pytest

from mulligan.core.delivery import Outgoing
from mulligan.core.event import DuplicateSkipped, LeaseLost, MessageDone, MessageReleased, SuspectIsolated
from mulligan.ledger.none import NoLedger
from mulligan.worker.ipc.lease_table import SlotState
from tests.integration.worker.service import QUEUES, Recording, task

PRICED = {"has_price": True}  # receives wait for whole batches of room, and so are worth asking for ahead


def ahead(worker):
    return [flight for flight in worker.flights if flight.waits_since]


async def with_some_ahead(service, one, **more):
    """A worker of five places that has been at work for a while, and has more than it can begin."""
    worker = service.worker(
        task("One", one, timeout_s=5000.0), capacity=5, features=PRICED, stages=(0,), receive_linger_s=0.2, **more
    )
    await service.send(*map(str, range(400)))
    await service.until(lambda: len(one.runs) > 200)
    await service.until(lambda: len(ahead(worker)) >= 3)
    return worker


async def far():
    await asyncio.sleep(0.01)


async def test_no_place_is_empty_while_the_queue_is_not_and_no_more_run_than_there_are_places(service):
    dice = random.Random(7)
    one = Recording(*[dice.uniform(0, 0.1) for _ in range(2000)])
    worker = service.worker(task("One", one), capacity=10, features=PRICED, stages=(0,), starts=False)
    worker.network.faults["receive"] = [far] * 1000
    await service.send(*map(str, range(2000)))
    began = asyncio.get_running_loop().time()

    worker.start()
    await service.until_empty()

    assert one.most == 10
    assert len(one.runs) == len(service.told(MessageDone)) == 2000
    assert asyncio.get_running_loop().time() - began < 1.05 * 2000 * 0.05 / 10  # 2.1 times without
    assert worker.network.count("receive") < 210


async def test_messages_that_get_no_place_in_time_are_given_back_for_another_worker(service):
    """Tasks that took milliseconds take minutes all at once; what was asked for ahead must not wait for them."""
    gate = asyncio.Event()

    async def end(context):
        await (asyncio.sleep(0.01) if len(one.runs) <= 250 else gate.wait())

    one = Recording(*[end] * 400)
    worker = await with_some_ahead(service, one)
    await service.until(lambda: len(one.runs) == 255)
    waiting = [flight.message.uid for flight in ahead(worker)]
    other = Recording()
    service.worker(task("One", other), stages=(0,))
    assert waiting

    await asyncio.sleep(2)

    assert one.now == 5
    assert len(other.runs) == 145
    released = service.told(MessageReleased)
    assert {event.uid for event in released} >= set(waiting)
    assert {(event.reason, event.delay_s) for event in released} == {("no place came free in time", 0.0)}
    gate.set()
    await service.until_empty()
    assert len({body for body, _ in one.runs + other.runs}) == len(one.runs + other.runs) == 400
    assert service.told(SuspectIsolated) == []


async def test_messages_that_wait_are_released_at_once_and_not_run_when_the_worker_stops(service):
    one = Recording(*[0.01] * 250, *[30.0] * 5)
    worker = await with_some_ahead(service, one)
    await service.until(lambda: len(one.runs) == 255)
    waiting = {flight.message.text for flight in ahead(worker)}

    ending = asyncio.get_running_loop().create_task(worker.drain(grace_s=5.0))
    await asyncio.sleep(0.2)
    assert one.now == 5
    assert waiting
    assert {event.reason for event in service.told(MessageReleased)} == {"shutting down"}
    assert (await service.broker.depth(QUEUES.requests)).in_flight == 5
    await ending

    assert not waiting & {body for body, _ in one.runs}
    depth = await service.broker.depth(QUEUES.requests)
    assert (depth.ready, depth.in_flight) == (400 - 250, 0)
    assert await worker.sweep() == 0


async def test_message_whose_lease_is_lost_while_it_waits_is_not_run(service):
    one = Recording(*[0.01] * 400)
    worker = await with_some_ahead(service, one, keeps=False)
    lost = ahead(worker)[0]

    worker.pipelines[0].dispatcher.lose(lost.slot, worker.table.sequence(lost.slot))
    await asyncio.sleep(0.5)

    assert [event.uid for event in service.told(LeaseLost)] == [lost.message.uid]
    assert lost.message.text not in {body for body, _ in one.runs}
    await service.until_empty()
    assert len(one.runs) == 400


async def test_message_that_waits_is_no_suspect_when_its_worker_dies(service):
    worker = await with_some_ahead(service, Recording(*[0.01] * 400))

    standings = {holding.slot: holding.standing for holding in worker.table.holdings()}

    assert {standings[flight.slot] for flight in ahead(worker)} == {SlotState.HELD}
    assert list(standings.values()).count(SlotState.RUNNING) <= 5


async def test_messages_are_not_received_over_and_over_while_no_place_comes_free(service):
    """What was given back looked as if it had ended, so that as many were asked for again: after a quarter of an hour
    Amazon SQS would have moved them to the dead queue, unrun."""
    one = Recording(*[0.05] * 300, *[3600.0] * 20)
    service.worker(
        task("One", one, timeout_s=7200.0), capacity=10, stages=(0,), receive_linger_s=60.0,
        features={"has_price": True, "max_batch": 10, "max_pollers": 40},
    )  # fmt: skip
    await service.send(*map(str, range(320)))
    await service.until(lambda: len(one.runs) == 310)

    await asyncio.sleep(1200)

    assert max(one.receive_count for one in service.queues.get(QUEUES.requests).stored.values()) <= 2


async def test_nothing_is_asked_for_ahead_without_a_ledger(service):
    """What is given back unbegun comes a second time, and whatever does so without a ledger is a suspect."""
    one = Recording(*[0.01] * 400)
    worker = service.worker(
        task("One", one),
        capacity=5,
        features=PRICED,
        stages=(0,),
        receive_linger_s=0.2,
        ledger=NoLedger(),
        starts=False,
    )
    await service.send(*map(str, range(400)))

    worker.start()
    most = 0
    while len(one.runs) < 400:
        await asyncio.sleep(0.002)
        most = max(most, worker.in_flight)

    assert most == 5


async def test_copy_that_is_not_to_be_run_needs_no_place(service):
    one = Recording(*[0.01] * 250, *[30.0] * 300)
    service.worker(task("One", one, timeout_s=5000.0), capacity=5, features=PRICED, stages=(0,), receive_linger_s=0.2)
    sent = [Outgoing(str(n).encode(), {"mulligan-uid": f"018bcfe56800-{n:08}"}) for n in range(255)]
    for start in range(0, 255, 51):
        await service.broker.send(QUEUES.requests, sent[start : start + 51])
    await service.until(lambda: len(one.runs) == 255)

    await service.broker.send(QUEUES.requests, sent[250:253])  # twins of three of the five that take long now
    await service.until(lambda: len(service.told(DuplicateSkipped)) == 3, within_s=0.3)

    assert service.told(MessageReleased) == []
    assert one.now == 5


async def test_one_of_a_group_takes_its_place_like_any_other_when_its_turn_comes(service):
    one = Recording(*[0.01] * 600)
    worker = service.worker(
        task("One", one), capacity=4, features=PRICED, stages=(0,), starts=False, receive_linger_s=0.2
    )
    worker.network.group = lambda delivery: str(int(delivery.body) % 7)
    await service.send(*map(str, range(600)))

    worker.start()
    await service.until_empty()

    assert one.most == 4
    for group in range(7):
        assert [int(body) for body, _ in one.runs if int(body) % 7 == group] == list(range(group, 600, 7))


@pytest.mark.parametrize("holds_groups", [True, False])
async def test_group_keeps_its_order_and_its_turns(service, holds_groups):
    one = Recording(*[0.01] * 300)
    worker = service.worker(
        task("One", one), capacity=5, features=PRICED, stages=(0,), starts=False, holds_groups=holds_groups
    )
    worker.network.group = "g"
    await service.send(*map(str, range(300)))

    worker.start()
    await service.until_empty()

    assert [body for body, _ in one.runs] == [str(n) for n in range(300)]
    assert one.most == 1
