"""One worker as the supervisor sees it: starts its process, listens to it until it has ended, kills it if it has to."""

import asyncio
import signal
from collections.abc import Callable

from mulligan import __version__
from mulligan.core.error import InstallationChangedError
from mulligan.core.event import Event, ProcessesLeft, WorkerBlocked
from mulligan.worker.background import Background
from mulligan.worker.failpoint import ARMED, Point
from mulligan.worker.host import Host
from mulligan.worker.ipc import build
from mulligan.worker.ipc.channel import (
    Channel,
    ClaimsLost,
    Drained,
    Fatal,
    FromWorker,
    Go,
    Isolate,
    Isolated,
    LeasesLost,
    LeftAlone,
    MayIsolate,
    OtherVersion,
    Problems,
    Ready,
    Recycle,
    Requests,
    Setup,
    Stop,
)
from mulligan.worker.ipc.child import HOOKS_S, ChildProcess, ends_with
from mulligan.worker.ipc.exits import describe_exit
from mulligan.worker.ipc.lease_table import LeaseTable, SlotState
from mulligan.worker.pipeline.runner import STUCK_AFTER_S
from mulligan.worker.process import stack
from mulligan.worker.supervisor.lease_keeper import is_overdue
from mulligan.worker.supervisor.run_state import RunState
from mulligan.worker.supervisor.worker_exit import ExitKind, WorkerExit

__all__ = ["KILL_AFTER_S", "ToSupervisor", "WorkerHandle"]

KILL_AFTER_S = 5.0
"""Seconds that a process has to end after it should have."""
_BLOCKED_AFTER_S = STUCK_AFTER_S + 2.0  # a worker whose loop turns gives up before
_SILENT_S = 60.0
"""Seconds after which a worker whose loop doesn't turn, though no task runs in it, is killed."""
_SILENT_STOPPING_S = 5.0
"""The same once the end has begun."""
_STACKS_S = 0.3
"""Seconds that a blocked worker has to write its stacks before it is killed."""
_LAST_S = HOOKS_S + 3.0
"""Seconds that a worker has to end after its last message."""
_LEFTOVERS_S = 0.5
"""Seconds that what tasks started has to end by SIGTERM, when its worker ends in order."""

ToSupervisor = LeftAlone | Isolate | Isolated
"""Messages that are not about the worker itself."""


class WorkerHandle:
    """The place of one worker: its setup, its lease table, and the process that has the place now, if any.

    setup: what each of its processes gets.
    heard: called with the worker's number and with what is for others to do.
    """

    def __init__(
        self,
        setup: Setup,
        host: Host,
        run: RunState,
        emit: Callable[[Event], None],
        background: Background,
        heard: Callable[[int, ToSupervisor], None],
    ) -> None:
        self.number = setup.worker
        self.table: LeaseTable | None = None
        self.process: ChildProcess | None = None
        self.ready = asyncio.Event()
        """Whether its present process has loaded the tasks."""
        self.requests: dict[str, int] = {}
        """To the broker, by action, in the life of its present process."""
        self.blamed: set[int] | None = None
        """Slots whose tasks blocked the worker until it was killed; None while nobody has killed it for that."""
        self.is_dismissed = False
        """It was killed on purpose: while it loaded its tasks and the end had begun, or at a second signal."""
        self._setup = setup
        self._host = host
        self._run = run
        self._emit = emit
        self._background = background
        self._to_supervisor = heard
        self._channel: Channel[FromWorker] | None = None
        self._is_first = True
        self._drain_reason = ""

    @property
    def is_alive(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.returncode is None

    def send(self, message: Go | Stop | LeasesLost | ClaimsLost | MayIsolate) -> None:
        """Hand a message to its process, if there is one."""
        if self._channel is not None:
            self._channel.send(message)

    def stop(self, message: Stop) -> None:
        """Have its process drain. One that still loads its tasks has no message, and may take minutes: it is killed."""
        if self._channel is not None and self.ready.is_set():
            self._channel.send(message)
        elif self.is_alive and self.process is not None:
            self.is_dismissed = True
            self.process.kill()

    def kill(self) -> None:
        """Kill its process, if it lives; no task is blamed for that."""
        if self.is_alive and self.process is not None:
            self.blamed = self.blamed or set()  # it is our doing, and no task's
            self.process.kill()

    # -- the life of one process

    async def run_once(self) -> WorkerExit:
        """Start a process, and wait until it and all that its tasks started have ended. Its table stays."""
        try:
            channel, process = await self._start()
        except OSError as exc:  # it passes, as a rule, and until then there is a worker too few
            reason = f"a worker can't be started: {exc.strerror or exc}. Look at the system's limits and memory."
            return WorkerExit(ExitKind.DIED, (reason,))
        watcher = self._background.spawn(ends_with(process, channel))
        try:
            end = self._judged(await self._listen(channel, process))
        finally:
            watcher.cancel()
            self.ready.clear()
            self._channel = None
            channel.close()
        await self._end_leftovers(end, process)
        return end

    async def _start(self) -> tuple[Channel[FromWorker], ChildProcess]:
        """Raises OSError when the system has no process, descriptor or memory left, or the folder is gone."""
        self.process = None
        self.table = self._host.new_table(self._setup.table_slots)
        started = await self._host.start_worker(self._setup, self.table, is_first=self._is_first)
        self.process = started.process
        self._is_first = False
        if ARMED is not None:
            ARMED.reach(Point.SPAWNING)
        channel = self._channel = await started.connect()
        return channel, started.process

    async def _listen(self, channel: Channel[FromWorker], process: ChildProcess) -> WorkerExit:
        """Until the process has ended: it, and not only its end of the channel, which a child of it may have, too."""
        self._drain_reason = "it received a stop signal of its own"
        end: WorkerExit | None = None
        while (message := await channel.receive()) is not None:
            last = self._heard(channel, message)
            if last is not None and end is None:  # it is about to end, if no hook of `atexit` holds it
                asyncio.get_running_loop().call_later(_LAST_S, process.kill)
            end = last or end
        how = await _ended(process)
        return end or WorkerExit(ExitKind.DIED, (how,))

    def _heard(self, channel: Channel[FromWorker], message: FromWorker) -> WorkerExit | None:
        """Do as a worker's message says; how its life ends, where that is its last one."""
        match message:
            case Ready():
                self.ready.set()
                if self._run.is_stopping:
                    channel.send(Stop(0.0))
                elif self._run.has_begun:
                    channel.send(Go())
            case Recycle(reason):
                self._drain_reason = reason
            case Requests(counts):
                self.requests = counts
            case LeftAlone() | Isolate() | Isolated():
                self._to_supervisor(self.number, message)
            case OtherVersion(other):
                return self._changed(f"a new process found {other}")
            case Problems(problems):
                return WorkerExit(ExitKind.PROBLEMS, tuple(problems))
            case Fatal(error):
                return WorkerExit(ExitKind.FATAL, (error,))
            case Drained():
                return WorkerExit(ExitKind.DRAINED, (self._drain_reason,))
        return None

    def _judged(self, end: WorkerExit) -> WorkerExit:
        """A worker that did not even begin may be of another build that can't say so."""
        has_begun = self.ready.is_set() or end.kind not in (ExitKind.PROBLEMS, ExitKind.DIED)
        return end if has_begun or not self._host.is_changed() else self._changed("its files are others now")

    def _changed(self, found: str) -> WorkerExit:
        """Begin the end: what this process has imported and what its workers would import are two programs."""
        error = InstallationChangedError(
            f"the installation was changed while the system ran ({found}; the system runs mulligan {__version__},"
            f" build {build.OURS}). All workers are ending in order. Restart it."
        )
        self._run.stop("the installation was changed: restart", error)
        return WorkerExit(ExitKind.OTHER_VERSION, (str(error),))

    async def _end_leftovers(self, end: WorkerExit, process: ChildProcess) -> None:
        """End what the worker's tasks started, so that nothing of an attempt runs beside the next one."""
        patience_s = _LEFTOVERS_S if end.kind is ExitKind.DRAINED else 0.0
        left = await process.end_leftovers(patience_s=patience_s)
        if left.ended or left.stayed:
            self._emit(ProcessesLeft(process.pid, left.ended, left.stayed))

    # -- a process that is blocked

    async def look_after(self) -> None:
        """Kill a worker that a task holds: beyond its timeout, or where no task should run, so that nothing else in it
        can act.
        """
        table, process = self.table, self.process
        now = self._host.clock.monotonic()
        if table is None or process is None or self.blamed is not None or table.ticked_at == 0.0:
            return
        silent_s = now - table.ticked_at
        if silent_s < min(_BLOCKED_AFTER_S, _SILENT_STOPPING_S):
            return
        holdings = list(table.holdings())
        overdue = {one.slot: now - one.deadline for one in holdings if is_overdue(one, now, _BLOCKED_AFTER_S)}
        may_be_silent_s = _SILENT_STOPPING_S if self._run.is_stopping else _SILENT_S
        if overdue and silent_s >= _BLOCKED_AFTER_S:
            await self._kill_blocked(table, process, set(overdue), max(overdue.values()))
        elif not any(one.standing is SlotState.RUNNING for one in holdings) and silent_s >= may_be_silent_s:
            # by what a task left in the loop, or by `accepts`: one of what waits here may have done it
            waiting = {one.slot for one in holdings if one.standing is SlotState.HELD and not self._run.is_stopping}
            await self._kill_blocked(table, process, waiting, None)

    async def _kill_blocked(
        self, table: LeaseTable, process: ChildProcess, blamed: set[int], overdue_s: float | None
    ) -> None:
        self.blamed = blamed
        silent_s = self._host.clock.monotonic() - table.ticked_at
        self._emit(WorkerBlocked(self.number, process.pid, overdue_s, silent_s))
        process.send_signal(signal.SIGUSR1)
        await asyncio.sleep(_STACKS_S)
        if self.table is table:  # else it has ended meanwhile, and its table is closed
            stack.report(table.stacks())
        process.kill()


async def _ended(process: ChildProcess) -> str:
    """Wait for the end of a process whose end of the channel is closed; how it ended."""
    try:
        async with asyncio.timeout(KILL_AFTER_S):
            return describe_exit(await process.wait())
    except TimeoutError:
        process.kill()
        await process.wait()
        return "it closed the channel to its supervisor, lived on, and was killed"
