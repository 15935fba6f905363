"""Keeps the leases and claims of every worker, from the supervisor: no task can stop it, however it holds its worker.

It reads the workers' lease tables. What passes half of its lease is extended, lease and claim together, in batches.
When a worker has ended, its claims are ended first, then its messages are released.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from mulligan.brokers.base import Broker, Emit, Queues
from mulligan.clock import SystemClock
from mulligan.core.delivery import Fault
from mulligan.core.error import BrokerError, LedgerError, LedgerUnavailable
from mulligan.core.message import QueueName
from mulligan.ledger.base import Ledger
from mulligan.worker.outage import of_broker, of_ledger
from mulligan.worker.table import Holding, LeaseTable, Standing

__all__ = ["Keeper", "is_overdue"]

_SWEEP_TRIES = 5
_SWEEP_PAUSE_S = 0.5

Key = tuple[int, int, int]


class Keeper:
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
        self._until: dict[Key, float] = {}
        self._broker_outage = of_broker(clock, emit, "extending leases")
        self._ledger_outage = of_ledger(clock, emit)

    @property
    def interval_s(self) -> float:
        """How often `extend` wants to be called."""
        return min(5.0, self._lease_s / 8)

    async def extend(self, tables: Iterable[tuple[int, LeaseTable]]) -> dict[int, list[tuple[int, int]]]:
        """Extend what has passed half of its lease. tables: (worker, table).

        Returns by worker the (slot, sequence) that are somebody else's now. What could not be extended for a passing
        reason is tried again at the next call.
        """
        now = self._clock.monotonic()
        seen: dict[Key, float] = {}
        due: list[tuple[int, Holding]] = []
        by_number: dict[int, LeaseTable] = {}
        for worker, table in tables:
            by_number[worker] = table
            for holding in table.holdings():
                key = (worker, holding.slot, holding.sequence)
                until = seen[key] = self._until.get(key, holding.lease_until)
                if holding.token and until - now <= self._lease_s / 2:
                    due.append((worker, holding))
        self._until = seen
        if not due:
            return {}
        lost, missed = await self._extend(due, by_number)
        kept_until = now + self._lease_s
        for worker, holding in due:
            key = (worker, holding.slot, holding.sequence)
            if key not in lost and key not in missed and key in self._until:
                self._until[key] = kept_until
        result: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for worker, slot, sequence in lost:
            result[worker].append((slot, sequence))
        return result

    async def sweep(self, table: LeaseTable, *, guilty: Collection[int] | None) -> int:
        """End the claims of a worker that has ended, then release its messages; how many it held.

        guilty: slots whose messages count a death; None for a worker that drained, whose left-overs are no suspects.
        """
        holdings = list(table.holdings())
        claimed = [one for one in holdings if one.token]
        suspects = [one.key for one in claimed if guilty is not None and one.slot in guilty]
        others = [one.key for one in claimed if guilty is None or one.slot not in guilty]
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
        for queue, some in _by_queue(holdings, self._queues).items():
            for batch in _chunks(some, self._broker.features.max_batch):
                await self._release(queue, batch)
        return len(holdings)

    async def _release(self, queue: QueueName, holdings: Sequence[Holding]) -> None:
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

    async def _extend(
        self, due: Sequence[tuple[int, Holding]], tables: Mapping[int, LeaseTable]
    ) -> tuple[set[Key], set[Key]]:
        """The keys that are lost, and those of which claim or lease could not be extended now."""
        now = self._clock.monotonic()
        lost: set[Key] = set()
        missed: set[Key] = set()
        try:
            kept = await self._ledger.extend([one.key for _, one in due], self._clock.now() + self._lease_s)
            for (worker, holding), is_kept in zip(due, kept, strict=True):
                if is_kept:
                    tables[worker].keep(holding, now + self._lease_s)
                else:
                    lost.add((worker, holding.slot, holding.sequence))
        except LedgerError as exc:
            # the leases are extended all the same, or every message in flight would come back and run again
            self._ledger_outage.goes_on(exc)
            missed.update((worker, holding.slot, holding.sequence) for worker, holding in due)
        else:
            self._ledger_outage.is_over()
        if self._broker.features.keeps_lease:
            await self._extend_leases(due, lost, missed)
        return lost, missed

    async def _extend_leases(self, due: Sequence[tuple[int, Holding]], lost: set[Key], missed: set[Key]) -> None:
        is_down = False
        keys = {id(holding): (worker, holding.slot, holding.sequence) for worker, holding in due}
        for queue, some in _by_queue([one for _, one in due], self._queues).items():
            for batch in _chunks(some, self._broker.features.max_batch):
                try:
                    answers = await self._broker.extend(queue, [(one.receipt, self._lease_s) for one in batch])
                except BrokerError as exc:  # the others may have better luck, and every lease counts
                    is_down = True
                    self._broker_outage.goes_on(exc)
                    missed.update(keys[id(one)] for one in batch)
                    continue
                for one, fault in zip(batch, answers, strict=True):
                    if fault is not None:
                        (lost if fault.fault is Fault.LEASE_LOST else missed).add(keys[id(one)])
        if not is_down:
            self._broker_outage.is_over()


def is_overdue(holding: Holding, now: float, after_s: float) -> bool:
    """Whether the running attempts of a message should have ended more than after_s seconds ago (monotonic now)."""
    return holding.standing is Standing.RUNNING and holding.deadline > 0 and now > holding.deadline + after_s


def _by_queue(holdings: Iterable[Holding], queues: Queues) -> dict[QueueName, list[Holding]]:
    grouped: dict[QueueName, list[Holding]] = defaultdict(list)
    for holding in holdings:
        grouped[queues.all[holding.queue]].append(holding)
    return grouped


def _chunks(holdings: Sequence[Holding], size: int) -> Iterable[Sequence[Holding]]:
    return (holdings[start : start + size] for start in range(0, len(holdings), size))
