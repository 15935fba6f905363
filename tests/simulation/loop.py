"""An event loop whose time is virtual and whose callbacks belong to simulated processes.

Every callback runs in the context in which it was made, and a context variable names its process. So a process can be
killed between any two callbacks (none of it runs on), or stopped (its callbacks wait until it is continued).
"""

import asyncio
import contextvars
import heapq
import selectors
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from mulligan.worker.ipc.leftover import Leftovers

__all__ = ["PROCESS", "Deadlock", "Process", "SimLoop", "ended"]

BEGINS_AT = 1000.0  # 0.0 means "never" to some of the code under test


class Deadlock(Exception):
    """Nothing is ready and no timer is set: everything waits for something that will not come."""


class Process:
    """A simulated process. dies_at: the number of the callback instead of which it is killed."""

    def __init__(self, loop: "SimLoop", name: str, parent: "Process | None" = None) -> None:
        self.loop = loop
        self.name = name
        self.pid = loop.next_pid()
        self.returncode: int | None = None
        self.is_stopped = False
        self.stopped_until = 0.0
        self.steps = 0
        self.dies_at = -1
        self.children: list[Process] = []
        self.at_end: list[Callable[[], None]] = []
        self._backlog: deque[Handle | Timer] = deque()
        self._over: asyncio.Future[None] = loop.create_future()
        self._stops = 0
        if parent is not None:
            parent.children.append(self)

    def __repr__(self) -> str:
        return self.name

    @property
    def is_dead(self) -> bool:
        return self.returncode is not None

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """A task of this process."""
        context = contextvars.copy_context()
        context.run(PROCESS.set, self)
        return self.loop.create_task(coroutine, context=context)

    def end(self, returncode: int) -> None:
        """Nothing of it runs from now on."""
        if self.is_dead:
            return
        self.returncode = returncode
        self._backlog.clear()
        for child in self.children:
            child.end(-9)
        for callback in self.at_end:
            callback()
        if not self._over.done():
            self._over.set_result(None)

    def kill(self) -> None:
        self.loop.told(self, "is killed")
        self.end(-9)

    def send_signal(self, number: int) -> None:
        """Signals that do more than to kill are not simulated."""

    async def wait(self) -> int:
        await asyncio.shield(self._over)
        assert self.returncode is not None
        return self.returncode

    async def end_leftovers(self, *, patience_s: float = 0.0) -> Leftovers:
        """Tasks start no processes of their own here."""
        return Leftovers()

    def stop_for(self, seconds: float) -> None:
        """As SIGSTOP and SIGCONT do, or code that holds the interpreter."""
        self.is_stopped = True
        self._stops += 1
        self.stopped_until = self.loop.time() + seconds
        number = self._stops
        self.loop.call_plainly(seconds, lambda: self._go_on(number))

    def _go_on(self, number: int) -> None:
        if self.is_dead or number != self._stops:
            return
        self.is_stopped = False
        self.loop._ready.extend(self._backlog)
        self._backlog.clear()

    def _runs(self, handle: "Handle | Timer") -> bool:
        if self.returncode is not None:
            return False
        if self.is_stopped:
            self._backlog.append(handle)
            return False
        self.steps += 1
        if self.steps == self.dies_at:
            self.kill()
            return False
        return True


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class Handle(events.Handle):
    __slots__ = ("process",)

    def __init__(self, callback, args, loop, context=None):
        super().__init__(callback, args, loop, context)
        self.process = self._context.get(PROCESS)

    def _run(self):
        if self.process is None or self.process._runs(self):
            super()._run()


class Timer(events.TimerHandle):
    __slots__ = ("number", "process")

    def __init__(self, when, callback, args, loop, context=None):
        super().__init__(when, callback, args, loop, context)
        self.process = self._context.get(PROCESS)

    def _run(self):
        if self.process is None or self.process._runs(self):
            super()._run()

    def __lt__(self, other):
        return (self._when, self.number) < (other._when, other.number)


class SimLoop(asyncio.SelectorEventLoop):
    """Time jumps to the next timer when nothing is ready. Threads and signals are stood in for."""

    def __init__(self) -> None:
        self._virtual = BEGINS_AT
        self._pids = 0
        self._timers = 0
        self.tasks: list[asyncio.Task[Any]] = []
        self.errors: list[dict[str, Any]] = []
        self.story: list[str] | None = None
        super().__init__(_Jumping(self))
        self._clock_resolution = 1e-9  # a jump may miss its timer by the rounding of a float
        self.set_task_factory(self._task)
        self.set_exception_handler(lambda _, context: self.errors.append(context))

    def time(self) -> float:
        return self._virtual

    def next_pid(self) -> int:
        self._pids += 1
        return self._pids

    def told(self, process: object, text: str) -> None:
        """A line of the story, when it is wanted."""
        if self.story is not None:
            self.story.append(f"{self._virtual - BEGINS_AT:10.4f}  {process!s:12}  {text}")

    def call_soon(self, callback, *args, context=None):
        handle = Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(self, when, callback, *args, context=None):
        timer = Timer(when, callback, args, self, context)
        self._timers += 1
        timer.number = self._timers
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True
        return timer

    def call_later(self, delay, callback, *args, context=None):
        return self.call_at(self._virtual + delay, callback, *args, context=context)

    def call_plainly(self, delay: float, callback: Callable[[], None]) -> None:
        """A callback of no process."""
        self.call_later(delay, callback, context=contextvars.Context())

    def run_in_executor(self, executor, func, *args):
        # a thread, as far as anybody can tell: the work is done at once, its end is told a little later
        future = self.create_future()
        try:
            result, error = func(*args), None
        except Exception as exc:
            result, error = None, exc

        def tell():
            if not future.done():
                future.set_exception(error) if error is not None else future.set_result(result)

        self.call_later(0.002, tell)
        return future

    def set_default_executor(self, executor):
        pass

    def add_signal_handler(self, sig, callback, *args):
        pass

    def _task(self, loop, coroutine, context=None):
        task = asyncio.Task(coroutine, loop=loop, context=context)
        task._log_destroy_pending = False
        self.tasks.append(task)  # kept, so that nothing of a dead process is cleared up in the middle of a run
        return task


class _Jumping(selectors.BaseSelector):
    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def select(self, timeout=None):
        if timeout is None:
            raise Deadlock
        if timeout > 0:
            self._loop._virtual += timeout
        return []

    def register(self, fileobj, events, data=None):
        return selectors.SelectorKey(fileobj, 0, events, data)

    def unregister(self, fileobj):
        return selectors.SelectorKey(fileobj, 0, 0, None)

    def get_map(self):
        return {}


def ended(loop: SimLoop) -> None:
    """Close what was left unfinished, in a fixed order, and the loop."""
    for task in loop.tasks:
        if not task.done():
            try:
                task.get_coro().close()
            except BaseException:
                continue  # code of a process that is no more: what it says on its way out is nobody's business
        elif not task.cancelled():
            task.exception()
    loop.tasks.clear()
    loop._ready.clear()
    loop._scheduled.clear()
    loop.close()
