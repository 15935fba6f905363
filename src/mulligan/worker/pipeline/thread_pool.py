"""Threads for sync tasks, grown on demand, at a cost that tasks of microseconds can bear.

An executor of the standard library costs three times as much CPU an attempt, and so does waking a thread for each: the
wake-ups, and the interpreter's lock that changes hands. So quick items are left to the thread that is awake already,
one after the other, and each slow one gets a thread of its own. Which they are is measured. Should a quick one turn out
to be slow, a monitor sees within milliseconds that others wait behind it, and wakes threads for them. Results are
handed back to the event loop many at a time.

A system has an end of threads (`ulimit -u`, `pids.max` of a container, memory). Beyond it items wait for the threads
there are, and another one is asked for each second.
"""

import asyncio
import contextlib
import contextvars
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from mulligan.clock import SystemClock

__all__ = ["Threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_seconds = SystemClock.precise

_SLOW_S = 0.0005
"""Items that take longer on the average are slow: then a wake-up costs little beside them."""

_HELP_AFTER_S = 0.002
_ASK_AGAIN_S = 1.0
_WEIGHT = 0.1  # of the newest item in the average


class Threads(Generic[Item, Result]):
    """Runs `work(item)` in a thread and hands (item, result) to `ended` on the event loop.

    short: called on the event loop, once, with the number of threads when the system gives no more, and why.
    work must not raise. No item waits for long behind another: there are as many threads as items under way, if need
    be, and the caller bounds how many are under way. Threads are daemons: one that never ends doesn't keep the process.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Callable[[Item], Result],
        ended: Callable[[list[tuple[Item, Result]]], None],
        short: Callable[[int, str], None],
    ) -> None:
        self._loop = loop
        self._work = work
        self._ended = ended
        self._short = short
        self._items: deque[Item] = deque()
        self._results: deque[tuple[Item, Result]] = deque()
        self._wakes: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._backlog = threading.Event()
        self._has_foreman = False
        self._is_short = False
        self._has_reported = False
        self._is_closed = False
        self._is_woken = False
        self._count = 0
        self._awake = 0
        self._under_way = 0
        self._taken = 0
        self._average_s = _SLOW_S * 2  # slow until they are known to be quick

    def put(self, item: Item) -> None:
        """Start an item. Only from the event loop."""
        self._under_way += 1
        with self._lock:
            self._items.append(item)
            if self._average_s > _SLOW_S or not self._awake:
                self._wake()
                return
        if not self._backlog.is_set():
            self._has_foreman = self._has_foreman or self._begin("mulligan-foreman", self._oversee)
            if self._has_foreman:
                self._backlog.set()

    def close(self) -> None:
        """Let idle threads end. Busy ones end after their item, which is not handed back any more."""
        self._is_closed = True
        self._backlog.set()
        for _ in range(self._count):
            self._wakes.put(False)

    def _wake(self) -> None:
        """Have one more thread awake, if there are items for it. The lock is held."""
        if self._awake < self._count:
            self._awake += 1
            self._wakes.put(True)
        elif self._count < self._under_way and self._begin(f"mulligan-task-{self._count + 1}", self._serve):
            self._count += 1
            self._awake += 1

    def _begin(self, name: str, work: Callable[[], None]) -> bool:
        """Start a thread. False when the system has none left; then it is asked again later, by `_ask_again`."""
        if self._is_short:
            return False
        try:
            threading.Thread(target=work, name=name, daemon=True).start()
        except RuntimeError as exc:
            self._is_short = True
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._fell_short, str(exc))
            return False
        return True

    def _fell_short(self, reason: str) -> None:
        self._loop.call_later(_ASK_AGAIN_S, self._ask_again)
        if not self._has_reported:
            self._has_reported = True
            self._short(self._count, reason)

    def _ask_again(self) -> None:
        self._is_short = False
        with self._lock:
            for _ in range(0 if self._is_closed else len(self._items)):
                self._wake()

    def _serve(self) -> None:
        while True:
            while self._items and not self._is_closed:
                try:
                    item = self._items.popleft()
                except IndexError:  # another thread was quicker
                    break
                self._taken += 1
                if not self._run(item):
                    return
            with self._lock:
                if self._items and not self._is_closed:
                    continue
                self._awake -= 1
            if not self._wakes.get():
                return

    def _run(self, item: Item) -> bool:
        """Run one item; False when nobody waits for results any more."""
        began = _seconds()
        # a context of its own: what one task binds (a logger's fields, say) is none of the next one's business
        result = contextvars.Context().run(self._work, item)
        self._average_s += _WEIGHT * (_seconds() - began - self._average_s)
        self._results.append((item, result))
        # read and set under the interpreter's lock: at worst the loop is woken once too often
        if not self._is_woken:
            self._is_woken = True
            try:
                self._loop.call_soon_threadsafe(self._collect)
            except RuntimeError:  # the loop is closed
                return False
        return True

    def _oversee(self) -> None:
        """Wake threads for items that wait behind others. The monitor's thread."""
        while self._backlog.wait() and not self._is_closed:
            self._backlog.clear()
            while waiting := len(self._items):
                taken = self._taken
                SystemClock.pause(_HELP_AFTER_S)
                # a count that missed some wakes a thread too many, never one too few
                overdue = min(taken + waiting - self._taken, len(self._items))
                for _ in range(overdue):
                    with self._lock:
                        self._wake()

    def _collect(self) -> None:
        self._is_woken = False
        results: list[tuple[Item, Result]] = []
        while self._results:
            results.append(self._results.popleft())
        self._under_way -= len(results)
        self._ended(results)
