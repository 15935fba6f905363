"""The process that `python main.py` is: starts workers, extends their leases, restarts them, and stops them."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from enum import Enum
from pathlib import Path
from typing import TypeVar

from mulligan import __version__
from mulligan.brokers.base import Broker, Declared, Owners
from mulligan.core.error import (
    BrokerError,
    BrokerUnavailable,
    ConfigurationError,
    InstallationChangedError,
    LedgerError,
    LedgerUnavailable,
    MulliganError,
    StorageBroken,
)
from mulligan.core.event import (
    BrokerWarning,
    ClockDiffers,
    Event,
    ProcessesLeft,
    QueuesDeclared,
    Started,
    Stopped,
    Stopping,
    StoppingAtOnce,
    WorkerBlocked,
    WorkerDied,
    WorkerRecycled,
)
from mulligan.core.secret import redacted_url
from mulligan.core.value import value
from mulligan.ledger.base import Ledger
from mulligan.settings.model import Settings
from mulligan.telemetry.hub import Hub
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
from mulligan.worker.ipc.lease_table import Counter, LeaseTable, SlotState
from mulligan.worker.isolation.gate import HostGate
from mulligan.worker.opening import insist, unless
from mulligan.worker.outage import of_start
from mulligan.worker.pipeline.poller import poll_s
from mulligan.worker.pipeline.runner import STUCK_AFTER_S
from mulligan.worker.process import stack
from mulligan.worker.supervisor import run_stats
from mulligan.worker.supervisor.allocation import WorkerShare, allocate, isolated_for
from mulligan.worker.supervisor.lease_keeper import LeaseKeeper, Lost, is_overdue
from mulligan.worker.supervisor.reaper import Reaper
from mulligan.worker.supervisor.remainder import Remainder
from mulligan.worker.supervisor.restart import delay_s, failed_starts
from mulligan.worker.supervisor.run_stats import RunStats, StatsCollector

__all__ = ["Supervisor"]

T = TypeVar("T")

_BLOCKED_AFTER_S = STUCK_AFTER_S + 2.0  # a worker whose loop turns gives up by itself before
_SILENT_S = 60.0
"""Seconds after which a worker whose loop doesn't turn, though no task runs in it, is killed."""
_SILENT_STOPPING_S = 5.0
"""The same once the end has begun."""
_KILL_AFTER_S = 5.0
_FORGET_EVERY_S = 3600.0
_TALLY_EVERY_S = 10.0
_DRAIN_EVERY_S = 0.2
_DRAIN_READINGS = 2
_DRAIN_ESTIMATE_EVERY_S = 1.0
_DRAIN_ESTIMATE_READINGS = 5
_STARTS = 4
"""A worker that is killed while it loads its tasks is tried so often again, with pauses, before a start is given up."""
_LAST_S = HOOKS_S + 3.0
"""Seconds that a worker has to end once it has said its last word."""
_LEFTOVERS_S = 0.5
"""Seconds that what tasks started has to end by itself, when its worker ends in order."""


class ExitKind(Enum):
    """How the life of a worker ended."""

    DRAINED = "drained"
    DIED = "died"
    PROBLEMS = "problems"
    OTHER_VERSION = "other version"
    FATAL = "fatal"


@value
class WorkerExit:
    """The end of one worker's life. told: how, why, or what the problems are."""

    fate: ExitKind
    told: tuple[str, ...]


class WorkerHandle:
    """The place of one worker: its number, its consumers, and the process that has it now."""

    def __init__(self, number: int, hand: WorkerShare) -> None:
        self.number = number
        self.hand = hand
        self.table: LeaseTable | None = None
        self.process: ChildProcess | None = None
        self.channel: Channel[FromWorker] | None = None
        self.ready = asyncio.Event()
        self.why = ""
        """Why the worker drains."""
        self.lives = 0
        self.requests: dict[str, int] = {}
        """To the broker, by action, in this life of the worker."""
        self.guilty: set[int] | None = None
        """Slots whose tasks blocked the worker until it was killed; None while nobody has killed it for that."""
        self.is_dismissed = False
        """We ended it: while it loaded its tasks and the end had begun, or at a second signal. No death to tell of."""


class Supervisor:
    """All workers of one application.

    broker, ledger: not opened yet; used for declaring, leases and depth. folder: the application's, absolute.
    """

    def __init__(self, settings: Settings, broker: Broker, ledger: Ledger, hub: Hub, host: Host, folder: Path) -> None:
        self._settings = settings
        self._host = host
        self._folder = folder
        self._broker = broker
        self._ledger = ledger
        self._hub = hub
        self._clock = clock = host.clock
        self._emit: Callable[[Event], None] = hub.emit
        self._keeper = LeaseKeeper(broker, ledger, settings.queues, clock, hub.emit, settings.lease_s)
        hands = allocate(settings.no_of_requests_consumers, settings.no_of_rejects_consumers, settings.pool_size)
        self._seats = [WorkerHandle(number, hand) for number, hand in enumerate(hands)]
        self._background = Background(self._part_failed)
        self._reaper = Reaper()
        self._turnstile = HostGate(self._let_isolate)
        self._stopping = asyncio.Event()
        self._reason = ""
        self._signals = 0
        self._error: BaseException | None = None
        self._can_go = False
        self._tally = StatsCollector(clock.now())
        self._remainder: Remainder | None = None
        """Kept by a run to the end only."""

    async def run(self, *, drains: bool, for_s: float | None) -> None:
        """Work until told to stop, until the queues are empty (drains), or for a time.

        Raises ConfigurationError when the queues or tasks can't be used, BrokerUnavailable or LedgerUnavailable when
        the start has waited for them long enough, StorageBroken, LeftUndoneError when the queues hold nothing any more
        but what this version can't read.
        """
        self._remainder = Remainder() if drains else None
        self._listen_to_signals()
        await self._open_ledger()
        if self._stopping.is_set():
            if self._error is not None:
                raise self._error
            self._emit(Stopping(self._reason, self._settings.grace_s, 0, 0.0))
            self._emit(Stopped(0, 0, 0))
            return
        keeping = [
            self._background.spawn(one) for one in (self._look_around(), self._extend_leases(), self._extend_claims())
        ]
        tending = [self._background.spawn(self._tend(seat)) for seat in self._seats[:1]]
        # the first worker checks the tasks for all, before anything is made at the broker
        await self._until_ready(self._seats[:1])
        if not self._stopping.is_set():
            await self._declare()
        if not self._stopping.is_set():
            await self._compare_clocks()
        tending += [self._background.spawn(self._tend(seat)) for seat in self._seats[1:]]
        await self._until_ready(self._seats if not self._stopping.is_set() else [])
        watching = [self._background.spawn(self._forget()), self._background.spawn(self._count())]
        if not self._stopping.is_set():
            self._begin()
            watching += [self._background.spawn(self._watch_empty())] if drains else []
            watching += [self._background.spawn(self._watch_time(for_s))] if for_s is not None else []
        await self._stopping.wait()
        if self._can_go or self._error is None:
            self._emit(Stopping(self._reason, self._settings.grace_s, self._running, self._poll_s))
        self._tell_to_stop()
        if ARMED is not None:
            ARMED.reach(Point.DRAINING)
        await self._until_ended(tending)
        for task in (*watching, *keeping):
            task.cancel()
        await asyncio.gather(*watching, *keeping, return_exceptions=True)
        if self._can_go or self._error is None:
            messages = self._keep_tally().messages
            self._emit(Stopped(messages[Counter.DONE], messages[Counter.REJECTED], messages[Counter.BURIED]))
        if self._error is not None:
            raise self._error

    def _part_failed(self, error: BaseException) -> None:
        """End the run: leases would run out, unseen."""
        self.stop(f"a part of the supervisor has failed ({type(error).__name__})", error)

    def stop(self, reason: str, error: BaseException | None = None) -> None:
        """Begin the end. The first reason counts."""
        self._error = self._error or error
        if not self._stopping.is_set():
            self._reason = reason
            self._stopping.set()

    # -- start

    async def _open_ledger(self) -> None:
        await self._insist(self._ledger.open, LedgerUnavailable, "ledger")

    async def _insist(self, call: Callable[[], Awaitable[T]], passing: type[MulliganError], what: str) -> T | None:
        """What `call` gives, waited for as long as a start may wait. None when the end has begun, by its error too."""
        stopping = asyncio.get_running_loop().create_task(self._stopping.wait())
        wait_s = self._settings.start_wait_s
        outage = of_start(self._clock, self._emit, what, wait_s)
        try:
            return await unless(stopping, insist(call, passing, outage, self._clock, within_s=wait_s))
        except MulliganError as exc:
            self.stop(f"the {what} can't be used", exc)
            return None
        finally:
            stopping.cancel()

    async def _declare(self) -> None:
        queues = self._settings.queues
        found = await self._insist(self._looked_at, BrokerUnavailable, "broker")
        if found is None:
            return
        declared, owned = found
        if problems := declared.problems or owned.problems:
            self.stop("the queues can't be used", ConfigurationError(problems))
        else:
            self._emit(QueuesDeclared(queues.all, declared.created))
            for note in (*declared.notes, *owned.notes):
                self._emit(BrokerWarning("queues", note))

    async def _looked_at(self) -> tuple[Declared, Owners]:
        """Make the queues, and see whose they are."""
        queues = self._settings.queues
        declared = await self._broker.declare(queues, create=self._settings.create_queues)
        if declared.problems:
            return declared, Owners()
        return declared, (await self._broker.owners(queues)).judged(is_meant=self._settings.adopt_rejects)

    async def _compare_clocks(self) -> None:
        """Tell of a clock that differs much from those that this host works with."""
        stopping = asyncio.get_running_loop().create_task(self._stopping.wait())
        try:
            of_ledger = await unless(stopping, self._ledger.lead())
        except LedgerError:  # what is wrong with it is told by who needs it
            of_ledger = None
        finally:
            stopping.cancel()
        settings = self._settings
        for url, lead in ((settings.broker_url, self._broker.lead), (settings.ledger_url, of_ledger)):
            if lead is not None and lead.matters:
                self._emit(ClockDiffers(redacted_url(url), lead.ahead_s))

    def _begin(self) -> None:
        self._can_go = True
        for seat in self._seats:
            if seat.channel is not None and seat.ready.is_set():
                seat.channel.send(Go())
        settings = self._settings
        self._emit(
            Started(
                redacted_url(settings.broker_url), len(self._seats), settings.no_of_requests_consumers,
                settings.no_of_rejects_consumers, settings.concurrency,
            )
        )  # fmt: skip

    async def _until_ready(self, seats: list[WorkerHandle]) -> None:
        """Return when all these workers are ready, or when the end has begun."""
        stopping = asyncio.get_running_loop().create_task(self._stopping.wait())
        ready = [asyncio.get_running_loop().create_task(seat.ready.wait()) for seat in seats]
        left: set[asyncio.Task[bool]] = {*ready}
        while left and not self._stopping.is_set():
            await asyncio.wait({*left, stopping}, return_when=asyncio.FIRST_COMPLETED)
            left = {task for task in left if not task.done()}
        for task in (stopping, *ready):
            task.cancel()

    def _keep_tally(self) -> RunStats:
        living = [(seat.table, seat.requests) for seat in self._seats if seat.table is not None]
        totals = self._tally.totals(self._clock.now(), living, self._broker.billed)
        with contextlib.suppress(OSError):  # a disk that can't take them must not disturb the run
            self._host.replace_file(self._folder / self._settings.run_file, run_stats.encode(totals))
        return totals

    # -- one worker

    async def _tend(self, seat: WorkerHandle) -> None:
        """Run this worker until the end: a new process each time one ends."""
        deaths = starts = 0
        while not self._stopping.is_set():
            began_at = self._clock.monotonic()
            end = await self._live(seat)
            pid = seat.process.pid if seat.process is not None else 0
            deaths = failed_starts(deaths, lived_s=self._clock.monotonic() - began_at, settled=_settled(seat.table))
            held = await self._sweep(seat, end)
            wait_s: float | None = delay_s(deaths)
            if self._stopping.is_set():
                wait_s = None
            match end.fate:
                case ExitKind.DRAINED:
                    wait_s = 0.0
                    if not self._stopping.is_set():
                        self._emit(WorkerRecycled(seat.number, pid, *end.told))
                case ExitKind.FATAL:
                    self.stop("the storage is broken", StorageBroken(*end.told))
                case ExitKind.PROBLEMS if not self._can_go and not self._stopping.is_set():
                    self.stop("the tasks can't be used", ConfigurationError(end.told))
                case ExitKind.DIED if not self._can_go and not self._stopping.is_set() and not _may_pass(seat.process):
                    self.stop("the tasks can't be used", ConfigurationError((_unloadable(end),)))
                case ExitKind.DIED if not self._can_go and not self._stopping.is_set() and starts == _STARTS:
                    self.stop("no worker could be started", MulliganError(_unloadable(end)))
                case ExitKind.PROBLEMS | ExitKind.DIED if not seat.is_dismissed:
                    starts += 1
                    self._emit(WorkerDied(seat.number, pid, "; ".join(end.told), held, wait_s))
            if wait_s:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._stopping.wait()

    async def _live(self, seat: WorkerHandle) -> WorkerExit:
        try:
            channel, process = await self._spawn(seat)
        except OSError as exc:  # it passes, as a rule, and until then there is a worker too few
            reason = f"a worker can't be started: {exc.strerror or exc}. Look at the system's limits and memory."
            return WorkerExit(ExitKind.DIED, (reason,))
        watcher = self._background.spawn(ends_with(process, channel))
        try:
            end = self._judged(seat, await self._listen(seat, channel, process))
        finally:
            watcher.cancel()
            seat.ready.clear()
            seat.channel = None
            channel.close()
        await self._end_leftovers(end, process)
        return end

    async def _spawn(self, seat: WorkerHandle) -> tuple[Channel[FromWorker], ChildProcess]:
        """Raises OSError when the system has no process, descriptor or memory left, or the folder is gone."""
        capacity, hand = self._settings.concurrency, seat.hand
        slots = sum(self._host.slots_for(count * capacity) for count in (hand.requests, hand.rejects) if count)
        seat.process = None
        table = seat.table = self._host.new_table(slots)
        settings, isolated = self._settings.for_worker(self._folder), isolated_for(len(self._seats), self._host.cores())
        setup = Setup(seat.number, settings, hand.requests, hand.rejects, slots, str(self._folder), isolated)
        started = await self._host.start_worker(setup, table, is_first=seat.lives == 0)
        seat.process = started.process
        seat.lives += 1
        if ARMED is not None:
            ARMED.reach(Point.SPAWNING)
        channel = seat.channel = await started.connect()
        return channel, started.process

    async def _listen(self, seat: WorkerHandle, channel: Channel[FromWorker], process: ChildProcess) -> WorkerExit:
        """Until the process has ended: it, and not only its end of the channel, which a child of it may have, too."""
        seat.why = "it was told to stop by a signal of its own"
        end: WorkerExit | None = None
        while (message := await channel.receive()) is not None:
            said = self._heard(seat, channel, message)
            if said is not None and end is None:  # it is about to end, if no hook of `atexit` holds it
                asyncio.get_running_loop().call_later(_LAST_S, process.kill)
            end = said or end
        how = await self._how(process)
        return end or WorkerExit(ExitKind.DIED, (how,))

    def _heard(self, seat: WorkerHandle, channel: Channel[FromWorker], message: FromWorker) -> WorkerExit | None:
        """Do as a worker's message says; how its life ends, where that is its last one."""
        match message:
            case Ready():
                seat.ready.set()
                if self._stopping.is_set():
                    channel.send(Stop(0.0))
                elif self._can_go:
                    channel.send(Go())
            case Recycle(why):
                seat.why = why
            case Requests(counts):
                seat.requests = counts
            case LeftAlone():
                self._leave_alone(message)
            case Isolate() | Isolated():
                self._turnstile.heard(seat.number, message)
            case OtherVersion(other):
                return self._changed(f"a new process found {other}")
            case Problems(problems):
                return WorkerExit(ExitKind.PROBLEMS, tuple(problems))
            case Fatal(error):
                return WorkerExit(ExitKind.FATAL, (error,))
            case Drained():
                return WorkerExit(ExitKind.DRAINED, (seat.why,))
        return None

    async def _how(self, process: ChildProcess) -> str:
        """Wait for the end of a process whose end of the channel is closed; how it ended."""
        try:
            async with asyncio.timeout(_KILL_AFTER_S):
                return describe_exit(await process.wait())
        except TimeoutError:
            process.kill()
            await process.wait()
            return "it closed the channel to its supervisor, lived on, and was killed"

    def _let_isolate(self, seat: int, number: int) -> None:
        if (channel := self._seats[seat].channel) is not None:
            channel.send(MayIsolate(number))

    def _leave_alone(self, copy: LeftAlone) -> None:
        if self._remainder is not None:
            self._remainder.add(copy)

    def _judged(self, seat: WorkerHandle, end: WorkerExit) -> WorkerExit:
        """A worker that did not even begin may be of another build that can't say so."""
        has_begun = seat.ready.is_set() or end.fate not in (ExitKind.PROBLEMS, ExitKind.DIED)
        return end if has_begun or not self._host.is_changed() else self._changed("its files are others now")

    def _changed(self, found: str) -> WorkerExit:
        """Begin the end: what this process has imported and what its workers would import are two programs."""
        error = InstallationChangedError(
            f"the installation was changed while the system ran ({found}; the system runs mulligan {__version__},"
            f" build {build.OURS}). All workers have been told to end in order. Restart it."
        )
        self.stop("the installation was changed: restart", error)
        return WorkerExit(ExitKind.OTHER_VERSION, (str(error),))

    async def _end_leftovers(self, end: WorkerExit, process: ChildProcess) -> None:
        """WorkerExit what the worker's tasks started, so that nothing of an attempt runs beside the next one."""
        patience_s = _LEFTOVERS_S if end.fate is ExitKind.DRAINED else 0.0
        left = await process.end_leftovers(patience_s=patience_s)
        if left.ended or left.stayed:
            self._emit(ProcessesLeft(process.pid, left.ended, left.stayed))

    async def _sweep(self, seat: WorkerHandle, end: WorkerExit) -> int:
        """Give back what the worker held, and add up what it counted; how many messages it held."""
        self._turnstile.gone(seat.number)
        table = seat.table
        if table is None:
            return 0  # not even that could be had
        self._tally.add(table, seat.requests)
        seat.requests = {}
        guilty = seat.guilty
        if guilty is None and end.fate is ExitKind.DIED:
            # killed from outside, it may have been by what runs alone beside it; what only waits for that loses nothing
            is_killed = seat.process is not None and seat.process.returncode == -signal.SIGKILL
            blamed = (SlotState.RUNNING, SlotState.ISOLATED) if is_killed else (SlotState.RUNNING,)
            guilty = {one.slot for one in table.holdings() if one.standing in blamed}
        seat.guilty = None
        seat.table = None
        try:
            return await self._keeper.sweep(table, guilty=guilty)
        except (LedgerError, StorageBroken) as exc:
            self.stop("the ledger is broken", exc)
            return 0
        finally:
            table.close()

    # -- meanwhile

    async def _look_around(self) -> None:
        """Look after blocked workers and the dead, rotate the log."""
        interval_s = min(1.0, self._keeper.interval_s)
        while True:
            await asyncio.sleep(interval_s)
            if ARMED is not None:
                ARMED.reach(Point.SUPERVISING)
            self._hub.tend()
            self._reaper.reap([seat.process.pid for seat in self._seats if seat.process is not None])
            for seat in self._seats:
                await self._look_after(seat)

    async def _extend_leases(self) -> None:
        """By itself: while the ledger is away, which takes seconds to find out, leases are to be kept."""
        await self._keep(self._keeper.extend_leases, lambda slots, _: LeasesLost(slots))

    async def _extend_claims(self) -> None:
        await self._keep(self._keeper.extend_claims, ClaimsLost)

    async def _keep(
        self,
        extend: Callable[[list[tuple[int, LeaseTable]]], Awaitable[Lost]],
        message: Callable[[list[tuple[int, int]], float], LeasesLost | ClaimsLost],
    ) -> None:
        while True:
            await asyncio.sleep(self._keeper.interval_s)
            asked_at = self._clock.monotonic()
            try:
                lost = await extend([(seat.number, seat.table) for seat in self._seats if seat.table is not None])
            except StorageBroken as exc:
                self.stop("the storage is broken", exc)
                continue
            for seat in self._seats:
                if seat.number in lost and seat.channel is not None:
                    seat.channel.send(message(lost[seat.number], asked_at))

    async def _look_after(self, seat: WorkerHandle) -> None:
        """Kill a worker that a task holds: beyond its timeout, or where no task should run, so that nothing else in it
        can act.
        """
        table, process = seat.table, seat.process
        now = self._clock.monotonic()
        if table is None or process is None or seat.guilty is not None or table.ticked_at == 0.0:
            return
        silent_s = now - table.ticked_at
        if silent_s < min(_BLOCKED_AFTER_S, _SILENT_STOPPING_S):
            return
        holdings = list(table.holdings())
        overdue = {one.slot: now - one.deadline for one in holdings if is_overdue(one, now, _BLOCKED_AFTER_S)}
        if overdue and silent_s >= _BLOCKED_AFTER_S:
            await self._kill_blocked(seat, table, process, set(overdue), max(overdue.values()))
        elif not any(one.standing is SlotState.RUNNING for one in holdings) and silent_s >= self._silent_s:
            # by what a task left in the loop, or by `accepts`: one of what waits here may have done it
            waiting = {one.slot for one in holdings if one.standing is SlotState.HELD and not self._stopping.is_set()}
            await self._kill_blocked(seat, table, process, waiting, None)

    @property
    def _silent_s(self) -> float:
        return _SILENT_STOPPING_S if self._stopping.is_set() else _SILENT_S

    async def _kill_blocked(
        self, seat: WorkerHandle, table: LeaseTable, process: ChildProcess, guilty: set[int], overdue_s: float | None
    ) -> None:
        seat.guilty = guilty
        self._emit(WorkerBlocked(seat.number, process.pid, overdue_s, self._clock.monotonic() - table.ticked_at))
        process.send_signal(signal.SIGUSR1)
        await asyncio.sleep(0.3)
        if seat.table is table:  # else it has ended by itself, and its table is closed
            stack.tell(table.stacks())
        process.kill()

    async def _forget(self) -> None:
        """Remove what the ledger need not remember any more, at the start and then once an hour."""
        while True:
            with contextlib.suppress(LedgerUnavailable):  # the next time, then
                await self._ledger.forget(self._clock.now() - self._settings.ledger_keep_days * 86_400)
            await asyncio.sleep(_FORGET_EVERY_S)

    async def _count(self) -> None:
        """Write the run's stats, now and then."""
        while True:
            await asyncio.sleep(_TALLY_EVERY_S)
            self._keep_tally()

    async def _watch_empty(self) -> None:
        """Stop when requests and rejects hold nothing: read in this order, the one in which messages move.

        What this version can't read, and what waits for a task that is missing, is left there, and told of.
        """
        queues = self._settings.queues
        left = self._remainder = self._remainder or Remainder()
        readings, rest = 0, [0, 0]
        while True:
            is_exact = True
            try:
                depths = [await self._broker.depth(queue) for queue in (queues.requests, queues.rejects)]
                is_exact = all(depth.is_exact for depth in depths)
                is_empty = left.is_all(depths[0], depths[1], self._received, self._clock.monotonic())
                rest = [depth.total for depth in depths]
            except BrokerError:
                is_empty = False  # the pollers tell of it
            is_empty = is_empty and not any(seat.table.used for seat in self._seats if seat.table is not None)
            readings = readings + 1 if is_empty else 0
            if readings >= (_DRAIN_READINGS if is_exact else _DRAIN_ESTIMATE_READINGS):
                error = left.error((queues.requests, queues.rejects), rest)
                self.stop(
                    "the queues are empty" if error is None else "only what can't be finished here is left", error
                )
                return
            await asyncio.sleep(_DRAIN_EVERY_S if is_exact else _DRAIN_ESTIMATE_EVERY_S)

    @property
    def _received(self) -> int:
        """Messages that could be read, in the present lives of the workers."""
        return sum(seat.table.count(Counter.RECEIVED) for seat in self._seats if seat.table is not None)

    async def _watch_time(self, for_s: float) -> None:
        await asyncio.sleep(for_s)
        self.stop(f"{for_s:g} s are over")

    # -- end

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # it is under nohup
                loop.add_signal_handler(number, self._signalled, number)

    def _tell_to_stop(self) -> None:
        for seat in self._seats:
            if seat.channel is not None and seat.ready.is_set():
                seat.channel.send(Stop(self._settings.grace_s, forgives=self._reason == signal.SIGHUP.name))
            elif seat.process is not None and seat.process.returncode is None:
                # it loads its tasks, which may take minutes, and has no message
                seat.is_dismissed = True
                seat.process.kill()

    def _signalled(self, number: int) -> None:
        # a terminal that goes sends SIGHUP more than once, and before it goes somebody may have pressed Ctrl-C
        self._signals += number != signal.SIGHUP
        self.stop(signal.Signals(number).name)
        if self._signals > 1 and number != signal.SIGHUP:
            if self._signals == 2:
                self._emit(StoppingAtOnce(signal.Signals(number).name, self._running))
            for seat in self._kill():
                seat.is_dismissed = True

    def _kill(self) -> list[WorkerHandle]:
        """Kill the workers that have not ended, and return them."""
        killed = [seat for seat in self._seats if seat.process is not None and seat.process.returncode is None]
        for seat in killed:
            seat.guilty = seat.guilty or set()  # it is our doing, and no task's
            if seat.process is not None:
                seat.process.kill()
        return killed

    @property
    def _running(self) -> int:
        """Messages whose tasks run, in all workers."""
        tables = [seat.table for seat in self._seats if seat.table is not None]
        return sum(one.standing is SlotState.RUNNING for table in tables for one in table.holdings())

    @property
    def _poll_s(self) -> float:
        """Seconds that a receive under way may go on; 0 where it is cut."""
        features = self._broker.features
        return 0.0 if features.cancels_receive or not self._can_go else poll_s(features, self._settings.grace_s)

    async def _until_ended(self, tending: list["asyncio.Task[None]"]) -> None:
        """Wait for the workers; those that don't end in time are killed."""
        _, pending = await asyncio.wait(tending, timeout=self._settings.shutdown_s + _KILL_AFTER_S)
        if pending:
            self._kill()
            await asyncio.wait(pending, timeout=_KILL_AFTER_S)


def _settled(table: LeaseTable | None) -> int:
    return 0 if table is None else sum(map(table.count, (Counter.DONE, Counter.REJECTED, Counter.BURIED)))


def _may_pass(process: ChildProcess | None) -> bool:
    """Whether another start may go better than one that died while it loaded the tasks: there was no process to be
    had, or it was killed, which may have been done from outside.
    """
    return process is None or (process.returncode is not None and process.returncode < 0)


def _unloadable(end: WorkerExit) -> str:
    return (
        f"the worker that was to check the tasks died while it loaded them ({'; '.join(end.told)}). "
        "Look whether the system kills it (memory), or import the files of the folder tasks one by one to find the "
        "one that does it."
    )
