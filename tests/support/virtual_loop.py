"""An event loop whose time jumps to the next timer when nothing is ready, and a clock that follows it.

A test under it sleeps for hours in no time, and what happens at one moment happens in the same order every time.
Threads are the exception: the loop can't know of their work. While one is waited for, time must stand still
(`VirtualLoop.standing_still`). Child processes belong under a real loop.
"""

import asyncio
import random
import selectors
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

__all__ = ["EPOCH", "VirtualClock", "VirtualLoop"]

EPOCH = 1_700_000_000.0
"""Epoch seconds at which every virtual time begins."""

# 0.0 means "never" to some of the code under test
_BEGINS_AT = 1000.0

_REAL_WAIT_S = 5.0  # for a thread, or for nothing: then the test hangs, and should say so


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self._virtual = _BEGINS_AT
        self._still = 0
        super().__init__(_Jumping(self))
        # a jump may miss its timer by the rounding of a float
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._virtual

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """In here no timer fires: the loop waits for threads, in real time."""
        self._still += 1
        try:
            yield
        finally:
            self._still -= 1

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the threads without a timer: asyncio's own would let the time jump to its end at once."""
        await super().shutdown_default_executor()

    def jump(self, seconds: float) -> None:
        """Let time pass at once, as if the loop had been held by code that does not wait."""
        self._virtual += seconds


class _Jumping(selectors.BaseSelector):
    """A selector that lets the loop's time pass instead of waiting."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None or self._loop._still:
            ready = self._real.select(_REAL_WAIT_S)
            if not ready:
                raise RuntimeError("nothing is ready, no thread ends and no timer may fire: the test waits for ever")
            return ready
        self._loop.jump(timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def close(self) -> None:
        self._real.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()


class VirtualClock:
    """The clock of a virtual loop, with dice of a fixed seed. Takes the place of `clock.SystemClock`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seed: int = 1) -> None:
        self._loop = loop
        self.random = random.Random(seed).random
        self.jumped_s = 0.0
        """By how much somebody has set the wall clock."""

    def now(self) -> float:
        return EPOCH + self._loop.time() - _BEGINS_AT + self.jumped_s

    def monotonic(self) -> float:
        return self._loop.time()
