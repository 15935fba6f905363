"""Threads for sync tasks, grown on demand, with results handed back to the event loop many at a time.

An executor of the standard library costs three times as much CPU an attempt, most of it futures and wake-ups.
"""

import asyncio
import contextvars
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Threads(Generic[Item, Result]):
    """Runs `work(item)` in a thread and hands (item, result) to `ended` on the event loop.

    work must not raise. There is a thread for every item under way, so none waits for another: the caller bounds how
    many are under way. Threads are daemons: one that never ends doesn't keep the process.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Callable[[Item], Result],
        ended: Callable[[list[tuple[Item, Result]]], None],
    ) -> None:
        self._loop = loop
        self._work = work
        self._ended = ended
        self._items: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._results: deque[tuple[Item, Result]] = deque()
        self._is_woken = False
        self._count = 0
        self._under_way = 0

    def put(self, item: Item) -> None:
        """Start an item. Only from the event loop."""
        self._under_way += 1
        if self._under_way > self._count:
            self._count += 1
            threading.Thread(target=self._serve, name=f"mulligan-task-{self._count}", daemon=True).start()
        self._items.put(item)

    def close(self) -> None:
        """Let idle threads end. Busy ones end after their item, which is not handed back any more."""
        for _ in range(self._count):
            self._items.put(None)
        self._count = 0

    def _serve(self) -> None:
        while (item := self._items.get()) is not None:
            # a context of its own: what one task binds (a logger's fields, say) is none of the next one's business
            result = contextvars.Context().run(self._work, item)
            self._results.append((item, result))
            # read and set under the interpreter's lock: at worst the loop is woken once too often
            if not self._is_woken:
                self._is_woken = True
                try:
                    self._loop.call_soon_threadsafe(self._collect)
                except RuntimeError:  # the loop is closed: nobody waits for results any more
                    return

    def _collect(self) -> None:
        self._is_woken = False
        results: list[tuple[Item, Result]] = []
        while self._results:
            results.append(self._results.popleft())
        self._under_way -= len(results)
        self._ended(results)
