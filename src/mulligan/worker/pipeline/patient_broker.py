"""The broker as a settler uses it: each call is repeated, entry by entry, while the broker is not available."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from mulligan.brokers.base import Broker, Emit, Features
from mulligan.clock import SystemClock
from mulligan.core.delivery import EntryFault, Fault, Outgoing
from mulligan.core.error import BrokerRefused, BrokerUnavailable
from mulligan.core.event import SettlementFailed
from mulligan.core.message import QueueName, Uid
from mulligan.worker.outage import of_broker

__all__ = ["PatientBroker"]

T = TypeVar("T")

_TRIES = 4
"""Calls for one entry before it is left to its next receipt."""

_RETRY_S = (1.0, 3.0, 3.0)

_AGAIN_S = (0.2, 0.4, 0.8, 1.6, 3.0, 4.0)
"""Between the calls of an outage: a broker that throttles, or is full, is not called by every batch five times a
second; and once it answers, everything is out within five seconds."""

_REPORTED_EVERY_S = 60.0
_REASONS_MAX = 100


class _Refusals:
    """Calls that the broker refused as a whole, because a permission is missing, for example: the first entry is
    reported, and once a minute how many more there were. Faults of single entries are reported one by one.
    """

    def __init__(self) -> None:
        self._reported_at: dict[str, float | None] = {}
        self._others: dict[str, int] = {}

    def add(self, reason: str) -> str:
        """Note that a call was refused for this reason; returns the reason."""
        if len(self._reported_at) > _REASONS_MAX:
            self._reported_at.clear()
            self._others.clear()
        self._reported_at.setdefault(reason, None)
        return reason

    def unreported(self, reason: str, now: float) -> int | None:
        """How many entries were not reported since the last one that was, if this one is to be reported; None if it is
        not. now: monotonic seconds.
        """
        if reason not in self._reported_at:
            return 0
        reported_at = self._reported_at[reason]
        if reported_at is not None and now - reported_at < _REPORTED_EVERY_S:
            self._others[reason] = self._others.get(reason, 0) + 1
            return None
        self._reported_at[reason] = now
        return self._others.pop(reason, 0)


class PatientBroker:
    """Repeats a call for each entry until it has succeeded or cannot: passing faults a few times, an outage until it
    ends. An outage is reported once.

    After `give_up` an outage is not waited for: then a call returns the faults that it has met.
    Every call returns one result per entry, in their order: None is a success. Only `send` names a queue.
    """

    def __init__(self, broker: Broker, queue: QueueName, clock: SystemClock, emit: Emit) -> None:
        self._broker = broker
        self._queue = queue
        self._clock = clock
        self._emit = emit
        self._outage = of_broker(clock, emit, f"settling {queue}")
        self._refusals = _Refusals()
        self._gave_up = asyncio.Event()

    @property
    def features(self) -> Features:
        """As of the broker."""
        return self._broker.features

    @property
    def is_giving_up(self) -> bool:
        """The process has to end."""
        return self._gave_up.is_set()

    def give_up(self) -> None:
        """From now on a broker that is not available is not waited for: the process has to end."""
        self._gave_up.set()

    async def ack(self, receipts: Sequence[str]) -> list[EntryFault | None]:
        """Remove messages."""
        return await self._insist(receipts, lambda some: self._broker.ack(self._queue, some))

    async def release(self, entries: Sequence[tuple[str, float]]) -> list[EntryFault | None]:
        """Give messages back: (receipt, seconds until they are visible)."""
        return await self._insist(entries, lambda some: self._broker.release(self._queue, some))

    async def send(self, target: QueueName, entries: Sequence[Outgoing]) -> list[EntryFault | None]:
        """Send messages to a queue."""
        return await self._insist(entries, lambda some: self._broker.send(target, some))

    def report(self, uid: Uid, settlement: str, fault: EntryFault, action: str) -> None:
        """Report that a message could not be settled. action: what becomes of it."""
        others = self._refusals.unreported(fault.reason, self._clock.monotonic())
        if others is not None:
            self._emit(SettlementFailed(uid, settlement, fault.reason, action, others))

    async def _insist(
        self, entries: Sequence[T], call: Callable[[Sequence[T]], Awaitable[list[EntryFault | None]]]
    ) -> list[EntryFault | None]:
        results: dict[int, EntryFault | None] = {}
        left: Sequence[int] = range(len(entries))
        tries = outages = 0
        while left:
            try:
                answers = await call(entries if len(left) == len(entries) else [entries[index] for index in left])
            except BrokerUnavailable as exc:
                self._outage.goes_on(exc)
                answers = [EntryFault(Fault.RETRY, str(exc))] * len(left)
                tries = tries if self.is_giving_up else -1
                outages += 1
            except BrokerRefused as exc:
                answers = [EntryFault(Fault.REFUSED, self._refusals.add(str(exc)))] * len(left)
            else:
                outages = 0
                self._outage.is_over()
                if len(answers) == len(entries) and not any(answers):
                    return answers
            tries += 1
            results.update(zip(left, answers, strict=True))
            is_last = tries >= _TRIES or self.is_giving_up
            left = [] if is_last else [at for at in left if _is_passing(results[at])]
            if left:
                await self._pause(_AGAIN_S[min(outages, len(_AGAIN_S)) - 1] if outages else _RETRY_S[tries - 1])
        return [results[index] for index in range(len(entries))]

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond `give_up`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._gave_up.wait()


def _is_passing(fault: EntryFault | None) -> bool:
    return fault is not None and fault.fault is Fault.RETRY
