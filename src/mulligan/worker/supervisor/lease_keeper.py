"""Keeps the leases and claims of every worker, from the supervisor: no task can stop it, however it holds its worker.

It reads the workers' lease tables. What passes half of its lease is extended, in batches: leases at the broker, claims
at the ledger, and neither waits for the other, which may be away. A claim is extended once its worker knows that there
is one. When a worker has ended, its claims are ended first, then its messages are released.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from mulligan.brokers.base import Broker, Emit, Queues
from mulligan.clock import SystemClock
from mulligan.core.delivery import Fault
from mulligan.core.error import BrokerError, LedgerError, LedgerUnavailable
from mulligan.core.message import QueueName
from mulligan.ledger.base import Ledger
from mulligan.worker.ipc.lease_table import HeldMessage, LeaseTable, SlotState
from mulligan.worker.outage import of_broker, of_ledger

__all__ = ["LeaseKeeper", "Lost", "is_overdue"]

_SWEEP_TRIES = 5
_SWEEP_PAUSE_S = 0.5

Key = tuple[int, int, int]
"""Worker, slot and sequence."""
Lost = dict[int, list[tuple[int, int]]]
"""By worker: (slot, sequence) of what is somebody else's now."""


class LeaseKeeper:
    """One for all workers. lease_s: what a lease and a claim are extended to."""

    def __init__(
        self, broker: Broker, ledger: Ledger, queues: Queues, clock: SystemClock, emit: Emit, lease_s: float
    ) -> None:
        self._broker = broker
        self._ledger = ledger
        self._queues = queues
        self._clock = clock
        self._emit = emit
        self._lease_s = lease_s
        self._leases_until: dict[Key, float] = {}
        self._claims_until: dict[Key, float] = {}
        self._broker_outage = of_broker(clock, emit, "extending leases")
        self._ledger_outage = of_ledger(clock, emit)

    @property
    def interval_s(self) -> float:
        """How often `extend_leases` and `extend_claims` have to be called, each on its own."""
        return min(5.0, self._lease_s / 8)

    async def extend_leases(self, tables: Iterable[tuple[int, LeaseTable]]) -> Lost:
        """Extend the leases that have passed half of their time. tables: (worker, table).

        Returns those that are somebody else's now. What could not be extended for a passing reason is tried again at
        the next call.
        """
        if not self._broker.features.keeps_lease:
            return {}
        now = self._clock.monotonic()
        due = self._due(tables, self._leases_until, now)
        if not due:
            return {}
        lost: set[Key] = set()
        missed: set[Key] = set()
        is_down = False
        for queue, some in _by_queue(due, self._queues).items():
            for batch in _chunks(some, self._broker.features.max_batch):
                try:
                    answers = await self._broker.extend(queue, [(one.receipt, self._lease_s) for _, one in batch])
                except BrokerError as exc:  # the others may have better luck, and every lease counts
                    is_down = True
                    self._broker_outage.goes_on(exc)
                    missed.update(map(_key, batch))
                    continue
                for one, fault in zip(batch, answers, strict=True):
                    if fault is not None:
                        (lost if fault.fault is Fault.LEASE_LOST else missed).add(_key(one))
        if not is_down:
            self._broker_outage.is_over()
        self._extended(self._leases_until, due, lost | missed, now)
        return _by_worker(lost)

    async def extend_claims(self, tables: Iterable[tuple[int, LeaseTable]]) -> Lost:
        """The same for claims: those that their workers know to be granted, for others may not be made yet."""
        now = self._clock.monotonic()
        by_number = dict(tables)
        due = [one for one in self._due(by_number.items(), self._claims_until, now) if one[1].is_claimed]
        if not due:
            return {}
        try:
            kept = await self._ledger.extend([one.key for _, one in due], self._clock.now() + self._lease_s)
        except LedgerError as exc:
            self._ledger_outage.goes_on(exc)
            return {}
        self._ledger_outage.is_over()
        lost: set[Key] = set()
        for one, is_kept in zip(due, kept, strict=True):
            if is_kept:
                by_number[one[0]].keep(one[1], now + self._lease_s)
            else:
                lost.add(_key(one))
        self._extended(self._claims_until, due, lost, now)
        return _by_worker(lost)

    def _due(
        self, tables: Iterable[tuple[int, LeaseTable]], until: dict[Key, float], now: float
    ) -> list[tuple[int, HeldMessage]]:
        """What has passed half of its time by `until`, which forgets what is not held any more."""
        due: list[tuple[int, HeldMessage]] = []
        seen: dict[Key, float] = {}
        for worker, table in tables:
            for holding in table.holdings():
                key = (worker, holding.slot, holding.sequence)
                seen[key] = until.get(key, holding.lease_until)
                if holding.token and seen[key] - now <= self._lease_s / 2:
                    due.append((worker, holding))
        until.clear()
        until.update(seen)
        return due

    def _extended(
        self, until: dict[Key, float], due: Sequence[tuple[int, HeldMessage]], but: Collection[Key], now: float
    ) -> None:
        """Note that what was due has been extended, asked for at `now`, but for these."""
        for key in map(_key, due):
            if key not in but:
                until[key] = now + self._lease_s

    async def sweep(self, table: LeaseTable, *, blamed: Collection[int] | None) -> int:
        """End the claims of a worker that has ended, then release its messages; how many it held.

        blamed: slots whose messages count a death; None for a worker that drained, whose left-overs are not suspects.
        """
        holdings = list(table.holdings())
        claimed = [one for one in holdings if one.token]
        suspects = [one.key for one in claimed if blamed is not None and one.slot in blamed]
        others = [one.key for one in claimed if blamed is None or one.slot not in blamed]
        for attempt in range(_SWEEP_TRIES):
            try:
                if suspects:
                    await self._ledger.end(suspects)
                if others:
                    await self._ledger.give_back(others)
                break
            except LedgerUnavailable:
                await asyncio.sleep(_SWEEP_PAUSE_S * (attempt + 1))
        else:
            return len(holdings)  # claims and leases end by themselves
        for queue, some in _by_queue([(0, one) for one in holdings], self._queues).items():
            for batch in _chunks(some, self._broker.features.max_batch):
                await self._release(queue, [one for _, one in batch])
        return len(holdings)

    async def _release(self, queue: QueueName, holdings: Sequence[HeldMessage]) -> None:
        """Release messages; those that failed for a passing reason a few times. What is left ends with its lease."""
        left = [one.receipt for one in holdings]
        for attempt in range(_SWEEP_TRIES):
            if attempt:
                await asyncio.sleep(_SWEEP_PAUSE_S * attempt)
            try:
                answers = await self._broker.release(queue, [(receipt, 0.0) for receipt in left])
            except BrokerError as exc:  # an outage may be long, and the next worker waits for this
                self._broker_outage.goes_on(exc)
                return
            self._broker_outage.is_over()
            passing = (fault is not None and fault.fault is Fault.RETRY for fault in answers)
            left = [receipt for receipt, is_passing in zip(left, passing, strict=True) if is_passing]
            if not left:
                return


def is_overdue(holding: HeldMessage, now: float, after_s: float) -> bool:
    """Whether the running attempts of a message should have ended more than after_s seconds ago (monotonic now)."""
    return holding.standing is SlotState.RUNNING and holding.deadline > 0 and now > holding.deadline + after_s


def _key(one: tuple[int, HeldMessage]) -> Key:
    worker, holding = one
    return worker, holding.slot, holding.sequence


def _by_worker(lost: Iterable[Key]) -> Lost:
    result: Lost = defaultdict(list)
    for worker, slot, sequence in lost:
        result[worker].append((slot, sequence))
    return result


def _by_queue(due: Iterable[tuple[int, HeldMessage]], queues: Queues) -> dict[QueueName, list[tuple[int, HeldMessage]]]:
    grouped: dict[QueueName, list[tuple[int, HeldMessage]]] = defaultdict(list)
    for one in due:
        grouped[queues.all[one[1].queue]].append(one)
    return grouped


def _chunks(due: Sequence[tuple[int, HeldMessage]], size: int) -> Iterable[Sequence[tuple[int, HeldMessage]]]:
    return (due[start : start + size] for start in range(0, len(due), size))
