"""Group commit: one statement at a time, and all that was asked meanwhile goes with the next.

A commit costs the server one fsync and us one round trip, for one entry as for a hundred.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from mulligan.core.error import LedgerError, LedgerUnavailable

__all__ = ["GroupCommit"]

E = TypeVar("E")
R = TypeVar("R")

GROUP_MAX = 1_000  # entries; keeps a transaction, and so the wait of other hosts, short


@dataclass(slots=True)
class _Call(Generic[E, R]):
    items: Sequence[E]
    future: "asyncio.Future[list[R]]"


class GroupCommit(Generic[E, R]):
    """One kind of call.

    act: one result per entry, for the entries of many callers. It may be asked twice for the same ones: what one caller
    brought must not fail the others, so after an error that is not a passing one each is tried alone.
    """

    def __init__(self, act: Callable[[Sequence[E]], Awaitable[list[R]]]) -> None:
        self._act = act
        self._waiting: deque[_Call[E, R]] = deque()
        self._work: asyncio.Task[None] | None = None

    async def ask(self, items: Sequence[E]) -> list[R]:
        """One result per entry. When the caller is cancelled, it may or may not have happened."""
        if not items:
            return []
        loop = asyncio.get_running_loop()
        call: _Call[E, R] = _Call(items, loop.create_future())
        self._waiting.append(call)
        if self._work is None:
            self._work = loop.create_task(self._run())
        return await call.future

    async def close(self, patience_s: float) -> None:
        """Wait for what was asked, so long; then cancel it."""
        work = self._work
        if work is not None:
            await asyncio.wait([work], timeout=patience_s)
            work.cancel()
            await asyncio.wait([work])

    async def _run(self) -> None:
        group: list[_Call[E, R]] = []
        try:
            while group := self._next_group():
                await self._serve(group)
        finally:
            # in the same step as the last look at what waits, so that nobody is left without a turn
            self._work = None
            for call in (*group, *self._waiting):
                _fail(call, LedgerError("The ledger was closed before it answered."))
            self._waiting.clear()

    def _next_group(self) -> list[_Call[E, R]]:
        group: list[_Call[E, R]] = []
        count = 0
        while self._waiting and (not group or count + len(self._waiting[0].items) <= GROUP_MAX):
            call = self._waiting.popleft()
            if not call.future.done():  # else its caller was cancelled
                group.append(call)
                count += len(call.items)
        return group

    async def _serve(self, group: Sequence[_Call[E, R]]) -> None:
        try:
            results = iter(await self._act([item for call in group for item in call.items]))
        except LedgerUnavailable as exc:
            for call in group:
                _fail(call, exc)
        except Exception as exc:  # noqa: BLE001 - raised in the callers; the group commit has no caller of its own
            if len(group) > 1:
                for call in group:
                    await self._serve([call])
            else:
                _fail(group[0], exc)
        else:
            for call in group:
                answers = [next(results) for _ in call.items]
                if not call.future.done():
                    call.future.set_result(answers)


def _fail(call: "_Call[E, R]", exc: Exception) -> None:
    if not call.future.done():
        # one of its own a caller: a traceback grows with every raise
        call.future.set_exception(type(exc)(str(exc)) if isinstance(exc, LedgerError) else exc)
