"""`rest`: what was fetched ahead goes back, and nothing else changes."""

from mulligan.core.delivery import Outgoing


async def bodies(broker, queue, count):
    found = []
    for _ in range(50):
        if len(found) == count:
            break
        found += [one.body for one in await broker.receive(queue, 10, wait_s=0.2, lease_s=30.0)]
    return sorted(found)


async def test_rest_leaves_what_was_not_handed_out_to_another_worker(broker, connect, queues):
    other = await connect()
    await broker.send(queues.requests, [Outgoing(b"%d" % number, {"mulligan-uid": str(number)}) for number in range(9)])
    held = await broker.receive(queues.requests, 1, wait_s=1.0, lease_s=30.0)

    await broker.rest(queues.requests)
    found = await bodies(other, queues.requests, 9 - len(held))

    assert sorted([*found, *(one.body for one in held)]) == [b"%d" % number for number in range(9)]
    assert await broker.ack(queues.requests, [one.receipt for one in held]) == [None] * len(held)


async def test_receive_goes_on_after_a_rest(broker, queues):
    await broker.receive(queues.requests, 1, wait_s=0.0, lease_s=30.0)

    await broker.rest(queues.requests)
    await broker.send(queues.requests, [Outgoing(b"later", {})])

    assert await bodies(broker, queues.requests, 1) == [b"later"]
