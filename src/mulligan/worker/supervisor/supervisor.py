"""The process that `python main.py` is: starts the workers, keeps them, and stops them.

It puts its parts together and runs them from the start to the end: `preparation`, `worker_pool`, `periodic_jobs`,
`stop_condition`. Whichever of them can't go on stops the run through `run_state`.
"""

import asyncio
import signal
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from mulligan.brokers.base import Broker
from mulligan.core.event import Started, Stopped, Stopping, StoppingAtOnce
from mulligan.core.secret import redacted_url
from mulligan.ledger.base import Ledger
from mulligan.settings.model import Settings
from mulligan.telemetry.hub import Hub
from mulligan.worker.background import Background
from mulligan.worker.failpoint import ARMED, Point
from mulligan.worker.host import Host
from mulligan.worker.ipc.channel import Isolate, Isolated, LeftAlone, MayIsolate, Setup, Stop
from mulligan.worker.ipc.lease_table import Counter
from mulligan.worker.isolation.gate import HostGate
from mulligan.worker.pipeline.poller import poll_s
from mulligan.worker.supervisor.allocation import allocate, isolated_for
from mulligan.worker.supervisor.lease_keeper import LeaseKeeper
from mulligan.worker.supervisor.periodic_jobs import PeriodicJobs
from mulligan.worker.supervisor.preparation import Preparation
from mulligan.worker.supervisor.remainder import Remainder
from mulligan.worker.supervisor.run_state import RunState
from mulligan.worker.supervisor.run_stats import StatsCollector
from mulligan.worker.supervisor.stats_file import StatsFile
from mulligan.worker.supervisor.stop_condition import QueuesEmpty, stop_after
from mulligan.worker.supervisor.worker_handle import ToSupervisor, WorkerHandle
from mulligan.worker.supervisor.worker_pool import WorkerPool

__all__ = ["Supervisor"]


class Supervisor:
    """All workers of one application.

    broker, ledger: not opened yet; used for declaring, leases and depth. folder: the application's, absolute.
    """

    def __init__(self, settings: Settings, broker: Broker, ledger: Ledger, hub: Hub, host: Host, folder: Path) -> None:
        self._settings = settings
        self._broker = broker
        self._ledger = ledger
        self._emit = emit = hub.emit
        self._remainder: Remainder | None = None
        """Kept by a run to the end only."""
        self._signals = 0
        self._run = run = RunState()
        self._background = Background(self._part_failed)
        self._gate = HostGate(self._let_isolate)
        keeper = LeaseKeeper(broker, ledger, settings.queues, host.clock, emit, settings.lease_s)
        stats = StatsCollector(host.clock.now())
        workers = [
            WorkerHandle(setup, host, run, emit, self._background, self._heard)
            for setup in _setups(settings, host, folder)
        ]
        self._pool = WorkerPool(workers, keeper, stats, self._gate, run, host.clock, emit)
        self._preparation = Preparation(settings, broker, ledger, run, host.clock, emit)
        self._jobs = PeriodicJobs(self._pool, keeper, run, host, hub)
        self._stats = StatsFile(stats, self._pool, broker, host, folder / settings.run_stats_file)
        self._clock = host.clock

    async def run(self, *, drains: bool, for_s: float | None) -> None:
        """Work until stopped, until the queues are empty (drains), or for a time.

        Raises ConfigurationError when the queues or tasks can't be used, BrokerUnavailable or LedgerUnavailable when
        the start has waited for them long enough, StorageBroken, LeftUndoneError when the queues hold nothing any more
        but what this version can't read.
        """
        self._remainder = Remainder() if drains else None
        self._listen_to_signals()
        await self._preparation.open_ledger()
        if self._run.is_stopping:
            self._report_stopping(0)
            self._report_stopped({})
        else:
            await self._work(for_s)
        if self._run.error is not None:
            raise self._run.error

    async def _work(self, for_s: float | None) -> None:
        """From an open ledger to the end of the last worker."""
        run, pool, jobs, spawn = self._run, self._pool, self._jobs, self._background.spawn
        beside = [spawn(job) for job in (jobs.look_after_workers(), jobs.extend_leases(), jobs.extend_claims())]
        # the first worker checks the tasks for all, before anything is made at the broker
        tending = [spawn(pool.tend(worker)) for worker in pool.workers[:1]]
        await pool.until_ready(pool.workers[:1])
        if not run.is_stopping:
            await self._preparation.declare_queues()
        if not run.is_stopping:
            await self._preparation.compare_clocks()
        tending += [spawn(pool.tend(worker)) for worker in pool.workers[1:]]
        await pool.until_ready(pool.workers if not run.is_stopping else [])
        beside.append(spawn(jobs.prune_ledger(self._ledger, self._settings.ledger_keep_days)))
        beside.append(spawn(jobs.write_stats(self._stats)))
        if not run.is_stopping:
            pool.begin()
            self._report_started()
            beside += [spawn(condition) for condition in self._stop_conditions(for_s)]
        await run.stopping.wait()
        self._report_stopping(pool.running)
        pool.stop(Stop(self._settings.grace_s, forgives=run.reason == signal.SIGHUP.name))
        if ARMED is not None:
            ARMED.reach(Point.DRAINING)
        await pool.until_ended(tending, self._settings.shutdown_s)
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        self._report_stopped(self._stats.write().messages)

    def _stop_conditions(self, for_s: float | None) -> list[Coroutine[Any, Any, None]]:
        """What stops this run, besides signals and failures."""
        conditions = [] if for_s is None else [stop_after(self._run, for_s)]
        if self._remainder is not None:
            queues = self._settings.queues
            empty = QueuesEmpty(self._broker, queues, self._pool, self._remainder, self._run, self._clock)
            conditions.insert(0, empty.watch())
        return conditions

    def stop(self, reason: str) -> None:
        """Begin the end. The first reason counts."""
        self._run.stop(reason)

    def _part_failed(self, error: BaseException) -> None:
        """End the run: leases would run out, unseen."""
        self._run.stop(f"a part of the supervisor has failed ({type(error).__name__})", error)

    # -- signals

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # it is under nohup
                loop.add_signal_handler(number, self._signalled, number)

    def _signalled(self, number: int) -> None:
        # a terminal that goes sends SIGHUP more than once, and before it goes somebody may have pressed Ctrl-C
        self._signals += number != signal.SIGHUP
        self._run.stop(signal.Signals(number).name)
        if self._signals > 1 and number != signal.SIGHUP:
            if self._signals == 2:
                self._emit(StoppingAtOnce(signal.Signals(number).name, self._pool.running))
            for worker in self._pool.kill():
                worker.is_dismissed = True

    # -- what workers ask for

    def _heard(self, worker: int, message: ToSupervisor) -> None:
        match message:
            case LeftAlone():
                if self._remainder is not None:
                    self._remainder.add(message)
            case Isolate() | Isolated():
                self._gate.heard(worker, message)

    def _let_isolate(self, worker: int, number: int) -> None:
        self._pool.workers[worker].send(MayIsolate(number))

    # -- reports

    def _report_started(self) -> None:
        settings = self._settings
        self._emit(
            Started(
                redacted_url(settings.broker_url), len(self._pool.workers), settings.no_of_requests_consumers,
                settings.no_of_rejects_consumers, settings.concurrency,
            )
        )  # fmt: skip

    def _report_stopping(self, running: int) -> None:
        if self._reports_end:
            self._emit(Stopping(self._run.reason, self._settings.grace_s, running, self._poll_s))

    def _report_stopped(self, messages: Mapping[Counter, int]) -> None:
        if self._reports_end:
            counts = (messages.get(counter, 0) for counter in (Counter.DONE, Counter.REJECTED, Counter.BURIED))
            self._emit(Stopped(*counts))

    @property
    def _reports_end(self) -> bool:
        """Whether the end is more than the error that keeps a run from its start."""
        return self._run.has_begun or self._run.error is None

    @property
    def _poll_s(self) -> float:
        """Seconds that a receive under way may go on; 0 where it is cut."""
        features = self._broker.features
        is_cut = features.cancels_receive or not self._run.has_begun
        return 0.0 if is_cut else poll_s(features, self._settings.grace_s)


def _setups(settings: Settings, host: Host, folder: Path) -> list[Setup]:
    """What each worker gets, in the order of their numbers."""
    shares = allocate(settings.no_of_requests_consumers, settings.no_of_rejects_consumers, settings.pool_size)
    isolated = isolated_for(len(shares), host.cores())
    for_worker = settings.for_worker(folder)
    return [
        Setup(
            number, for_worker, share.requests, share.rejects,
            sum(host.slots_for(count * settings.concurrency) for count in (share.requests, share.rejects) if count),
            str(folder), isolated,
        )
        for number, share in enumerate(shares)
    ]  # fmt: skip
