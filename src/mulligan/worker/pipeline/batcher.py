"""Groups single things into calls that take many: acknowledgements, copies, records."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from mulligan.core.error import Meddled

__all__ = ["Batcher"]

T = TypeVar("T")


class Batcher(Generic[T]):
    """Hands what is put to `call` in lists of at most max_batch.

    linger_s: how long a list that is not full waits for more. With 0 it waits for the calls under way to end (group
    commit): alone it goes out at the end of the loop's turn, under load it grows.
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
        self._soon: asyncio.Handle | None = None
        self._linger: asyncio.TimerHandle | None = None

    def put(self, item: T) -> None:
        """Add one thing. Never waits."""
        self._waiting.append(item)
        if self._linger_s > 0 and len(self._waiting) < self._max_batch:
            if self._linger is None:
                self._linger = asyncio.get_running_loop().call_later(self._linger_s, self._flush)
        elif self._soon is None and len(self._calls) < self._max_calls:
            self._soon = asyncio.get_running_loop().call_soon(self._flush)

    @property
    def is_idle(self) -> bool:
        """Nothing waits and no call is under way."""
        return not self._waiting and not self._calls

    async def drain(self) -> None:
        """Let everything out, without lingering, and wait until the calls have ended."""
        while not self.is_idle:
            self._flush()
            if self._calls:
                await asyncio.wait(self._calls, return_when=asyncio.FIRST_COMPLETED)

    def _flush(self) -> None:
        self._disarm()
        loop, waiting = asyncio.get_running_loop(), self._waiting
        while waiting and len(self._calls) < self._max_calls:
            batch = [waiting.popleft() for _ in range(min(len(waiting), self._max_batch))]
            task = loop.create_task(self._run(batch))
            self._calls.add(task)
            task.add_done_callback(self._ended)
            if self._linger_s > 0 and len(waiting) < self._max_batch:
                break
        if waiting and self._linger_s > 0:
            self._linger = loop.call_later(self._linger_s, self._flush)

    def _disarm(self) -> None:
        for handle in (self._soon, self._linger):
            if handle is not None:
                handle.cancel()
        self._soon = self._linger = None

    async def _run(self, batch: list[T]) -> None:
        await self._call(batch)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        error = Meddled("a call to broker or ledger") if task.cancelled() else task.exception()
        if error is not None:
            self._failed(error)
            return
        if self._waiting and (self._linger_s == 0 or len(self._waiting) >= self._max_batch):
            self._flush()
