"""The file with the stats of the run, written by the supervisor again and again."""

import contextlib
from pathlib import Path

from mulligan.brokers.base import Broker
from mulligan.worker.host import Host
from mulligan.worker.supervisor.run_stats import RunStats, StatsCollector, encode
from mulligan.worker.supervisor.worker_pool import WorkerPool

__all__ = ["StatsFile"]


class StatsFile:
    """What `collector` has of ended workers, what the present ones count, and this process's requests to the broker."""

    def __init__(self, collector: StatsCollector, pool: WorkerPool, broker: Broker, host: Host, file: Path) -> None:
        self._collector = collector
        self._pool = pool
        self._broker = broker
        self._host = host
        self._file = file

    def write(self) -> RunStats:
        """Write the totals until now, and return them. They are not written where the disk can't take them."""
        living = [(one.table, one.requests) for one in self._pool.workers if one.table is not None]
        totals = self._collector.totals(self._host.clock.now(), living, self._broker.billed)
        with contextlib.suppress(OSError):  # that must not disturb the run
            self._host.replace_file(self._file, encode(totals))
        return totals
