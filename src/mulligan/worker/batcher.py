"""Groups single things into calls that take many: acknowledgements, copies, records."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

__all__ = ["Batcher"]

T = TypeVar("T")


class Batcher(Generic[T]):
    """Hands what is put to `call` in lists of at most max_batch.

    linger_s: how long a list that is not full waits for more. With 0 it waits for the calls under way to end (group
    commit): alone it goes out at the end of the loop's turn, under load it grows by itself.
    max_calls: calls under way at once.
    call: must not raise but for faults that end the worker; these go to `failed`.
    """

    def __init__(
        self,
        call: Callable[[list[T]], Awaitable[None]],
        *,
        max_batch: int,
        linger_s: float = 0.0,
        max_calls: int = 1,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._call = call
        self._max_batch = max_batch
        self._linger_s = linger_s
        self._max_calls = max_calls
        self._failed = failed
        self._waiting: deque[T] = deque()
        self._calls: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Handle | None = None

    def put(self, item: T) -> None:
        """Add one thing. Never waits."""
        self._waiting.append(item)
        if len(self._waiting) >= self._max_batch:
            if len(self._calls) < self._max_calls:
                self._arm(0.0)
        elif self._timer is None and (self._linger_s > 0 or len(self._calls) < self._max_calls):
            self._arm(self._linger_s)

    @property
    def is_idle(self) -> bool:
        """Nothing waits and no call is under way."""
        return not self._waiting and not self._calls

    async def drain(self) -> None:
        """Let everything out, without lingering, and wait until the calls have ended."""
        while not self.is_idle:
            self._flush(is_forced=True)
            if self._calls:
                await asyncio.wait(self._calls, return_when=asyncio.FIRST_COMPLETED)

    def _arm(self, delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            if delay_s > 0 or not isinstance(self._timer, asyncio.TimerHandle):
                return
            self._timer.cancel()
        self._timer = loop.call_later(delay_s, self._flush) if delay_s > 0 else loop.call_soon(self._flush)

    def _flush(self, *, is_forced: bool = False) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting = self._waiting
        while waiting and len(self._calls) < self._max_calls:
            count = min(len(waiting), self._max_batch)
            batch = [waiting.popleft() for _ in range(count)]
            task = asyncio.get_running_loop().create_task(self._run(batch))
            self._calls.add(task)
            task.add_done_callback(self._ended)
            if not is_forced and self._linger_s > 0 and len(waiting) < self._max_batch:
                break
        if waiting and self._linger_s > 0 and not is_forced:
            self._arm(self._linger_s)

    async def _run(self, batch: list[T]) -> None:
        await self._call(batch)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)
            return
        if self._waiting and (self._linger_s == 0 or len(self._waiting) >= self._max_batch):
            self._flush()
