"""When `--drain` takes the queues as empty, and `--for` its time as over."""

import asyncio
from collections.abc import Iterable

import pytest

from mulligan.brokers.memory import MemoryBroker
from mulligan.core.delivery import Depth
from mulligan.worker.ipc.lease_table import LeaseTable
from mulligan.worker.supervisor.remainder import Remainder
from mulligan.worker.supervisor.run_state import RunState
from mulligan.worker.supervisor.stop_condition import QueuesEmpty, stop_after


class Gauged(MemoryBroker):
    """Whose depths are read as `told` says, one for both queues of a reading, and 0 at the end."""

    told: list[int]
    is_exact: bool
    asked: list[str]

    async def depth(self, queue):
        self.asked.append(queue)
        ready = self.told[(len(self.asked) - 1) // 2] if len(self.asked) <= 2 * len(self.told) else 0
        return Depth(ready, 0, 0, None, is_exact=self.is_exact)


@pytest.fixture
async def watched(clock, queues, pool, run_state):
    """Begin to watch queues; the broker is returned."""
    watching = []

    def make(told: Iterable[int], *, is_exact: bool):
        broker = Gauged(clock)
        broker.told, broker.is_exact, broker.asked = list(told), is_exact, []
        condition = QueuesEmpty(broker, queues, pool, Remainder(), run_state, clock)
        watching.append(asyncio.create_task(condition.watch()))
        return broker

    yield make
    for task in watching:
        task.cancel()


@pytest.mark.parametrize(
    ("told", "is_exact", "readings"),
    [
        ([], True, 2),
        ([0, 1, 0, 2], True, 6),
        ([], False, 5),
        ([0, 0, 0, 0, 1], False, 10),  # one server of several had not heard of a message yet
    ],
)
async def test_drain_ends_once_the_queues_were_read_as_empty_so_often_in_a_row(
    watched, run_state, told, is_exact, readings
):
    broker = watched(told, is_exact=is_exact)

    await asyncio.wait_for(run_state.stopping.wait(), 60)

    assert broker.asked == ["t-requests-q", "t-rejects-q"] * readings
    assert (run_state.reason, run_state.error) == ("the queues are empty", None)


async def test_drain_goes_on_while_a_worker_holds_a_message_that_no_queue_counts(watched, pool, run_state):
    watched([], is_exact=True)
    table = pool.workers[0].table = LeaseTable.create(1)
    slot = table.put(0, "receipt", "uid", 0, "token", 0.0)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(run_state.stopping.wait(), 60)
    table.remove(slot)
    await asyncio.wait_for(run_state.stopping.wait(), 60)

    table.close()


async def test_run_stops_when_its_time_is_over_and_says_so(clock):
    run, began_at = RunState(), clock.monotonic()

    await stop_after(run, 90.0)

    assert clock.monotonic() - began_at == pytest.approx(90.0)
    assert (run.reason, run.error) == ("90 s are over", None)
