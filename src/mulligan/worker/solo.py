"""Runs the tasks of a suspect alone: in a process of one slot, one task after the other.

A suspect is a message that was in flight when a worker died. Its worker keeps the delivery and the claim, and has the
attempts run in a child process, so a death there is known at once, has one message and one task to blame, and costs
nobody else anything. It works on every broker, because no receipt leaves the worker. `solo_process` is the other side.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from mulligan.core import story
from mulligan.core.error import Meddled
from mulligan.core.event import Event, IsolationFailed, ProcessesLeft
from mulligan.core.message import AttributeValue, Typed
from mulligan.core.outcome import INTERRUPTED, Died, Failed, Interrupted, Outcome, Skipped, Succeeded, TimedOut
from mulligan.tasks.catalogue import LoadedTask
from mulligan.worker.channel import Channel, Job, JobEnd, OtherVersion, Setup, from_solo
from mulligan.worker.child import HOOKS_S, Child, ends_with, spawn
from mulligan.worker.exits import told
from mulligan.worker.flight import Flight

__all__ = ["Solo"]

_IDLE_S = 20.0
START_S = 60.0
"""Seconds that the child has to load the tasks, at least."""
_AGAIN_S = 3.0
"""Seconds before another child is tried when one could not be started or could not load the tasks."""
_TRIES = 4
"""So often a child is tried before that is taken for a failed attempt: a suspect must not wait for ever."""
_GONE_S = 2.0
"""Seconds that a child has to end once its end of the channel is closed."""


class Ended(Protocol):
    """Told of each end of an attempt. is_last: no other task of the same `put` follows."""

    def __call__(
        self, flight: Flight, task: LoadedTask, outcome: Outcome, started_at: float, *, is_last: bool
    ) -> None: ...


class Solo:
    """One child process, started when it is needed and ended when it has been idle for a while.

    holds: whether a flight's claim is ours still; the turn of a suspect may come late.
    start_s: seconds that the child has to load the tasks.
    changed: called when a child is of another build; then this process is to end. failed: when this can't go on.
    """

    def __init__(
        self,
        setup: Setup,
        ended: Ended,
        emit: Callable[[Event], None],
        holds: Callable[[Flight], bool] = lambda _: True,
        start_s: float = START_S,
        changed: Callable[[OtherVersion], None] = lambda _: None,
        failed: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        self._failed = failed
        self._changed = changed
        self._holds = holds
        self._start_s = start_s
        self._setup = setup
        self._ended = ended
        self._emit = emit
        self._waiting: deque[tuple[Flight, Sequence[LoadedTask]]] = deque()
        self._current: Flight | None = None
        self._server: asyncio.Task[None] | None = None
        self._child: Child | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._channel: Channel[JobEnd | OtherVersion] | None = None
        self._is_outdated = False
        self._interrupted = asyncio.Event()
        self._wake = asyncio.Event()

    def put(self, flight: Flight, tasks: Sequence[LoadedTask]) -> None:
        """Run these tasks on the flight's message when its turn comes."""
        self._waiting.append((flight, tasks))
        self._wake.set()
        if self._server is None:
            self._server = asyncio.get_running_loop().create_task(self._serve())
            self._server.add_done_callback(self._stopped)

    @property
    def waiting(self) -> int:
        """Messages whose turn has not come."""
        return len(self._waiting)

    def interrupt(self) -> None:
        """End what runs and what waits, as Interrupted: the process is shut down."""
        self._interrupted.set()
        self._kill()
        self._wake.set()

    def drop(self, flight: Flight) -> None:
        """End the attempt of a flight whose lease or claim is lost: its new holder has begun another."""
        if flight is self._current:
            self._kill()

    async def close(self) -> None:
        """End the child, and wait for what was under way to be told."""
        self.interrupt()
        if self._server is not None:
            await asyncio.wait([self._server])  # what it raised has been told

    def _stopped(self, server: "asyncio.Task[None]") -> None:
        if server.cancelled():
            self._failed(Meddled("what runs suspects"))
        elif (error := server.exception()) is not None:
            self._failed(error)

    async def _serve(self) -> None:
        try:
            while True:
                while self._waiting:
                    self._current, tasks = self._waiting.popleft()
                    await self._run(self._current, tasks)
                    self._current = None
                if self._interrupted.is_set():
                    return
                self._wake.clear()
                try:
                    async with asyncio.timeout(_IDLE_S):
                        await self._wake.wait()
                except TimeoutError:
                    await self._end_child()
                    await self._wake.wait()
        finally:
            await self._end_child()

    async def _run(self, flight: Flight, tasks: Sequence[LoadedTask]) -> None:
        """One task after the other; a death ends the round, the flow says what comes next."""
        loop = asyncio.get_running_loop()
        for index, task in enumerate(tasks):
            started_at = loop.time()
            is_over = self._interrupted.is_set() or flight.is_lost or not self._holds(flight)
            outcome = INTERRUPTED if is_over else await self._attempt(flight, task)
            is_last = index == len(tasks) - 1 or isinstance(outcome, Died) or outcome == INTERRUPTED
            self._ended(flight, task, outcome, started_at, is_last=is_last)
            if is_last:
                return

    async def _attempt(self, flight: Flight, task: LoadedTask) -> Outcome:
        channel = await self._until_started(flight, task)
        if self._interrupted.is_set():
            return INTERRUPTED
        if isinstance(channel, Failed | Interrupted):
            return channel
        channel.send(_job(flight, task))
        try:
            async with asyncio.timeout(task.policy.timeout_s):
                end = await channel.receive()
        except TimeoutError:
            self._kill()
            await self._how()
            return INTERRUPTED if self._interrupted.is_set() else TimedOut(task.policy.timeout_s)
        if isinstance(end, JobEnd):
            if end.leaves:
                await self._end_child()
            return _outcome(end)
        how = await self._how()
        return INTERRUPTED if self._interrupted.is_set() else Died(how)

    async def _until_started(
        self, flight: Flight, task: LoadedTask
    ) -> Channel[JobEnd | OtherVersion] | Failed | Interrupted:
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

    async def _started(self) -> Channel[JobEnd | OtherVersion] | str:
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
        self._kill()
        how = await self._how()
        return problem or f"its process ended while it loaded the tasks: {how}"

    async def _open(self) -> Channel[JobEnd | OtherVersion]:
        ours, self._child = spawn("mulligan.worker.solo_process", folder=Path(self._setup.folder))
        self._channel = await Channel.open(ours, from_solo)
        self._channel.send(self._setup)
        self._watch(self._child, self._channel)
        return self._channel

    def _watch(self, child: Child, channel: Channel[JobEnd | OtherVersion]) -> None:
        """Have the channel end when the process does: a child of the task's may have the other end."""
        self._watcher = asyncio.get_running_loop().create_task(ends_with(child, channel))

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
        return told(code)

    async def _end_child(self) -> None:
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

    def _kill(self) -> None:
        if self._child is not None and self._child.returncode is None:
            self._child.kill()


def _job(flight: Flight, task: LoadedTask) -> Job:
    marks = flight.progress.alerts if flight.progress.is_buried else flight.progress.marks
    message = flight.message
    return Job(
        message.uid, flight.generation, message.body, [_packed(name, one) for name, one in message.attributes.items()],
        message.sent_at, flight.first_seen_at, task.name, marks[task.name].attempts + 1,
        story.encode_progress(flight.progress),
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
