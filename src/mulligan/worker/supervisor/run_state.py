"""How far a run is: whether the workers may work, and whether its end has begun, and why."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

from mulligan.worker.opening import unless

__all__ = ["RunState"]

T = TypeVar("T")


class RunState:
    """Of one run. The supervisor and its parts share it; each of them may begin the end.

    stopping: set when the end has begun. reason: why, in a few words. error: what the run is to raise, if anything.
    has_begun: the workers have been started.
    """

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.reason = ""
        self.error: BaseException | None = None
        self.has_begun = False

    @property
    def is_stopping(self) -> bool:
        """Whether the end has begun."""
        return self.stopping.is_set()

    @property
    def is_starting(self) -> bool:
        """Whether no worker may work yet, and the end has not begun either."""
        return not self.has_begun and not self.is_stopping

    def stop(self, reason: str, error: BaseException | None = None) -> None:
        """Begin the end. The first reason counts, and the first error."""
        self.error = self.error or error
        if not self.is_stopping:
            self.reason = reason
            self.stopping.set()

    async def pause(self, seconds: float) -> None:
        """Sleep, until the end begins at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopping.wait()

    async def unless_stopping(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What `work` gives or raises. None when the end begins before: it is cancelled."""
        stopping = asyncio.get_running_loop().create_task(self.stopping.wait())
        try:
            return await unless(stopping, work)
        finally:
            stopping.cancel()
