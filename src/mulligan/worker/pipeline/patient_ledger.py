"""The ledger as a pipeline uses it: each call is repeated while the ledger is not available."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import TypeVar

from mulligan.brokers.base import Emit
from mulligan.clock import SystemClock
from mulligan.core.error import LedgerUnavailable
from mulligan.core.message import Uid
from mulligan.ledger.base import Answer, Claim, Key, Known, Ledger, Record
from mulligan.worker.outage import of_ledger

__all__ = ["PatientLedger"]

T = TypeVar("T")

_RETRY_S = (0.1, 0.5, 1.0, 2.0)
"""Between tries; the last one is how late work goes on after an outage."""


class PatientLedger:
    """Waits for the ledger, and says once that it does.

    After `give_up` it waits no longer: then a call that finds the ledger away returns None.
    """

    def __init__(self, ledger: Ledger, clock: SystemClock, emit: Emit) -> None:
        self._ledger = ledger
        self._outage = of_ledger(clock, emit)
        self.is_durable = ledger.is_durable
        """Where it is not, nothing is known of any message, and nothing is kept."""
        self.is_giving_up = False
        """The process has to end."""

    def give_up(self) -> None:
        """From now on a ledger that is not available is not waited for: the process has to end."""
        self.is_giving_up = True

    async def claim(self, claims: Sequence[Claim], now: float) -> list[Answer]:
        """The ledger's answers, asked for once: one that waits must not have others wait. Raises LedgerError."""
        return await self._ledger.claim(claims, now)

    async def look(self, key: Key) -> list[Known | None] | None:
        """What the ledger knows of one message, as a list of one. Raises LedgerError when its row is damaged."""
        return await self._insist(lambda: self._ledger.look([key]))

    async def save(self, records: Sequence[Record]) -> list[bool] | None:
        """The ledger's answers to records, one per record: False where its claim is somebody else's."""
        return await self._insist(lambda: self._ledger.save(records))

    async def give_back(self, tokens: Sequence[tuple[Uid, int, str]]) -> bool:
        """End claims (uid, generation, token), whether they were made or not; False: the ledger is away.

        A claim that is left to run out looks like that of a dead worker.
        """

        async def call() -> bool:
            await self._ledger.give_back(tokens)
            return True

        return await self._insist(call) is True

    async def has_passed(self, attempt: int, exc: LedgerUnavailable) -> bool:
        """Wait after the n-th call (from 0) that found the ledger away; False when it is waited for no longer."""
        self._outage.goes_on(exc)
        if self.is_giving_up:
            return False
        await asyncio.sleep(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])
        return True

    def has_answered(self) -> None:
        """A call has succeeded."""
        self._outage.is_over()

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T | None:
        for attempt in count():
            try:
                found = await call()
            except LedgerUnavailable as exc:
                if not await self.has_passed(attempt, exc):
                    return None
                continue
            self.has_answered()
            return found
        return None
