"""One isolated process as its worker sees it: starts it, gives it one attempt at a time, kills it if it has to.

`isolated_process` is the other side; `isolated_runner` decides whose attempt is next.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from mulligan.core import retry_state
from mulligan.core.event import Event, IsolationFailed, ProcessesLeft
from mulligan.core.message import AttributeValue, Typed
from mulligan.core.outcome import INTERRUPTED, Died, Failed, Interrupted, Outcome, Skipped, Succeeded, TimedOut
from mulligan.tasks.registry import LoadedTask
from mulligan.worker.claim_watch import ClaimWatch
from mulligan.worker.host import Host
from mulligan.worker.in_flight import InFlight
from mulligan.worker.ipc.channel import Channel, FromIsolated, Job, JobEnd, OtherVersion, Setup
from mulligan.worker.ipc.child import HOOKS_S, ChildProcess, ends_with
from mulligan.worker.ipc.exits import describe_exit
from mulligan.worker.opening import unless

__all__ = ["START_S", "IsolatedHandle", "isolated_handles"]

START_S = 60.0
"""Seconds that the child has to load the tasks, at least."""
_AGAIN_S = 3.0
"""Seconds before another child is tried when one could not be started or could not load the tasks."""
_TRIES = 4
"""So often a child is tried before that is taken for a failed attempt: a suspect must not wait for ever."""
_GONE_S = 2.0
"""Seconds that a child has to end once its end of the channel is closed."""


Begins = Callable[[InFlight], Coroutine[Any, Any, bool]]


class IsolatedHandle:
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
        """The channel to a child that has loaded the tasks. Failed when there is none, after a few tries:
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


def isolated_handles(
    host: Host,
    setup: Setup,
    emit: Callable[[Event], None],
    start_s: float = START_S,
    changed: Callable[[OtherVersion], None] = lambda _: None,
) -> list[IsolatedHandle]:
    """As many as a queue may have at once, none started. The arguments are those of `IsolatedHandle`."""
    return [IsolatedHandle(host, setup, emit, start_s, changed) for _ in range(max(1, setup.isolated))]


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
