"""The broker in memory: for tests and simulations, and the reference of what the others must do.

It waits with the event loop's own timers only, so it runs under a loop of virtual time as well.
"""

import asyncio
import heapq
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mulligan.brokers.base import Clock, Declared, Features, Owners, Queues, not_there
from mulligan.brokers.limit import batch_fault, delay_fault, lease_fault, size_fault
from mulligan.core.clock import Lead
from mulligan.core.delivery import Delivery, Depth, EntryFault, Fault, Outgoing
from mulligan.core.error import BrokerRefused
from mulligan.core.message import AttributeValue, QueueName

__all__ = ["MemoryBroker", "MemoryQueues"]

FEATURES = Features(
    max_batch=100,
    max_pollers=1,
    max_delay_s=10 * 365 * 86_400.0,
    max_lease_s=43_200.0,
    time_unit_s=0.001,
    max_message_bytes=16 * 2**20,
    cancels_receive=True,
)


@dataclass(slots=True)
class _Stored:
    id: int
    outgoing: Outgoing
    sent_at: float
    visible_at: float  # monotonic
    receive_count: int = 0
    is_leased: bool = False


@dataclass(slots=True)
class _Queue:
    stored: dict[int, _Stored] = field(default_factory=dict)
    # (visible_at, id), oldest first; an entry that no longer agrees with `stored` is passed over
    order: list[tuple[float, int]] = field(default_factory=list)
    waiting: dict[asyncio.Event, None] = field(default_factory=dict)  # a dict keeps the order, so that runs repeat

    def place(self, stored: _Stored) -> None:
        heapq.heappush(self.order, (stored.visible_at, stored.id))

    def first(self) -> _Stored | None:
        """The message that may be received earliest."""
        while self.order:
            visible_at, number = self.order[0]
            stored = self.stored.get(number)
            if stored is not None and stored.visible_at == visible_at:
                return stored
            heapq.heappop(self.order)
        return None

    def wake(self) -> None:
        for event in self.waiting:
            event.set()


class MemoryQueues:
    """The content of the queues. Several brokers on one object are several workers on one service."""

    def __init__(self) -> None:
        self._queues: dict[QueueName, _Queue] = {}
        self._numbers = itertools.count(1)

    def declare(self, name: QueueName) -> bool:
        """Create the queue; False when it was there."""
        if name in self._queues:
            return False
        self._queues[name] = _Queue()
        return True

    def has(self, name: QueueName) -> bool:
        """Whether the queue is there."""
        return name in self._queues

    def get(self, name: QueueName) -> _Queue:
        """The queue. Raises BrokerRefused when it was never declared."""
        found = self._queues.get(name)
        if found is None:
            raise BrokerRefused(f"memory broker: there is no queue {name!r}. Declare it first (CREATE_QUEUES).")
        return found

    def number(self) -> int:
        """A number that no message had yet."""
        return next(self._numbers)


class MemoryBroker:
    """A broker on `queues`, its own if none are given."""

    def __init__(self, clock: Clock, queues: MemoryQueues | None = None) -> None:
        self._clock = clock
        self._queues = MemoryQueues() if queues is None else queues
        self._waiting: dict[asyncio.Event, None] = {}
        self._is_closed = False

    @property
    def lead(self) -> Lead | None:
        """See the seam."""
        return None

    @property
    def billed(self) -> Mapping[str, int]:
        """See the seam."""
        return {}

    @property
    def features(self) -> Features:
        """See the seam."""
        return FEATURES

    async def declare(self, queues: Queues, *, create: bool, only: QueueName | None = None) -> Declared:  # noqa: ARG002
        """See the seam."""
        self._check_open()
        if create:
            return Declared(tuple(name for name in queues.all if self._queues.declare(name)))
        missing = tuple(name for name in queues.all if not self._queues.has(name))
        return Declared((), (not_there(missing, "memory broker"),) if missing else (), missing=missing)

    async def owners(self, queues: Queues) -> Owners:  # noqa: ARG002
        """Nothing to say."""
        return Owners()

    async def receive(self, queue: QueueName, max_count: int, *, wait_s: float, lease_s: float) -> list[Delivery]:
        """See the seam."""
        if fault := lease_fault(lease_s, FEATURES):
            raise BrokerRefused(f"memory broker: {fault.reason}")
        target = self._queues.get(queue)
        deadline = self._loop_time() + wait_s
        rung = asyncio.Event()
        target.waiting[rung] = None
        self._waiting[rung] = None
        try:
            while True:
                if self._is_closed:
                    return []
                deliveries = self._take(queue, target, min(max_count, FEATURES.max_batch), lease_s)
                left_s = deadline - self._loop_time()
                if deliveries or left_s <= 0:
                    return deliveries
                rung.clear()
                await self._pause(target, rung, left_s)
        finally:
            target.waiting.pop(rung, None)
            self._waiting.pop(rung, None)

    def _take(self, name: QueueName, target: _Queue, max_count: int, lease_s: float) -> list[Delivery]:
        now = self._clock.monotonic()
        taken: list[Delivery] = []
        while len(taken) < max_count:
            stored = target.first()
            if stored is None or stored.visible_at > now:
                break
            heapq.heappop(target.order)
            stored.receive_count += 1
            stored.is_leased = True
            stored.visible_at = now + lease_s
            taken.append(_delivery(name, stored))
            target.place(stored)
        return taken

    async def _pause(self, target: _Queue, rung: asyncio.Event, left_s: float) -> None:
        first = target.first()
        if first is not None:
            left_s = min(left_s, max(first.visible_at - self._clock.monotonic(), FEATURES.time_unit_s))
        try:
            async with asyncio.timeout(left_s):
                await rung.wait()
        except TimeoutError:
            pass

    async def rest(self, queue: QueueName) -> None:
        """Nothing is fetched ahead."""

    async def send(self, queue: QueueName, entries: Sequence[Outgoing]) -> list[EntryFault | None]:
        """See the seam."""
        target = self._target(queue, len(entries))
        now, sent_at = self._clock.monotonic(), self._clock.now()
        answers = [size_fault(entry, FEATURES) or delay_fault(entry.delay_s, FEATURES) for entry in entries]
        for entry, fault in zip(entries, answers, strict=True):
            if fault is None:
                stored = _Stored(self._queues.number(), entry, sent_at, now + entry.delay_s)
                target.stored[stored.id] = stored
                target.place(stored)
        target.wake()
        return answers

    async def ack(self, queue: QueueName, receipts: Sequence[str]) -> list[EntryFault | None]:
        """See the seam."""
        target = self._target(queue, len(receipts))
        answers: list[EntryFault | None] = []
        for receipt in receipts:
            number, count = _parsed(receipt)
            stored = target.stored.get(number)
            if stored is not None and stored.receive_count != count:
                answers.append(_lost(receipt))
                continue
            target.stored.pop(number, None)
            answers.append(None)
        return answers

    async def release(self, queue: QueueName, entries: Sequence[tuple[str, float]]) -> list[EntryFault | None]:
        """See the seam."""
        target = self._target(queue, len(entries))
        answers = [
            delay_fault(delay_s, FEATURES) or self._move(target, receipt, delay_s, is_leased=False)
            for receipt, delay_s in entries
        ]
        target.wake()
        return answers

    async def extend(self, queue: QueueName, entries: Sequence[tuple[str, float]]) -> list[EntryFault | None]:
        """See the seam."""
        target = self._target(queue, len(entries))
        return [
            lease_fault(lease_s, FEATURES) or self._move(target, receipt, lease_s, is_leased=True)
            for receipt, lease_s in entries
        ]

    def _move(self, target: _Queue, receipt: str, by_s: float, *, is_leased: bool) -> EntryFault | None:
        number, count = _parsed(receipt)
        stored = target.stored.get(number)
        if stored is None or stored.receive_count != count or not stored.is_leased:
            return _lost(receipt)
        stored.is_leased = is_leased
        stored.visible_at = self._clock.monotonic() + by_s
        target.place(stored)
        return None

    async def depth(self, queue: QueueName) -> Depth:
        """See the seam."""
        stored = self._target(queue, 0).stored.values()
        now = self._clock.monotonic()
        return Depth(
            ready=sum(1 for one in stored if one.visible_at <= now),
            delayed=sum(1 for one in stored if one.visible_at > now and not one.is_leased),
            in_flight=sum(1 for one in stored if one.visible_at > now and one.is_leased),
            oldest_age_s=max((max(0.0, self._clock.now() - one.sent_at) for one in stored), default=None),
        )

    async def attributes(self, queue: QueueName, max_count: int) -> list[Mapping[str, AttributeValue]] | None:
        """See the seam."""
        stored = itertools.islice(self._queues.get(queue).stored.values(), max_count)
        return [one.outgoing.attributes for one in stored]

    async def purge(self, queue: QueueName) -> None:
        """See the seam."""
        target = self._target(queue, 0)
        target.stored.clear()
        target.order.clear()

    async def close(self) -> None:
        """See the seam. The content of the queues stays."""
        self._is_closed = True
        for event in self._waiting:
            event.set()

    def _target(self, queue: QueueName, count: int) -> _Queue:
        self._check_open()
        if fault := batch_fault(count, FEATURES):
            raise BrokerRefused(f"memory broker: {fault.reason}")
        return self._queues.get(queue)

    def _check_open(self) -> None:
        if self._is_closed:
            raise BrokerRefused("memory broker: it is closed. Make a new one.")

    def _loop_time(self) -> float:
        return asyncio.get_running_loop().time()


def _delivery(queue: QueueName, stored: _Stored) -> Delivery:
    return Delivery(
        queue=queue,
        receipt=f"{stored.id}.{stored.receive_count}",
        id=str(stored.id),
        body=stored.outgoing.body,
        attributes=stored.outgoing.attributes,
        sent_at=stored.sent_at,
        receive_count=stored.receive_count,
    )


def _parsed(receipt: str) -> tuple[int, int]:
    number, _, count = receipt.partition(".")
    if not (number.isdecimal() and count.isdecimal()):
        raise BrokerRefused(f"memory broker: {receipt!r} is not a receipt of this broker.")
    return int(number), int(count)


def _lost(receipt: str) -> EntryFault:
    return EntryFault(Fault.LEASE_LOST, f"receipt {receipt}: the message was received again, released or removed")
