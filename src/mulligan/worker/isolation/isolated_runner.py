"""Runs the tasks of a suspect alone: in a process of one slot, one task after the other.

A suspect is a message whose tasks ran when its worker died. Its worker keeps the delivery and the claim, and has the
attempts run in a child process, so a death there is known at once, has one message and one task to blame, and costs
nobody else anything. It works on every broker, because no receipt leaves the worker. `isolated_process` is
the other side.

That a start is about to be made is on record before it is: if the whole host dies of it, whoever takes the claim over
counts a death.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from mulligan.core import retry_state
from mulligan.core.error import Meddled
from mulligan.core.event import Event, IsolationFailed, ProcessesLeft
from mulligan.core.flow import DEATHS_MAX, begun_alone
from mulligan.core.lifecycle import Phase, Report
from mulligan.core.message import AttributeValue, Typed
from mulligan.core.outcome import INTERRUPTED, Died, Failed, Interrupted, Outcome, Skipped, Succeeded, TimedOut
from mulligan.core.progress import at_rest
from mulligan.tasks.registry import LoadedTask
from mulligan.worker.background import Background
from mulligan.worker.claim_watch import ClaimWatch
from mulligan.worker.host import Host
from mulligan.worker.in_flight import InFlight, IsolatedStart, LoneResult
from mulligan.worker.ipc.channel import Channel, FromIsolated, Job, JobEnd, OtherVersion, Setup
from mulligan.worker.ipc.child import HOOKS_S, ChildProcess, ends_with
from mulligan.worker.ipc.exits import describe_exit
from mulligan.worker.isolation.gate import Gate
from mulligan.worker.opening import unless
from mulligan.worker.reports import Reports

__all__ = ["START_S", "IsolatedProcess", "IsolatedRunner", "isolated_processes"]

_IDLE_S = 20.0
START_S = 60.0
"""Seconds that the child has to load the tasks, at least."""
_AGAIN_S = 3.0
"""Seconds before another child is tried when one could not be started or could not load the tasks."""
_TRIES = 4
"""So often a child is tried before that is taken for a failed attempt: a suspect must not wait for ever."""
_GONE_S = 2.0
"""Seconds that a child has to end once its end of the channel is closed."""
_LINE = 2
_LINE_S = 1.0
"""So many messages for each child, or what will have its turn in so many seconds, wait here. The others had better be
given back, so that none waits for its turn here while another worker has nothing to do."""
_REST_MAX_S = 30.0
"""Seconds for which they are given back, at most: no longer than the line here will last."""
_TOOK_FIRST_S = 1.0
"""Seconds that an attempt is taken to last, before one has ended."""


Begins = Callable[[InFlight], Coroutine[Any, Any, bool]]


class IsolatedProcess:
    """One child process, started when it is needed and ended when it has been idle for a while.

    start_s: seconds that it has to load the tasks.
    changed: called when it is of another build; then this process is to end.
    current: whose attempt runs in it. wake: set when there may be another.
    """

    def __init__(
        self,
        host: Host,
        setup: Setup,
        emit: Callable[[Event], None],
        start_s: float = START_S,
        changed: Callable[[OtherVersion], None] = lambda _: None,
    ) -> None:
        self._host = host
        self._setup = setup
        self._emit = emit
        self._start_s = start_s
        self._changed = changed
        self._interrupted = asyncio.Event()
        self._child: ChildProcess | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._channel: Channel[FromIsolated] | None = None
        self._is_outdated = False
        self.current: InFlight | None = None
        self.wake = asyncio.Event()

    @property
    def is_loaded(self) -> bool:
        """Whether its child is there."""
        return self._channel is not None

    async def attempt(self, flight: InFlight, task: LoadedTask, begins: Begins, watch: ClaimWatch) -> Outcome:
        """Run one task. begins: has its start on record. watch: the last word before the start is its."""
        channel = await self._until_started(flight, task)
        if self._interrupted.is_set():
            return INTERRUPTED
        if isinstance(channel, Failed | Interrupted):
            return channel
        if not await self._unless_interrupted(begins(flight)):
            await self.end()  # it may have been killed for a flight that is lost
            return INTERRUPTED
        if not watch.holds(flight):  # this process stood still since: somebody else may run it
            return INTERRUPTED
        channel.send(_job(flight, task))
        try:
            async with asyncio.timeout(task.policy.timeout_s):
                end = await channel.receive()
        except TimeoutError:
            self.kill()
            await self._how()
            return INTERRUPTED if self._interrupted.is_set() else TimedOut(task.policy.timeout_s)
        if isinstance(end, JobEnd):
            if end.leaves:
                await self.end()
            return _outcome(end)
        how = await self._how()
        return INTERRUPTED if self._interrupted.is_set() else Died(how)

    async def _unless_interrupted(self, work: Coroutine[Any, Any, bool]) -> bool:
        over = asyncio.get_running_loop().create_task(self._interrupted.wait())
        try:
            return bool(await unless(over, work))
        finally:
            over.cancel()

    async def _until_started(self, flight: InFlight, task: LoadedTask) -> Channel[FromIsolated] | Failed | Interrupted:
        """The channel to a child that has loaded the tasks. Failed when there is none to be had, after a few tries:
        whatever the reason is, it may stay.
        """
        for left in reversed(range(_TRIES)):
            channel = await self._started()
            if not isinstance(channel, str):
                return channel
            if self._interrupted.is_set() or self._is_outdated:
                break
            self._emit(IsolationFailed(flight.message.uid, task.name, channel, left))
            if not left:
                return Failed(f"it was in flight when a worker died, and can't be run alone: {channel}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN_S):
                    await self._interrupted.wait()
        return INTERRUPTED

    async def _started(self) -> Channel[FromIsolated] | str:
        """The channel to a child that has loaded the tasks, or why there is none."""
        if self._channel is not None:
            return self._channel
        problem = ""
        try:
            async with asyncio.timeout(self._start_s):
                channel = await self._open()
                first = await channel.receive()
            match first:
                case JobEnd("ready"):
                    return channel
                case JobEnd(_, problem):
                    pass
                case OtherVersion():
                    self._is_outdated = True
                    self._changed(first)
        except TimeoutError:
            problem = f"its process had not loaded the tasks after {self._start_s:g} s"
        except OSError as exc:
            problem = f"no process can be started: {exc}"
        self.kill()
        how = await self._how()
        return problem or f"its process ended while it loaded the tasks: {how}"

    async def _open(self) -> Channel[FromIsolated]:
        started = await self._host.start_isolated(self._setup)
        self._child = started.process
        self._channel = await started.connect()
        # the channel is to end when the process does: a child of the task's may have the other end
        self._watcher = asyncio.get_running_loop().create_task(ends_with(self._child, self._channel))
        return self._channel

    async def _how(self) -> str:
        """Wait for the child's end, and end what it left behind; how it ended."""
        child, self._child = self._child, None
        self._close()
        if child is None:
            return "it was ended"
        try:
            async with asyncio.timeout(_GONE_S):
                code = await child.wait()
        except TimeoutError:  # it lives, and has closed what it talks over
            child.kill()
            code = await child.wait()
        left = await child.end_leftovers()
        if left.ended or left.stayed:
            self._emit(ProcessesLeft(child.pid, left.ended, left.stayed))
        return describe_exit(code)

    async def end(self) -> None:
        """End the child."""
        self._close()
        child = self._child
        if child is not None:
            try:
                async with asyncio.timeout(HOOKS_S + 1.0):
                    await child.wait()
            except TimeoutError:
                child.kill()
            await self._how()

    def _close(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def interrupt(self) -> None:
        """End what runs in it as Interrupted, and begin nothing else: this process is shut down."""
        self._interrupted.set()
        self.kill()
        self.wake.set()

    def kill(self) -> None:
        """End the child, and the attempt that runs in it."""
        if self._child is not None and self._child.returncode is None:
            self._child.kill()


class IsolatedRunner:
    """The suspects of one queue in one worker, in the order of their turn, and the child processes that run them.

    processes: those that run them, one message at a time each.
    watch: asked whether a flight's claim is ours still; the turn of a suspect may come late.
    gate: asked before each start of a task. failed: called when this can't go on.
    Reports `STARTING` before each start of a task, and `ENDED_ALONE` after its end.
    """

    def __init__(
        self,
        processes: Sequence[IsolatedProcess],
        reports: Reports,
        gate: Gate,
        watch: ClaimWatch,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._reports = reports
        self._gate = gate
        self._watch = watch
        self._waiting: deque[tuple[InFlight, Sequence[LoadedTask]]] = deque()
        self._is_interrupted = False
        self._processes = processes
        self._served: set[IsolatedProcess] = set()
        self._servers = Background(failed, lambda: Meddled("what runs suspects"))
        self._took_s = _TOOK_FIRST_S

    def put(self, flight: InFlight, tasks: Sequence[LoadedTask]) -> None:
        """Run these tasks on the flight's message when its turn comes."""
        if flight.alone is None:
            flight.alone = IsolatedStart()
        self._waiting.append((flight, tasks))
        # whoever has run one goes on with the next: another is woken only when none of them is free
        idle = [process for process in self._processes if process.current is None and not process.wake.is_set()]
        if idle:
            process = next((process for process in idle if process.is_loaded), idle[0])
            process.wake.set()
            if process not in self._served:
                self._served.add(process)
                self._servers.spawn(self._serve(process))

    @property
    def waiting(self) -> int:
        """Messages whose turn has not come."""
        return len(self._waiting)

    def rest_s(self) -> float:
        """Seconds for which one more had better be given back, so that another worker may have it; 0.0 when it is soon
        its turn here.
        """
        line = self.waiting - sum(process.current is None for process in self._processes)
        wait_s = line * self._took_s / len(self._processes)
        return 0.0 if line < _LINE * len(self._processes) or wait_s < _LINE_S else min(wait_s, _REST_MAX_S)

    def interrupt(self) -> None:
        """End what runs and what waits, as Interrupted: the process is shut down."""
        self._is_interrupted = True
        for process in self._processes:
            process.interrupt()

    def drop(self, flight: InFlight) -> None:
        """End the attempt of a flight whose lease or claim is lost: its new holder has begun another."""
        for process in self._processes:
            if flight is process.current:
                process.kill()

    async def close(self) -> None:
        """End the children, and wait for what was under way to be told."""
        self.interrupt()
        await self._servers.wait()

    async def _serve(self, process: IsolatedProcess) -> None:
        try:
            while True:
                while self._waiting:
                    process.current, tasks = self._waiting.popleft()
                    process.wake.clear()
                    await self._run(process, process.current, tasks)
                    process.current = None
                if self._is_interrupted:
                    return
                process.wake.clear()
                try:
                    async with asyncio.timeout(_IDLE_S):
                        await process.wake.wait()
                except TimeoutError:
                    await process.end()
                    await process.wake.wait()
        finally:
            await process.end()

    async def _run(self, process: IsolatedProcess, flight: InFlight, tasks: Sequence[LoadedTask]) -> None:
        """One task after the other; a death ends the round, the flow says what comes next."""
        loop = asyncio.get_running_loop()
        for index, task in enumerate(tasks):
            started_at = loop.time()
            is_over = self._is_interrupted or flight.phase is Phase.LOST or not self._watch.holds(flight)
            outcome = INTERRUPTED if is_over else await process.attempt(flight, task, self._begins, self._watch)
            self._took_s += (loop.time() - started_at - self._took_s) / 4
            is_last = index == len(tasks) - 1 or isinstance(outcome, Died) or outcome == INTERRUPTED
            assert flight.alone is not None
            flight.alone.result = LoneResult(task, outcome, started_at, is_last)
            self._reports.put(Report.ENDED_ALONE, (flight,))
            if is_last:
                return

    async def _begins(self, flight: InFlight) -> bool:
        """Have it on record that a task of a suspect is about to start; False when its claim is lost meanwhile.

        Whoever may have to tell which task it was finds the ends of those before it on record, too. The last start that
        it has is made while no other suspect's task runs on this host.
        """
        alone = flight.alone
        assert alone is not None
        is_last = at_rest(flight.progress).deaths == DEATHS_MAX - 1
        alone.gate = await self._gate.enter(is_last=is_last)
        if flight.phase is Phase.LOST or not self._watch.holds(flight):
            return False
        flight.progress = begun_alone(flight.progress)
        if flight.progress is flight.saved:
            return True
        start: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        alone.start = start
        self._reports.put(Report.STARTING, (flight,))
        try:
            return await start
        finally:
            alone.start = None


def isolated_processes(
    host: Host,
    setup: Setup,
    emit: Callable[[Event], None],
    start_s: float = START_S,
    changed: Callable[[OtherVersion], None] = lambda _: None,
) -> list[IsolatedProcess]:
    """As many as a queue may have at once, none started. The arguments are those of `IsolatedProcess`."""
    return [IsolatedProcess(host, setup, emit, start_s, changed) for _ in range(max(1, setup.isolated))]


def _job(flight: InFlight, task: LoadedTask) -> Job:
    marks = flight.progress.alerts if flight.progress.is_buried else flight.progress.marks
    message = flight.message
    return Job(
        message.uid, flight.generation, message.body, [_packed(name, one) for name, one in message.attributes.items()],
        message.sent_at, flight.first_seen_at, task.name, marks[task.name].attempts + 1,
        retry_state.encode_progress(flight.progress),
    )  # fmt: skip


def _packed(name: str, attribute: AttributeValue) -> tuple[str, str, bool, bytes]:
    kind, item = (attribute.kind, attribute.value) if isinstance(attribute, Typed) else ("", attribute)
    if isinstance(item, str):
        return name, kind, True, item.encode("utf-8", "surrogatepass")
    return name, kind, False, item


def _outcome(end: JobEnd) -> Outcome:
    match end.kind:
        case "succeeded":
            return Succeeded()
        case "skipped":
            return Skipped(end.text)
        case "missing":
            return Interrupted(lacks_task=True)
        case _:
            return Failed(end.text, end.is_final, end.retry_after_s)
