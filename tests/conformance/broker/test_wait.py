import asyncio

import pytest

from mulligan.core.delivery import Outgoing
from mulligan.core.error import BrokerRefused


def start_waiting(broker, queue, *, wait_s=20.0, lease_s=30.0):
    return asyncio.create_task(broker.receive(queue, 10, wait_s=wait_s, lease_s=lease_s))


async def until_idle(task):
    """Let the task run until it waits for the outside: nothing tells when, so a few turns of the loop must do."""
    for _ in range(20):
        await asyncio.sleep(0.005)
        assert not task.done()


async def test_receive_returns_nothing_when_nothing_comes_within_its_wait(broker, queues):
    loop = asyncio.get_running_loop()
    start = loop.time()

    deliveries = await broker.receive(queues.requests, 10, wait_s=0.2, lease_s=30.0)

    assert deliveries == []
    assert loop.time() - start >= 0.19


async def test_receive_that_waits_is_woken_by_a_send_of_the_same_broker(broker, queues):
    task = start_waiting(broker, queues.requests)
    await until_idle(task)

    await broker.send(queues.requests, [Outgoing(b"wake up", {})])

    assert [d.body for d in await asyncio.wait_for(task, 5)] == [b"wake up"]


async def test_receive_that_waits_is_woken_by_a_send_of_another_broker(broker, connect, queues):
    other = await connect()
    task = start_waiting(broker, queues.requests)
    await until_idle(task)

    await other.send(queues.requests, [Outgoing(b"wake up", {})])

    assert [d.body for d in await asyncio.wait_for(task, 5)] == [b"wake up"]


async def test_receive_that_waits_is_woken_by_a_release(broker, connect, queues):
    other = await connect()
    await other.send(queues.requests, [Outgoing(b"back", {})])
    (delivery,) = await other.receive(queues.requests, 1, wait_s=1.0, lease_s=30.0)
    task = start_waiting(broker, queues.requests)
    await until_idle(task)

    await other.release(queues.requests, [(delivery.receipt, 0.0)])

    assert [d.body for d in await asyncio.wait_for(task, 5)] == [b"back"]


async def test_receive_that_waits_is_not_ended_by_a_send_to_another_queue(broker, queues):
    task = start_waiting(broker, queues.requests, wait_s=0.5)
    await until_idle(task)

    await broker.send(queues.rejects, [Outgoing(b"not for you", {})])

    assert await asyncio.wait_for(task, 5) == []


async def test_receive_that_waits_gets_a_delayed_message_when_it_is_due(broker, queues):
    delay_s = max(0.3, broker.features.time_unit_s)
    await broker.send(queues.requests, [Outgoing(b"in time", {}, delay_s=delay_s)])
    loop = asyncio.get_running_loop()
    start = loop.time()

    deliveries = await asyncio.wait_for(start_waiting(broker, queues.requests), 10)

    assert [d.body for d in deliveries] == [b"in time"]
    assert delay_s - 0.05 <= loop.time() - start < delay_s + 2


async def test_receive_that_waits_gets_a_message_that_was_delayed_while_it_waited(broker, connect, queues):
    other = await connect()
    await broker.send(queues.requests, [Outgoing(b"much later", {}, delay_s=600.0)])
    task = start_waiting(broker, queues.requests)
    await until_idle(task)

    await other.send(queues.requests, [Outgoing(b"soon", {}, delay_s=max(0.2, other.features.time_unit_s))])

    assert [d.body for d in await asyncio.wait_for(task, 5)] == [b"soon"]


async def test_receive_that_waits_gets_a_message_when_its_lease_ends(broker, connect, queues):
    other = await connect()
    if not broker.features.keeps_lease:
        pytest.skip("a lease of this broker is its connection")
    await other.send(queues.requests, [Outgoing(b"again", {})])
    await other.receive(queues.requests, 1, wait_s=1.0, lease_s=1.0)

    deliveries = await asyncio.wait_for(start_waiting(broker, queues.requests), 10)

    assert [d.receive_count for d in deliveries] == [2]


async def test_of_many_receives_that_wait_one_gets_the_message(broker, connect, queues):
    other = await connect()
    tasks = [start_waiting(target, queues.requests, wait_s=1.5) for target in (broker, broker, other, other)]
    await until_idle(tasks[0])

    await broker.send(queues.requests, [Outgoing(b"one only", {})])
    found = await asyncio.wait_for(asyncio.gather(*tasks), 10)

    assert sorted(len(deliveries) for deliveries in found) == [0, 0, 0, 1]


async def test_receive_that_waits_returns_nothing_when_the_broker_is_closed(broker, queues):
    task = start_waiting(broker, queues.requests, wait_s=3.0)
    await until_idle(task)

    await broker.close()

    assert await asyncio.wait_for(task, 5) == []


async def test_receive_can_be_cancelled_and_repeated(broker, queues):
    task = start_waiting(broker, queues.requests)
    await until_idle(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await broker.send(queues.requests, [Outgoing(b"still there", {})])

    assert [d.body for d in await broker.receive(queues.requests, 1, wait_s=10.0, lease_s=30.0)] == [b"still there"]


async def test_close_is_harmless_when_it_is_repeated(broker, queues):
    await broker.close()
    await broker.close()

    assert await broker.receive(queues.requests, 1, wait_s=0.0, lease_s=30.0) == []
    with pytest.raises(BrokerRefused, match="closed"):
        await broker.send(queues.requests, [Outgoing(b"", {})])


async def test_broker_that_is_opened_again_finds_its_messages(service, connect, queues):
    if not service.is_durable:
        pytest.skip("this broker keeps nothing")
    first = await connect()
    await first.send(queues.requests, [Outgoing(b"waits", {"a": "b"}), Outgoing(b"leased", {})])
    await first.send(queues.dead, [Outgoing(b"dead", {})])
    await first.close()

    again = await connect()
    deliveries = await again.receive(queues.requests, 10, wait_s=1.0, lease_s=30.0)

    assert {d.body: d.attributes for d in deliveries} == {b"waits": {"a": "b"}, b"leased": {}}
    assert (await again.depth(queues.dead)).total == 1


async def test_receipt_is_good_in_another_broker_object(service, broker, connect, queues):
    if not broker.features.keeps_lease:
        pytest.skip("a receipt of this broker belongs to its connection")
    other = await connect()
    await broker.send(queues.requests, [Outgoing(b"1", {}), Outgoing(b"2", {})])
    first, second = await broker.receive(queues.requests, 2, wait_s=1.0, lease_s=30.0)

    acked = await other.ack(queues.requests, [first.receipt])
    extended = await other.extend(queues.requests, [(second.receipt, 40.0)])

    assert acked == [None]
    assert extended == [None]
