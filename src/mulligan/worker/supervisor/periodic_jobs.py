"""What the supervisor repeats while the workers work: keep leases and claims, look after workers, prune, count."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from mulligan.core.error import LedgerUnavailable, StorageBroken
from mulligan.ledger.base import Ledger
from mulligan.telemetry.hub import Hub
from mulligan.worker.failpoint import ARMED, Point
from mulligan.worker.host import Host
from mulligan.worker.ipc.channel import ClaimsLost, LeasesLost
from mulligan.worker.ipc.lease_table import LeaseTable
from mulligan.worker.supervisor.lease_keeper import LeaseKeeper, Lost
from mulligan.worker.supervisor.reaper import Reaper
from mulligan.worker.supervisor.run_state import RunState
from mulligan.worker.supervisor.stats_file import StatsFile
from mulligan.worker.supervisor.worker_pool import WorkerPool

__all__ = ["PeriodicJobs"]

_PRUNE_EVERY_S = 3600.0
_STATS_EVERY_S = 10.0
_DAY_S = 86_400.0


class PeriodicJobs:
    """Each method is one job, which never ends."""

    def __init__(
        self,
        pool: WorkerPool,
        keeper: LeaseKeeper,
        run: RunState,
        host: Host,
        hub: Hub,
    ) -> None:
        self._pool = pool
        self._keeper = keeper
        self._run = run
        self._clock = host.clock
        self._hub = hub
        self._reaper = Reaper()

    async def look_after_workers(self) -> None:
        """Look for blocked workers and dead orphans, rotate the log."""
        interval_s = min(1.0, self._keeper.interval_s)
        while True:
            await asyncio.sleep(interval_s)
            if ARMED is not None:
                ARMED.reach(Point.SUPERVISING)
            self._hub.tend()
            self._reaper.reap([one.process.pid for one in self._pool.workers if one.process is not None])
            for worker in self._pool.workers:
                await worker.look_after()

    async def extend_leases(self) -> None:
        """Apart from the claims: while the ledger is away, which takes seconds to find out, leases are to be kept."""
        await self._extend(self._keeper.extend_leases, lambda slots, _: LeasesLost(slots))

    async def extend_claims(self) -> None:
        """The same for claims."""
        await self._extend(self._keeper.extend_claims, ClaimsLost)

    async def _extend(
        self,
        extend: Callable[[Sequence[tuple[int, LeaseTable]]], Awaitable[Lost]],
        message: Callable[[list[tuple[int, int]], float], LeasesLost | ClaimsLost],
    ) -> None:
        while True:
            await asyncio.sleep(self._keeper.interval_s)
            asked_at = self._clock.monotonic()
            try:
                lost = await extend(self._pool.tables)
            except StorageBroken as exc:
                self._run.stop("the storage is broken", exc)
                continue
            for worker in self._pool.workers:
                if worker.number in lost:
                    worker.send(message(lost[worker.number], asked_at))

    async def prune_ledger(self, ledger: Ledger, keep_days: float) -> None:
        """Remove what the ledger need not remember any more, at the start and then once per hour."""
        while True:
            with contextlib.suppress(LedgerUnavailable):  # the next time, then
                await ledger.forget(self._clock.now() - keep_days * _DAY_S)
            await asyncio.sleep(_PRUNE_EVERY_S)

    async def write_stats(self, stats: StatsFile) -> None:
        """Write the run's stats again."""
        while True:
            await asyncio.sleep(_STATS_EVERY_S)
            stats.write()
