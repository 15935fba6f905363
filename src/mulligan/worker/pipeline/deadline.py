"""Timeouts of attempts, at a cost that a hundred thousand of them a second can bear.

Attempts of one timeout expire in the order in which they started, so one timer a timeout is enough: for the oldest.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

__all__ = ["Deadlines", "Timed"]


class Timed(Protocol):
    """What has a deadline (loop time) and may have ended before it."""

    deadline: float
    has_ended: bool


class Deadlines:
    """Calls `expired(item)` for each item that has not ended by its deadline."""

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[Timed], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._lines: dict[float, deque[Timed]] = {}
        self._timers: dict[float, asyncio.TimerHandle] = {}

    def add(self, item: Timed, timeout_s: float, now: float) -> None:
        """Watch an item for timeout_s seconds from now (loop time); sets its deadline."""
        item.deadline = now + timeout_s
        line = self._lines.get(timeout_s)
        if line is None:
            line = self._lines[timeout_s] = deque()
        while line and line[0].has_ended:
            line.popleft()
        line.append(item)
        if len(line) & 0xFFF == 0:
            # a slow item at the head keeps ended ones alive behind it: thousands of messages a second for a minute
            self._lines[timeout_s] = deque(one for one in line if not one.has_ended)
        if timeout_s not in self._timers:
            self._timers[timeout_s] = self._loop.call_at(item.deadline, self._fire, timeout_s)

    def close(self) -> None:
        """Stop all timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _fire(self, timeout_s: float) -> None:
        line = self._lines[timeout_s]
        now = self._loop.time()
        while line and (line[0].has_ended or line[0].deadline <= now):
            item = line.popleft()
            if not item.has_ended:
                self._expired(item)
        if line:
            self._timers[timeout_s] = self._loop.call_at(line[0].deadline, self._fire, timeout_s)
        else:
            del self._timers[timeout_s]
