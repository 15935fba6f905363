"""Runs the tasks of a suspect alone: in a process of one slot, one task after the other.

A suspect is a message that was in flight when a worker died. Its worker keeps the delivery and the claim, and has the
attempts run in a child process, so a death there is known at once, has one message and one task to blame, and costs
nobody else anything. It works on every broker, because no receipt leaves the worker. `solo_process` is the other side.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from mulligan.core import story
from mulligan.core.event import Event
from mulligan.core.message import AttributeValue, Typed
from mulligan.core.outcome import INTERRUPTED, Died, Failed, Interrupted, Outcome, Skipped, Succeeded, TimedOut
from mulligan.tasks.catalogue import LoadedTask
from mulligan.worker.channel import Channel, Job, JobEnd, Setup, from_solo
from mulligan.worker.child import spawn
from mulligan.worker.exits import told
from mulligan.worker.flight import Flight

__all__ = ["Solo"]

_IDLE_S = 20.0
_START_S = 60.0
"""Seconds that the child has to load the tasks."""
_AGAIN_S = 3.0
"""Seconds before another child is tried when one could not be started or could not load the tasks."""


class Ended(Protocol):
    """Told of each end of an attempt. is_last: no other task of the same `put` follows."""

    def __call__(
        self, flight: Flight, task: LoadedTask, outcome: Outcome, started_at: float, *, is_last: bool
    ) -> None: ...


class Solo:
    """One child process, started when it is needed and ended when it has been idle for a while.

    holds: whether a flight's claim is ours still; the turn of a suspect may come late.
    """

    def __init__(
        self,
        setup: Setup,
        ended: Ended,
        emit: Callable[[Event], None],
        holds: Callable[[Flight], bool] = lambda _: True,
    ) -> None:
        self._holds = holds
        self._setup = setup
        self._ended = ended
        self._emit = emit
        self._waiting: deque[tuple[Flight, Sequence[LoadedTask]]] = deque()
        self._current: Flight | None = None
        self._server: asyncio.Task[None] | None = None
        self._child: asyncio.subprocess.Process | None = None
        self._channel: Channel[JobEnd] | None = None
        self._interrupted = asyncio.Event()
        self._wake = asyncio.Event()

    def put(self, flight: Flight, tasks: Sequence[LoadedTask]) -> None:
        """Run these tasks on the flight's message when its turn comes."""
        self._waiting.append((flight, tasks))
        self._wake.set()
        if self._server is None:
            self._server = asyncio.get_running_loop().create_task(self._serve())

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
            await self._server

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
            is_last = index == len(tasks) - 1 or isinstance(outcome, Died | Interrupted)
            self._ended(flight, task, outcome, started_at, is_last=is_last)
            if is_last:
                return

    async def _attempt(self, flight: Flight, task: LoadedTask) -> Outcome:
        channel = await self._started()
        if channel is None or self._interrupted.is_set():
            return INTERRUPTED
        channel.send(_job(flight, task))
        try:
            async with asyncio.timeout(task.policy.timeout_s):
                end = await channel.receive()
        except TimeoutError:
            self._kill()
            await self._how()
            return INTERRUPTED if self._interrupted.is_set() else TimedOut(task.policy.timeout_s)
        if end is not None:
            return _outcome(end)
        how = await self._how()
        return INTERRUPTED if self._interrupted.is_set() else Died(how)

    async def _started(self) -> Channel[JobEnd] | None:
        """The channel to a child that has loaded the tasks; None, after a pause, when there is none to be had.

        That is no task's fault: nothing of the message has begun.
        """
        if self._channel is not None:
            return self._channel
        try:
            async with asyncio.timeout(_START_S):
                channel = await self._open()
                if await channel.receive() is not None:
                    return channel
        except OSError:  # no more processes, memory or descriptors; or the time is over, which is an OSError, too
            pass
        self._kill()
        await self._how()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_AGAIN_S):
                await self._interrupted.wait()
        return None

    async def _open(self) -> Channel[JobEnd]:
        ours, self._child = await spawn("mulligan.worker.solo_process")
        self._channel = await Channel.open(ours, from_solo)
        self._channel.send(self._setup)
        return self._channel

    async def _how(self) -> str:
        """Wait for the child's end; how it ended."""
        child, self._child = self._child, None
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if child is None:
            return "it was ended"
        return told(await child.wait())

    async def _end_child(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        child, self._child = self._child, None
        if child is not None:
            try:
                async with asyncio.timeout(1.0):
                    await child.wait()
            except TimeoutError:
                child.kill()
                await child.wait()

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
        case _:
            return Failed(end.text, end.is_final, end.retry_after_s)
