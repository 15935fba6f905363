"""The connection reset at every frame boundary and a byte to each side of it, in both directions, while messages flow.

Every message is received, copied to rejects and acknowledged, as a worker does it. All offsets take half an hour;
a plain run takes every so many of them, others with another MULLIGAN_TEST_SEED.
"""

import asyncio
import os
import time
from functools import partial

import pytest

from mulligan.core.delivery import Fault, Outgoing
from mulligan.core.error import BrokerUnavailable
from tests.integration.rabbitmq.conftest import broker, events, make, queues, url, vhost
from tests.integration.rabbitmq.proxy import Proxy
from tests.proof.size import IS_FULL

__all__ = ["broker", "events", "make", "queues", "url", "vhost"]  # fixtures

MESSAGES = 200
BACK_WITHIN_S = 5.0
CUTS = 48
SEED = int(os.environ.get("MULLIGAN_TEST_SEED", "1"))


@pytest.fixture
async def proxy(rabbitmq):
    made = Proxy(rabbitmq.port)
    await made.start()
    yield made
    await made.stop()


async def insist(call):
    """Again until the broker is back; as pollers and settlers do."""
    lost_at = None
    while True:
        try:
            answer = await call()
        except BrokerUnavailable:
            lost_at = lost_at or time.monotonic()
            assert time.monotonic() - lost_at < BACK_WITHIN_S
            await asyncio.sleep(0.02)
            continue
        if lost_at is not None:
            assert time.monotonic() - lost_at < BACK_WITHIN_S
        return answer


async def copied(broker, queue, entries):
    """Send until each is confirmed."""
    left = list(entries)
    while left:
        answers = await insist(partial(broker.send, queue, left))
        assert not any(answer is not None and answer.fault is Fault.REFUSED for answer in answers), answers
        left = [one for one, answer in zip(left, answers, strict=True) if answer is not None]


async def carry_through(broker, queues):
    """Send the messages, take each from requests to rejects, and take all from there; how often each was seen there."""
    bodies = [f"{number:03d}".encode() for number in range(MESSAGES)]
    for at in range(0, MESSAGES, 100):
        await copied(broker, queues.requests, [Outgoing(body, {"n": "x"}) for body in bodies[at : at + 100]])
    moved: set[bytes] = set()
    while len(moved) < MESSAGES:
        some = await insist(lambda: broker.receive(queues.requests, 30, wait_s=5.0, lease_s=30.0))
        assert some, f"lost: {MESSAGES - len(moved)} messages are not on requests any more"
        await copied(broker, queues.rejects, [Outgoing(one.body, one.attributes) for one in some])
        await broker.ack(queues.requests, [one.receipt for one in some])
        moved |= {one.body for one in some}
    seen: set[bytes] = set()
    while len(seen) < MESSAGES:
        some = await insist(lambda: broker.receive(queues.rejects, 100, wait_s=5.0, lease_s=30.0))
        assert some, f"lost: {MESSAGES - len(seen)} messages are not on rejects"
        seen |= {one.body for one in some}
        await broker.ack(queues.rejects, [one.receipt for one in some])
    return seen


@pytest.mark.timeout(7200 if IS_FULL else 1200)
async def test_nothing_is_lost_and_all_goes_on_when_the_connection_is_cut_at_any_byte(
    proxy, rabbitmq, vhost, make, broker, queues
):
    through = f"amqp://guest:guest@127.0.0.1:{proxy.port}/{vhost}"

    async def run(cut):
        proxy.begin(cut)
        worker = make(through)
        await insist(lambda: worker.declare(queues, create=False))
        seen = await carry_through(worker, queues)
        await worker.close()
        await broker.purge(queues.requests)
        await broker.purge(queues.rejects)
        return seen

    await run(None)
    cuts = [
        (number, way, offset)
        for number, flows in enumerate(proxy.flows)
        for way, flow in flows.items()
        for end in flow.ends
        for offset in (end - 1, end, end + 1)
        if 0 < offset < flow.size
    ]
    step = 1 if IS_FULL else max(1, len(cuts) // CUTS)
    chosen = cuts[SEED % step :: step]
    hits = 0
    for cut in chosen:
        seen = await run(cut)
        hits += proxy.was_cut.is_set()
        assert len(seen) == MESSAGES, cut

    print(f"{hits} cuts of {len(cuts)} places, {len(chosen)} tried")
    assert hits >= len(chosen) * 0.8
