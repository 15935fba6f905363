"""A broker as bad as brokers may be: the queues, and each process's connection to them.

Twins, reordering, false empties, lost requests and replies, partial batches, slow and stuck calls, throttling, outages,
leases that end, removals that don't last, estimates of depth. The dice are the world's, so a seed repeats them.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mulligan.brokers.base import Declared, Features, Owners
from mulligan.brokers.limit import delay_fault, size_fault
from mulligan.core import retry_state
from mulligan.core.delivery import Delivery, Depth, EntryFault, Fault, Outgoing, Queues
from mulligan.core.error import BrokerRefused, BrokerUnavailable
from mulligan.core.message import QueueName, Uid
from mulligan.core.progress import Progress
from tests.simulation.loop import PROCESS

__all__ = ["FEATURES", "SimBroker", "SimQueues"]

_MEMORY_LIKE = Features(
    max_batch=100, max_pollers=1, max_delay_s=1e6, max_lease_s=43_200.0, time_unit_s=0.001,
    max_message_bytes=2**20, cancels_receive=True,
)  # fmt: skip
_SQS_LIKE = Features(
    max_batch=10, max_pollers=3, max_delay_s=900.0, max_lease_s=43_200.0, time_unit_s=1.0, max_message_bytes=2**18,
    max_attributes=10, type_bytes=6, is_text=True, linger_s=1.0, has_price=True,
)  # fmt: skip
FEATURES = {
    "memory": _MEMORY_LIKE,
    "sqs": _SQS_LIKE,
    "short": replace(_MEMORY_LIKE, max_batch=3, max_pollers=2, max_delay_s=4.0),  # delays that it can't hold
    "small": replace(_SQS_LIKE, max_message_bytes=900, has_price=False, linger_s=0.0),  # copies that don't fit
    "fifo": replace(_SQS_LIKE, linger_s=0.1),  # requests in groups, one message of each at a time
    # the lease is the connection
    "rabbit": replace(_MEMORY_LIKE, max_batch=20, keeps_lease=False, counts_releases=False),
}

RETRY = EntryFault(Fault.RETRY, "try again")
REFUSED = EntryFault(Fault.REFUSED, "not like this")


@dataclass(slots=True)
class Stored:
    """One copy of a message on a queue.

    reader: the connection that holds it, where leases are connections. taker: the process that received it last.
    redriven: how often it had been received when it was moved away by its queue, and put back by a person.
    """

    delivery: Delivery
    uid: Uid
    generation: int
    hop: int
    progress: Progress | None
    visible_at: float
    count: int = 0
    is_leased: bool = False
    reader: Any = None
    taker: Any = None
    returns: int = 0
    redriven: int = 0


@dataclass(slots=True)
class Queue:
    name: QueueName
    stored: dict[str, Stored] = field(default_factory=dict)
    waiting: dict[asyncio.Event, None] = field(default_factory=dict)

    def wake(self) -> None:
        for event in self.waiting:
            event.set()


class SimQueues:
    """The content of the three queues."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.queues = {name: Queue(name) for name in world.queues.all}
        self._numbers = 0
        self._sent: set[str] = set()

    def put(self, name: QueueName, outgoing: Outgoing) -> Stored | None:
        """Have a message on a queue, durably."""
        world = self.world
        if name.endswith(".fifo") and outgoing.dedup_id is not None:
            if outgoing.dedup_id in self._sent:
                return None
            self._sent.add(outgoing.dedup_id)
        is_trusted = name != world.queues.requests
        message, told, _ = retry_state.read(self._delivery(name, outgoing), world.queues.prefix, is_trusted=is_trusted)
        stored = self.place(
            name, outgoing, message.uid, told.generation if told else 0, told.hop if told else 0,
            told.progress if told else None,
        )  # fmt: skip
        world.watch.put(name, stored, is_ours=told is not None)
        return stored

    def place(
        self, name: QueueName, outgoing: Outgoing, uid: str, generation: int, hop: int, progress: Progress | None
    ) -> Stored:
        """Have a message on a queue of which that much is known."""
        delivery = self._delivery(name, outgoing)
        self._numbers += 1
        visible_at = self.world.loop.time() + outgoing.delay_s
        stored = Stored(delivery, Uid(uid), generation, hop, progress, visible_at)
        self.queues[name].stored[delivery.id] = stored
        self.queues[name].wake()
        return stored

    def _delivery(self, name: QueueName, outgoing: Outgoing) -> Delivery:
        now = self.world.true_now()
        return Delivery(name, "", f"b{self._numbers + 1}", outgoing.body, outgoing.attributes, now, 1, outgoing.group)

    def depth(self, name: QueueName) -> int:
        return len(self.queues[name].stored)

    def disconnect(self, connection: "SimBroker") -> None:
        """A connection is gone: what it held, where leases are connections, is there again."""
        now = self.world.loop.time()
        for queue in self.queues.values():
            for stored in queue.stored.values():
                if stored.reader is connection:
                    stored.reader, stored.is_leased, stored.visible_at = None, False, now
            queue.wake()


class SimBroker:
    """The connection of one process."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.features: Features = world.features
        self.billed: dict[str, int] = {}
        self.process = PROCESS.get()
        self._is_closed = False
        if not self.features.keeps_lease:
            world.connections.append(self)
        if self.process is not None and not self.features.keeps_lease:
            self.process.at_end.append(lambda: world.stored.disconnect(self))

    async def declare(self, queues: Any, *, create: bool, only: Any = None) -> Declared:
        if self.world.is_away_at_start(self.world.broker_down_until):
            raise BrokerUnavailable("the broker is away")
        return Declared((), receives=self.world.receives)

    lead = None

    async def owners(self, queues: Queues) -> Owners:
        """Nothing to say."""
        return Owners()

    async def receive(self, queue: QueueName, max_count: int, *, wait_s: float, lease_s: float) -> list[Delivery]:
        world, target = self.world, self.world.stored.queues[queue]
        await self._request()
        if world.chance("false_empty"):
            await asyncio.sleep(wait_s * world.dice.random())
            return []
        until = world.loop.time() + wait_s
        rung = asyncio.Event()
        target.waiting[rung] = None
        try:
            while not self._is_closed:
                taken = self._take(target, max_count, lease_s)
                if taken or world.loop.time() >= until:
                    break
                await self._pause(target, rung, until)
            else:
                return []
        finally:
            target.waiting.pop(rung, None)
        if taken:
            await self._reply("receive")
        return taken

    def _take(self, target: Queue, max_count: int, lease_s: float) -> list[Delivery]:
        world = self.world
        now = world.loop.time()
        ready = [one for one in target.stored.values() if one.visible_at <= now]
        if target.name.endswith(".fifo"):
            ready = _unblocked(target, now)
        elif world.chance("reorder"):
            world.dice.shuffle(ready)
        twins = [one for one in target.stored.values() if one.is_leased and one.visible_at > now]
        if twins and not target.name.endswith(".fifo") and world.chance("twin"):
            ready.append(world.dice.choice(twins))
        taken = []
        for stored in ready[:max_count]:
            if stored.count - stored.redriven >= world.receives.get(target.name, 1_000_000):
                world.watch.redriven(target.name, stored)
                stored.redriven = stored.count
            stored.count += 1
            stored.is_leased = True
            stored.visible_at = now + lease_s if self.features.keeps_lease else float("inf")
            if target.name.endswith(".fifo") and world.chance("ends_early"):
                # somebody gave it back: it may be received again while what is behind it in its group is in flight
                stored.visible_at = now + lease_s * world.dice.random()
            stored.reader = None if self.features.keeps_lease else self
            stored.taker = self.process
            count = stored.count - stored.redriven
            taken.append(replace(stored.delivery, receipt=f"{stored.delivery.id}.{stored.count}", receive_count=count))
        return taken

    async def _pause(self, target: Queue, rung: asyncio.Event, until: float) -> None:
        rung.clear()
        now = self.world.loop.time()
        first = min((one.visible_at for one in target.stored.values() if one.visible_at > now), default=until)
        try:
            async with asyncio.timeout(max(0.001, min(first, until) - now)):
                await rung.wait()
        except TimeoutError:
            return

    async def rest(self, queue: QueueName) -> None:
        """Nothing is fetched ahead."""

    async def send(self, queue: QueueName, entries: Sequence[Outgoing]) -> list[EntryFault | None]:
        def work(entry: Outgoing) -> EntryFault | None:
            fault = size_fault(entry, self.features) or delay_fault(entry.delay_s, self.features)
            if fault is None:
                self.world.stored.put(queue, entry)
                if self.world.chance("twin_send"):
                    self.world.stored.put(queue, entry)
            return fault

        return await self._batch("send", entries, work, is_refusable=True)

    async def ack(self, queue: QueueName, receipts: Sequence[str]) -> list[EntryFault | None]:
        target = self.world.stored.queues[queue]

        def work(receipt: str) -> EntryFault | None:
            name, _, count = receipt.partition(".")
            stored = target.stored.get(name)
            if stored is None:
                return None
            # a FIFO queue takes no receipt whose lease has ended, though nobody else may have got the message
            is_late = queue.endswith(".fifo") and stored.visible_at <= self.world.loop.time()
            if (stored.count != int(count) and not self.world.is_lenient) or is_late:
                return _lost(receipt)
            self.world.watch.acked(queue, stored)
            may_return = stored.returns < 1 and not queue.endswith(".fifo") and self.features.keeps_lease
            if may_return and self.world.chance("returns"):
                stored.returns += 1  # removed, says one server; another still has it
                stored.visible_at = self.world.loop.time() + self.world.dice.random() * 20
                stored.is_leased = False
                return None
            del target.stored[name]
            target.wake()  # its group may go on
            return None

        return await self._batch("ack", receipts, work)

    async def release(self, queue: QueueName, entries: Sequence[tuple[str, float]]) -> list[EntryFault | None]:
        def work(entry: tuple[str, float]) -> EntryFault | None:
            return self._move(queue, *entry, is_leased=False)

        answers = await self._batch("release", entries, work)
        self.world.stored.queues[queue].wake()
        return answers

    async def extend(self, queue: QueueName, entries: Sequence[tuple[str, float]]) -> list[EntryFault | None]:
        return await self._batch("extend", entries, lambda entry: self._move(queue, *entry, is_leased=True))

    def _move(self, queue: QueueName, receipt: str, by_s: float, *, is_leased: bool) -> EntryFault | None:
        name, _, count = receipt.partition(".")
        stored = self.world.stored.queues[queue].stored.get(name)
        if stored is None or stored.count != int(count) or not stored.is_leased:
            return _lost(receipt)
        if not self.features.keeps_lease and stored.reader is not self:
            return _lost(receipt)
        if not is_leased:
            self.world.watch.released(stored, self.process)
            stored.reader = None
        stored.is_leased = is_leased
        stored.visible_at = self.world.loop.time() + by_s
        return None

    async def depth(self, queue: QueueName) -> Depth:
        await self._request()
        world, now = self.world, self.world.loop.time()
        stored = world.stored.queues[queue].stored.values()
        ready = sum(1 for one in stored if one.visible_at <= now)
        in_flight = sum(1 for one in stored if one.visible_at > now and one.is_leased)
        delayed = len(stored) - ready - in_flight
        if world.is_estimating and world.dice.random() < 0.5:
            ready, delayed, in_flight = (world.dice.choice((0, one)) for one in (ready, delayed, in_flight))
        return Depth(ready, delayed, in_flight, None, is_exact=not world.is_estimating)

    async def attributes(self, queue: QueueName, max_count: int) -> None:
        """Messages are shown to their receivers only."""

    async def purge(self, queue: QueueName) -> None:
        raise AssertionError("nobody purges a queue by himself")

    async def close(self) -> None:
        self._is_closed = True
        for queue in self.world.stored.queues.values():
            queue.wake()

    # -- the network

    async def _request(self) -> None:
        """The way there. Raises when it does not arrive."""
        world = self.world
        await asyncio.sleep(world.latency())
        if world.broker_down_until > world.loop.time():
            await asyncio.sleep(world.dice.random() * world.outage_hang_s)
            raise BrokerUnavailable("the broker is down")
        if world.chance("refused_call"):
            raise BrokerRefused("no rights today")
        if world.chance("lost_request"):
            raise BrokerUnavailable(world.dice.choice(("throttled", "connection refused")))
        await world.slow()

    async def _reply(self, method: str) -> None:
        """The way back. Raises when it is lost: what was asked for has been done."""
        world = self.world
        await asyncio.sleep(world.latency())
        await world.slow()
        if world.chance("lost_reply"):
            world.loop.told(self.process, f"the reply to its {method} is lost")
            raise BrokerUnavailable("the reply was lost")

    async def _batch(self, method: str, entries: Sequence[Any], work: Any, *, is_refusable: bool = False) -> list[Any]:
        await self._request()
        answers: list[EntryFault | None] = []
        for entry in entries:
            if self.world.chance("partial"):
                # told as failed, it may have been done all the same
                if self.world.dice.random() < 0.3:
                    work(entry)
                is_refused = is_refusable and self.world.dice.random() < 0.2
                answers.append(REFUSED if is_refused else RETRY)
            else:
                answers.append(work(entry))
        await self._reply(method)
        return answers


def _unblocked(queue: Queue, now: float) -> list[Stored]:
    """What of a FIFO queue may be received: what is in flight or held back blocks what comes after it in its group.

    Nothing before it: an earlier one that is given back may be received while later ones are in flight.
    """
    blocked: set[str | None] = set()
    free = []
    for one in queue.stored.values():
        if one.visible_at > now:
            blocked.add(one.delivery.group)
        elif one.delivery.group not in blocked:
            free.append(one)
    return free


def _lost(receipt: str) -> EntryFault:
    return EntryFault(Fault.LEASE_LOST, f"receipt {receipt} is not the newest")
