import asyncio

import pytest

from mulligan.worker.pipeline.batcher import Batcher


class Calls:
    """Takes batches, and holds each until `open` is set."""

    def __init__(self):
        self.batches = []
        self.started_at = []
        self.under_way = 0
        self.most = 0
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, batch):
        self.batches.append(batch)
        self.started_at.append(asyncio.get_running_loop().time())
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.open.wait()
        self.under_way -= 1


@pytest.fixture
async def calls():
    return Calls()


@pytest.fixture
def make(calls, failed):
    return lambda **more: Batcher(calls, **{"max_batch": 3, "failed": failed.append, **more})


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


async def test_batcher_sends_a_single_thing_within_the_loops_turn_when_it_does_not_linger(make, calls):
    batcher = make()
    begun_at = asyncio.get_running_loop().time()

    batcher.put(1)
    await batcher.drain()

    assert calls.batches == [[1]]
    assert calls.started_at == [begun_at]


async def test_batcher_groups_what_is_put_in_one_turn(make, calls):
    batcher = make()

    batcher.put(1)
    batcher.put(2)
    await batcher.drain()

    assert calls.batches == [[1, 2]]


async def test_batcher_groups_what_comes_while_a_call_is_under_way(make, calls):
    calls.open.clear()
    batcher = make()
    batcher.put(1)
    await turns()
    batcher.put(2)
    batcher.put(3)
    await turns()
    assert calls.batches == [[1]]

    calls.open.set()
    await turns(10)

    assert calls.batches == [[1], [2, 3]]
    assert batcher.is_idle


async def test_batcher_never_sends_more_than_a_batch_or_more_calls_than_allowed(make, calls):
    calls.open.clear()
    batcher = make(max_calls=2)

    for number in range(10):
        batcher.put(number)
    await turns()
    assert calls.batches == [[0, 1, 2], [3, 4, 5]]
    calls.open.set()
    await batcher.drain()

    assert calls.batches[2:] == [[6, 7, 8], [9]]
    assert calls.most == 2


async def test_batcher_lingers_for_company(make, calls):
    batcher = make(linger_s=1.0)
    begun_at = asyncio.get_running_loop().time()

    batcher.put(1)
    await asyncio.sleep(0.6)
    batcher.put(2)
    await asyncio.sleep(2)

    assert calls.batches == [[1, 2]]
    assert calls.started_at == [begun_at + 1.0]


async def test_batcher_does_not_linger_when_a_batch_is_full(make, calls):
    batcher = make(linger_s=1.0)

    for number in range(3):
        batcher.put(number)
    await turns()

    assert calls.batches == [[0, 1, 2]]


async def test_batcher_lingers_with_the_rest_of_a_full_batch(make, calls):
    batcher = make(linger_s=1.0)
    begun_at = asyncio.get_running_loop().time()

    for number in range(4):
        batcher.put(number)
    await asyncio.sleep(3)

    assert calls.batches == [[0, 1, 2], [3]]
    assert calls.started_at == [begun_at, begun_at + 1.0]


async def test_batcher_forgets_nothing_when_it_lingers_and_all_calls_are_under_way(make, calls):
    calls.open.clear()
    batcher = make(linger_s=1.0)
    for number in range(8):
        batcher.put(number)
    await asyncio.sleep(5)
    assert calls.batches == [[0, 1, 2]]

    calls.open.set()
    await asyncio.sleep(5)

    assert calls.batches == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert batcher.is_idle


async def test_batcher_drain_lets_out_at_once_what_lingers(make, calls):
    batcher = make(linger_s=60.0)
    begun_at = asyncio.get_running_loop().time()
    batcher.put(1)

    await batcher.drain()

    assert calls.batches == [[1]]
    assert asyncio.get_running_loop().time() == begun_at


async def test_batcher_drain_waits_for_what_is_put_meanwhile(make, calls):
    calls.open.clear()
    batcher = make()
    batcher.put(1)
    draining = asyncio.create_task(batcher.drain())
    await turns()
    batcher.put(2)
    calls.open.set()

    await draining

    assert calls.batches == [[1], [2]]
    assert batcher.is_idle


async def test_batcher_drain_that_is_cancelled_leaves_its_calls_alone(make, calls):
    calls.open.clear()
    batcher = make()
    batcher.put(1)
    draining = asyncio.create_task(batcher.drain())
    await turns()

    draining.cancel()
    await asyncio.wait([draining])

    assert calls.under_way == 1
    calls.open.set()
    await batcher.drain()


async def test_batcher_tells_a_call_that_raises_and_is_idle_after_it(failed):
    async def call(batch):
        raise OSError("the disk is gone")

    batcher = Batcher(call, max_batch=3, failed=failed.append)

    batcher.put(1)
    await batcher.drain()

    assert [str(error) for error in failed] == ["the disk is gone"]
    assert batcher.is_idle
