"""What a server does wrong, and what we do then. These tests break the server, so it is their own."""

import asyncio
import time

import pytest

from mulligan.brokers.rabbitmq import fetcher
from mulligan.brokers.rabbitmq.broker import RabbitBroker
from mulligan.brokers.rabbitmq.report import report
from mulligan.core.delivery import Fault, Outgoing
from mulligan.core.error import BrokerUnavailable
from mulligan.core.event import BrokerWarning
from tests.support import rabbitmq as rabbit


@pytest.fixture(scope="module")
def rabbitmq():
    with rabbit.running() as server:
        yield server


async def insist(call, within_s=30.0):
    until = time.monotonic() + within_s
    while True:
        try:
            return await call()
        except BrokerUnavailable:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.1)


async def receive(broker, queue, count=1, wait_s=5.0):
    return await broker.receive(queue, count, wait_s=wait_s, lease_s=30.0)


async def test_held_messages_come_back_when_all_connections_are_closed(broker, queues, rabbitmq, vhost):
    await broker.send(queues.requests, [Outgoing(b"1", {})])
    (held,) = await receive(broker, queues.requests)

    await asyncio.to_thread(rabbitmq.ctl, "close_all_connections", "-p", vhost, "test")
    again = await insist(lambda: receive(broker, queues.requests))
    stale = await broker.ack(queues.requests, [held.receipt])
    stale_release = await broker.release(queues.requests, [(held.receipt, 0.0)])
    sent = await insist(lambda: broker.send(queues.requests, [Outgoing(b"2", {})]))

    assert [one.id for one in again] == [held.id]
    assert again[0].receive_count == 2
    assert stale[0].fault is stale_release[0].fault is Fault.LEASE_LOST
    assert sent == [None]
    assert await broker.ack(queues.requests, [again[0].receipt]) == [None]


async def test_receipt_of_another_process_is_lost_and_harms_nobody(broker, make, queues):
    other = make()
    await other.declare(queues, create=False)
    await broker.send(queues.requests, [Outgoing(b"1", {})])
    (held,) = await receive(broker, queues.requests)

    answers = [
        *await other.ack(queues.requests, [held.receipt]),
        *await other.release(queues.requests, [(held.receipt, 0.0)]),
        *await other.release(queues.requests, [(held.receipt, 5.0)]),
        *await other.extend(queues.requests, [(held.receipt, 5.0)]),
    ]

    assert [one.fault for one in answers] == [Fault.LEASE_LOST] * 4
    assert await broker.ack(queues.requests, [held.receipt]) == [None]


async def test_server_that_was_killed_loses_nothing_that_it_confirmed(broker, queues, rabbitmq):
    sent = await broker.send(queues.requests, [Outgoing(str(n).encode(), {}) for n in range(50)])
    delayed = await broker.send(queues.rejects, [Outgoing(b"later", {}, delay_s=2.0)])
    await receive(broker, queues.requests, 10)

    await asyncio.to_thread(rabbitmq.kill)
    with pytest.raises(BrokerUnavailable):
        await broker.send(queues.requests, [Outgoing(b"never", {})])
    rabbitmq.start()  # not in a thread: the server dies with the thread that started it
    found: set[bytes] = set()
    while len(found) < 50:
        some = await insist(lambda: receive(broker, queues.requests, 50))
        assert some
        found |= {one.body for one in some}

    assert sent == [None] * 50
    assert delayed == [None]
    assert [one.body for one in await insist(lambda: receive(broker, queues.rejects))] == [b"later"]


async def test_memory_alarm_stops_sends_with_its_reason_and_lets_settlements_pass(broker, queues, rabbitmq, events):
    await broker.send(queues.requests, [Outgoing(b"1", {}), Outgoing(b"2", {})])
    (first,) = await receive(broker, queues.requests, 1)
    await asyncio.to_thread(rabbitmq.ctl, "set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        blocked = asyncio.create_task(broker.send(queues.rejects, [Outgoing(b"3", {})]))
        while not any(isinstance(event, BrokerWarning) for event in events):
            await asyncio.sleep(0.05)
        with pytest.raises(BrokerUnavailable, match="memory"):
            await broker.send(queues.rejects, [Outgoing(b"4", {})])
        told = await report(broker)
        acked = await broker.ack(queues.requests, [first.receipt])
        (second,) = await receive(broker, queues.requests, 1)
    finally:
        await asyncio.to_thread(rabbitmq.ctl, "set_vm_memory_high_watermark", "0.4")

    assert any("memory" in problem for problem in told.problems)
    assert acked == [None]
    assert second.body == b"2"
    assert await blocked == [None]
    assert await insist(lambda: broker.send(queues.rejects, [Outgoing(b"4", {})])) == [None]


@pytest.fixture
def impatient(rabbitmq):
    """For one test only: elsewhere a loaded machine would take as long. Channels ask for it when they are opened."""
    rabbitmq.ctl("eval", "application:set_env(rabbit, consumer_timeout, 6000).")
    yield
    rabbitmq.ctl("eval", "application:set_env(rabbit, consumer_timeout, 1800000).")


async def test_consumer_timeout_is_told_with_what_to_raise_and_the_message_comes_back(impatient, broker, queues):
    await broker.send(queues.requests, [Outgoing(b"slow", {})])
    await receive(broker, queues.requests)

    with pytest.raises(BrokerUnavailable, match="consumer_timeout"):
        await receive(broker, queues.requests, wait_s=60.0)

    assert [one.body for one in await insist(lambda: receive(broker, queues.requests))] == [b"slow"]


async def test_connection_lives_when_the_server_falls_silent_after_the_last_message(make, queues, url):
    """It looks every half of the heartbeat whether it has sent something, so it may say nothing for all of it."""
    broker = make(f"{url}?heartbeat=12")
    await broker.declare(queues, create=True)
    await broker.send(queues.requests, [Outgoing(b"1", {})])
    connection = await broker.publishing()

    await asyncio.sleep(6.5)  # just after the server has looked, if it were told 12 s
    await broker.send(queues.requests, [Outgoing(b"2", {})])
    await asyncio.sleep(10)

    assert connection.lost is None


async def test_messages_fetched_ahead_go_to_others_when_nobody_asks_for_them(broker, make, queues, monkeypatch):
    monkeypatch.setattr(fetcher, "IDLE_S", 0.5)
    other = make()
    await other.declare(queues, create=False)
    await broker.send(queues.requests, [Outgoing(str(n).encode(), {}) for n in range(30)])

    (mine,) = await receive(broker, queues.requests, 1)
    theirs = [one.body for one in await receive(other, queues.requests, 100)]
    while len(theirs) < 29:
        theirs += [one.body for one in await receive(other, queues.requests, 100)]

    assert sorted([mine.body, *theirs], key=int) == [str(n).encode() for n in range(30)]


async def test_messages_fetched_ahead_are_back_when_the_receive_was_cancelled_or_the_broker_closed(
    broker, make, queues
):
    waiting = asyncio.create_task(receive(broker, queues.requests, 1, wait_s=20.0))
    await asyncio.sleep(0.2)
    other = make()
    await other.declare(queues, create=False)
    waiting.cancel()
    await asyncio.wait([waiting])
    await other.send(queues.requests, [Outgoing(str(n).encode(), {}) for n in range(10)])

    (one,) = await receive(other, queues.requests, 1)
    await other.close()
    found = []
    while len(found) < 10:
        found += await receive(broker, queues.requests, 100)

    assert one.body in [each.body for each in found]


async def test_messages_fetched_ahead_are_back_at_once_when_a_worker_without_room_rests(broker, make, queues):
    other = make()
    await other.declare(queues, create=False)
    await broker.send(queues.requests, [Outgoing(str(n).encode(), {}) for n in range(30)])
    (mine,) = await receive(broker, queues.requests, 1)

    await broker.rest(queues.requests)
    found = await receive(other, queues.requests, 100, wait_s=0.0)
    while len(found) < 29 and (some := await receive(other, queues.requests, 100, wait_s=0.0)):
        found += some

    assert len({mine.body, *(one.body for one in found)}) == 30
    assert await broker.ack(queues.requests, [mine.receipt]) == [None]


async def test_message_in_flight_stays_ours_when_a_worker_that_rested_receives_again(broker, queues):
    # RabbitMQ before 3.10.9 closes the channel when a consumer tag comes back while messages of it are in flight
    await broker.send(queues.requests, [Outgoing(str(n).encode(), {}) for n in range(30)])
    (mine,) = await receive(broker, queues.requests, 1)
    await broker.rest(queues.requests)

    found = []
    while len(found) < 29:
        found += await receive(broker, queues.requests, 100)

    assert len({mine.body, *(one.body for one in found)}) == 30
    assert await broker.ack(queues.requests, [mine.receipt, *(one.receipt for one in found)]) == [None] * 30


async def test_rest_takes_nothing_from_a_receive_that_waits(broker, queues):
    waiting = asyncio.create_task(receive(broker, queues.requests, 1, wait_s=20.0))
    await asyncio.sleep(0.2)

    await broker.rest(queues.requests)
    await broker.send(queues.requests, [Outgoing(b"1", {})])

    assert [one.body for one in await waiting] == [b"1"]


async def test_walk_sees_more_messages_than_a_window_holds(broker, queues):
    for at in range(0, 900, 100):
        await broker.send(queues.dead, [Outgoing(str(n).encode(), {}) for n in range(at, at + 100)])

    seen: list[bytes] = []
    while some := await receive(broker, queues.dead, 100, wait_s=1.0):
        seen += [one.body for one in some]

    assert len(set(seen)) == len(seen) == 900
    assert isinstance(broker, RabbitBroker)
