"""All workers of a run: replaces those that end, releases what they held, and takes all down at the end."""

import asyncio
import signal
from collections.abc import Callable, Sequence

from mulligan.clock import SystemClock
from mulligan.core.error import ConfigurationError, LedgerError, MulliganError, StorageBroken
from mulligan.core.event import Event, WorkerDied, WorkerRecycled
from mulligan.worker.ipc.channel import Go, Stop
from mulligan.worker.ipc.child import ChildProcess
from mulligan.worker.ipc.lease_table import Counter, LeaseTable, SlotState
from mulligan.worker.isolation.gate import HostGate
from mulligan.worker.supervisor.lease_keeper import LeaseKeeper
from mulligan.worker.supervisor.restart import consecutive_crashes, delay_s
from mulligan.worker.supervisor.run_state import RunState
from mulligan.worker.supervisor.run_stats import StatsCollector
from mulligan.worker.supervisor.worker_exit import ExitKind, WorkerExit
from mulligan.worker.supervisor.worker_handle import KILL_AFTER_S, WorkerHandle

__all__ = ["WorkerPool"]

_START_RETRIES = 4
"""A worker that is killed while it loads its tasks is tried so often again, with pauses, before a start is given up."""


class WorkerPool:
    """keeper: releases what an ended worker held. stats: gets what it counted. gate: hears that it has ended."""

    def __init__(
        self,
        workers: Sequence[WorkerHandle],
        keeper: LeaseKeeper,
        stats: StatsCollector,
        gate: HostGate,
        run: RunState,
        clock: SystemClock,
        emit: Callable[[Event], None],
    ) -> None:
        self.workers = workers
        self._keeper = keeper
        self._stats = stats
        self._gate = gate
        self._run = run
        self._clock = clock
        self._emit = emit

    async def tend(self, worker: WorkerHandle) -> None:
        """Run this worker until the end of the run: a new process each time one ends."""
        crashes = failed_starts = 0
        while not self._run.is_stopping:
            began_at = self._clock.monotonic()
            end = await worker.run_once()
            crashes = consecutive_crashes(
                crashes, lived_s=self._clock.monotonic() - began_at, settled=_settled(worker.table)
            )
            held = await self._release(worker, end)
            wait_s = self._restart_in_s(crashes)
            if error := self._start_error(worker, end, failed_starts):
                self._run.stop(*error)
            elif end.kind is ExitKind.FATAL:
                self._run.stop("the storage is broken", StorageBroken(*end.details))
            elif end.kind is ExitKind.DRAINED:
                wait_s = 0.0
                if not self._run.is_stopping:
                    self._emit(WorkerRecycled(worker.number, _pid(worker), *end.details))
            elif end.kind is not ExitKind.OTHER_VERSION and not worker.is_dismissed:
                failed_starts += 1
                self._emit(WorkerDied(worker.number, _pid(worker), "; ".join(end.details), held, wait_s))
            if wait_s:
                await self._run.pause(wait_s)

    def _restart_in_s(self, crashes: int) -> float | None:
        """Seconds before the next start; None when the end has begun, and there is none."""
        return None if self._run.is_stopping else delay_s(crashes)

    def _start_error(
        self, worker: WorkerHandle, end: WorkerExit, failed_starts: int
    ) -> tuple[str, MulliganError] | None:
        """Why this end of a worker that should have checked the tasks ends the run; None when it doesn't."""
        if not self._run.is_starting:
            return None
        if end.kind is ExitKind.PROBLEMS:
            return "the tasks can't be used", ConfigurationError(end.details)
        if end.kind is ExitKind.DIED and not _may_pass(worker.process):
            return "the tasks can't be used", ConfigurationError((_unloadable(end),))
        if end.kind is ExitKind.DIED and failed_starts == _START_RETRIES:
            return "no worker could be started", MulliganError(_unloadable(end))
        return None

    async def _release(self, worker: WorkerHandle, end: WorkerExit) -> int:
        """Release what the worker held, and add up what it counted; how many messages it held."""
        self._gate.gone(worker.number)
        table = worker.table
        if table is None:
            return 0  # the system had no memory even for that
        self._stats.add(table, worker.requests)
        worker.requests = {}
        blamed = _blamed(worker, table, end)
        worker.blamed = None
        worker.table = None
        try:
            return await self._keeper.sweep(table, blamed=blamed)
        except (LedgerError, StorageBroken) as exc:
            self._run.stop("the ledger is broken", exc)
            return 0
        finally:
            table.close()

    async def until_ready(self, workers: Sequence[WorkerHandle]) -> None:
        """Return when all these workers have loaded the tasks, or when the end has begun."""
        loop = asyncio.get_running_loop()
        stopping = loop.create_task(self._run.stopping.wait())
        ready = [loop.create_task(worker.ready.wait()) for worker in workers]
        left: set[asyncio.Task[bool]] = {*ready}
        while left and not self._run.is_stopping:
            await asyncio.wait({*left, stopping}, return_when=asyncio.FIRST_COMPLETED)
            left = {task for task in left if not task.done()}
        for task in (stopping, *ready):
            task.cancel()

    def begin(self) -> None:
        """Have all workers work that have loaded the tasks; the others begin when they have."""
        self._run.has_begun = True
        for worker in self.workers:
            if worker.ready.is_set():
                worker.send(Go())

    def stop(self, message: Stop) -> None:
        """Have all workers drain."""
        for worker in self.workers:
            worker.stop(message)

    def kill(self) -> list[WorkerHandle]:
        """Kill the workers that have not ended, and return them."""
        killed = [worker for worker in self.workers if worker.is_alive]
        for worker in killed:
            worker.kill()
        return killed

    async def until_ended(self, tending: Sequence["asyncio.Task[None]"], within_s: float) -> None:
        """Wait for the workers; those that don't end in time are killed. tending: the tasks that run `tend`."""
        _, pending = await asyncio.wait(tending, timeout=within_s + KILL_AFTER_S)
        if pending:
            self.kill()
            await asyncio.wait(pending, timeout=KILL_AFTER_S)

    @property
    def tables(self) -> list[tuple[int, LeaseTable]]:
        """The lease tables of the workers that have one, with their numbers."""
        return [(worker.number, worker.table) for worker in self.workers if worker.table is not None]

    @property
    def running(self) -> int:
        """Messages whose tasks run, in all workers."""
        return sum(one.standing is SlotState.RUNNING for _, table in self.tables for one in table.holdings())


def _blamed(worker: WorkerHandle, table: LeaseTable, end: WorkerExit) -> set[int] | None:
    """The slots whose messages count a death; None when the worker did not die."""
    if worker.blamed is not None or end.kind is not ExitKind.DIED:
        return worker.blamed
    # killed from outside, it may have been by what runs alone beside it; what only waits for that loses nothing
    is_killed = worker.process is not None and worker.process.returncode == -signal.SIGKILL
    at_work = (SlotState.RUNNING, SlotState.ISOLATED) if is_killed else (SlotState.RUNNING,)
    return {one.slot for one in table.holdings() if one.standing in at_work}


def _pid(worker: WorkerHandle) -> int:
    """Of its last process; 0 when there was none."""
    return worker.process.pid if worker.process is not None else 0


def _settled(table: LeaseTable | None) -> int:
    return 0 if table is None else sum(map(table.count, (Counter.DONE, Counter.REJECTED, Counter.BURIED)))


def _may_pass(process: ChildProcess | None) -> bool:
    """Whether another start may go better than one that died while it loaded the tasks: the system had no process, or
    it was killed, which may have been done from outside.
    """
    return process is None or (process.returncode is not None and process.returncode < 0)


def _unloadable(end: WorkerExit) -> str:
    return (
        f"the worker that was to check the tasks died while it loaded them ({'; '.join(end.details)}). "
        "Look whether the system kills it (memory), or import the files of the folder tasks one by one to find the "
        "one that does it."
    )
