"""When a run ends without a stop signal: once its queues are empty (`--drain`), or its time is over (`--for`)."""

import asyncio

from mulligan.brokers.base import Broker, Queues
from mulligan.clock import SystemClock
from mulligan.core.error import BrokerError
from mulligan.worker.ipc.lease_table import Counter
from mulligan.worker.supervisor.remainder import Remainder
from mulligan.worker.supervisor.run_state import RunState
from mulligan.worker.supervisor.worker_pool import WorkerPool

__all__ = ["QueuesEmpty", "stop_after"]

_EVERY_S = 0.2
_READINGS = 2
_ESTIMATE_EVERY_S = 1.0
_ESTIMATE_READINGS = 5


class QueuesEmpty:
    """Requests and rejects hold nothing but what this version can't read, and what waits for a task that is missing.

    remainder: what the workers left there; it goes into the error that the run raises.
    """

    def __init__(
        self,
        broker: Broker,
        queues: Queues,
        pool: WorkerPool,
        remainder: Remainder,
        run: RunState,
        clock: SystemClock,
    ) -> None:
        self._broker = broker
        self._queues = queues
        self._pool = pool
        self._remainder = remainder
        self._run = run
        self._clock = clock

    async def watch(self) -> None:
        """Stop the run once the queues were read as empty often enough in a row."""
        readings, rest = 0, [0, 0]
        queues = (self._queues.requests, self._queues.rejects)  # in this order, the one in which messages move
        while True:
            is_exact = True
            try:
                depths = [await self._broker.depth(queue) for queue in queues]
                is_exact = all(depth.is_exact for depth in depths)
                is_empty = self._remainder.is_all(depths[0], depths[1], self._received(), self._clock.monotonic())
                rest = [depth.total for depth in depths]
            except BrokerError:
                is_empty = False  # the pollers report it
            is_empty = is_empty and not any(table.used for _, table in self._pool.tables)
            readings = readings + 1 if is_empty else 0
            if readings >= (_READINGS if is_exact else _ESTIMATE_READINGS):
                error = self._remainder.error(queues, rest)
                self._run.stop(
                    "the queues are empty" if error is None else "only what can't be finished here is left", error
                )
                return
            await asyncio.sleep(_EVERY_S if is_exact else _ESTIMATE_EVERY_S)

    def _received(self) -> int:
        """Messages that could be read, in the present lives of the workers."""
        return sum(table.count(Counter.RECEIVED) for _, table in self._pool.tables)


async def stop_after(run: RunState, for_s: float) -> None:
    """Stop the run once its time is over."""
    await asyncio.sleep(for_s)
    run.stop(f"{for_s:g} s are over")
