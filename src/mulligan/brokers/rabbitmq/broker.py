"""`RabbitBroker`: the seam `brokers.base` on RabbitMQ.

Two connections, each opened when it is first needed and again after it was lost: one to consume, one to publish,
because an alarm of the broker blocks connections that publish. A lease is a channel: when one closes, the messages that
it held are on their queue again. A receipt is `<generation>:<number>`; the generation is the name of the channel,
unique among all processes.
"""

import itertools
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pamqp import commands

from mulligan.brokers.base import Clock, Declared, Emit, Features, Owners, Queues
from mulligan.brokers.limit import batch_fault, delay_fault, lease_fault, size_fault
from mulligan.brokers.rabbitmq import codec
from mulligan.brokers.rabbitmq.amqp.channel import Channel
from mulligan.brokers.rabbitmq.amqp.connection import Connection
from mulligan.brokers.rabbitmq.amqp.error import ChannelClosed
from mulligan.brokers.rabbitmq.amqp.parameters import ConnectionParameters
from mulligan.brokers.rabbitmq.broker_url import parse
from mulligan.brokers.rabbitmq.error import broker_error
from mulligan.brokers.rabbitmq.fetcher import Fetcher
from mulligan.brokers.rabbitmq.provision import Provisioning
from mulligan.brokers.rabbitmq.publisher import Publication, Publisher
from mulligan.brokers.rabbitmq.reconnector import Reconnector
from mulligan.brokers.rabbitmq.topology import DELAY_MAX_S, Topology
from mulligan.brokers.rabbitmq.window import Taken
from mulligan.core import fingerprint
from mulligan.core.clock import Lead
from mulligan.core.delivery import Delivery, Depth, EntryFault, Fault, Outgoing
from mulligan.core.error import BrokerRefused
from mulligan.core.message import AttributeValue, QueueName

__all__ = ["FEATURES", "RabbitBroker"]

FEATURES = Features(
    max_batch=100,
    max_pollers=1,  # all receives share one buffer
    max_delay_s=float(DELAY_MAX_S),
    max_lease_s=float(DELAY_MAX_S),
    time_unit_s=1.0,
    max_message_bytes=16 * 2**20,  # the default of RabbitMQ 4; that of 3 is larger
    long_poll_s=20.0,
    keeps_lease=False,
    cancels_receive=True,
    counts_releases=False,  # a delay is a copy of the message, whose count starts again
)


class RabbitBroker:
    """Queues on RabbitMQ. Connects on the first call that needs it. Raises ConfigurationError."""

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        emit: Emit,
        rand_hex: Callable[[int], str] = secrets.token_hex,
        base_dir: Path | None = None,
    ) -> None:
        self._parameters = parse(url, base_dir)
        self._clock = clock
        self._consuming = Reconnector(self._parameters, "consume", emit)
        self._publishing = Reconnector(self._parameters, "publish", emit)
        self._publisher = Publisher(self._publishing.channel)
        self._stem = rand_hex(6)
        self._numbers = itertools.count(1)
        self._topology: Topology | None = None
        self._fetchers: dict[QueueName, Fetcher] = {}
        self._is_closed = False

    @property
    def features(self) -> Features:
        """See the seam."""
        return FEATURES

    @property
    def lead(self) -> Lead | None:
        """See the seam."""
        return None

    @property
    def billed(self) -> Mapping[str, int]:
        """See the seam."""
        return {}

    @property
    def parameters(self) -> ConnectionParameters:
        """Where the server is, and who logs in."""
        return self._parameters

    # -- queues

    async def declare(self, queues: Queues, *, create: bool, only: QueueName | None = None) -> Declared:  # noqa: ARG002
        """Find exchanges and queues, create those that are missing if `create`, and report what differs."""
        self._check_open()
        self._topology = Topology(queues)
        provisioning = Provisioning(self._topology, self.channel, self._parameters.vhost)
        try:
            return await provisioning.run(create=create)
        except ChannelClosed as exc:
            raise broker_error(self._parameters.where, exc, is_making=create) from None

    async def owners(self, queues: Queues) -> Owners:  # noqa: ARG002
        """None: `declare` refuses a queue with the arguments of another program."""
        return Owners()

    async def depth(self, queue: QueueName) -> Depth:
        """Ready: as the broker counts. Held: by this process only. Delayed: all of them count for rejects."""
        topology = self._ready()
        self._flush()
        fetcher = self._fetchers.get(queue)
        names = [queue]
        if queue == topology.queues.rejects:
            names += [QueueName(one.name) for one in topology.delay_queues]
        ready, *delayed = await self._counts(queue, names)
        held, ahead = (0, 0) if fetcher is None else (fetcher.held, fetcher.ready)
        return Depth(ready + ahead, sum(delayed), held, is_exact=False)

    async def attributes(self, queue: QueueName, max_count: int) -> list[Mapping[str, AttributeValue]] | None:  # noqa: ARG002
        """None: AMQP shows messages to their receivers only."""
        return None

    async def purge(self, queue: QueueName) -> None:
        """Not those that other processes hold, which return unless they are acknowledged."""
        topology = self._ready()
        try:
            channel = await self.channel()
            try:
                for level in topology.delay_queues:
                    await self._purge_level(channel, level.name, queue)
                if queue in self._fetchers:
                    self._fetchers[queue].ack_all()
                await channel.call(commands.Queue.Purge(0, queue))
            finally:
                channel.close_nowait()
        except ChannelClosed as exc:
            raise broker_error(queue, exc) from None

    # -- messages

    async def receive(self, queue: QueueName, max_count: int, *, wait_s: float, lease_s: float) -> list[Delivery]:
        """When cancelled, its messages stay on the queue."""
        if self._is_closed:
            return []
        if (fault := lease_fault(lease_s, FEATURES)) or (fault := batch_fault(max_count, FEATURES)):
            raise BrokerRefused(f"{queue}: {fault.reason}")
        generation, taken = await self._fetcher(queue).receive(max_count, wait_s)
        return [self._delivery(queue, generation, one) for one in taken]

    async def rest(self, queue: QueueName) -> None:
        """See the seam."""
        if queue in self._fetchers:
            await self._fetchers[queue].stop_prefetch()

    async def send(self, queue: QueueName, entries: Sequence[Outgoing]) -> list[EntryFault | None]:
        """Persistent and confirmed; REFUSED when no queue takes it."""
        topology = self._ready(len(entries))
        if not entries:
            return []
        may_wrap = queue != topology.queues.requests
        try:
            max_bytes = (await self._publishing.connection()).payload_max_bytes
        except ChannelClosed as exc:
            raise broker_error(queue, exc) from None
        results: list[EntryFault | None] = [None] * len(entries)
        publications: list[Publication] = []
        places: list[int] = []
        for index, entry in enumerate(entries):
            fault = size_fault(entry, FEATURES) or delay_fault(entry.delay_s, FEATURES)
            if fault is not None:
                results[index] = fault
                continue
            try:
                header, body = codec.encode(
                    entry.attributes, entry.body, self._new_copy(), may_wrap=may_wrap, max_bytes=max_bytes
                )
            except codec.Refused as exc:
                results[index] = EntryFault(Fault.REFUSED, f"{queue}: the message can't be sent: {exc}")
                continue
            publications.append(Publication(topology.place(queue, entry.delay_s), header, body))
            places.append(index)
        for index, fault in zip(places, await self._publisher.publish(queue, publications), strict=True):
            results[index] = fault
        return results

    async def ack(self, queue: QueueName, receipts: Sequence[str]) -> list[EntryFault | None]:
        """Sent within 50 ms. A message whose acknowledgement is lost is delivered again; the ledger skips it."""
        self._ready(len(receipts))
        return self._fetcher(queue).ack(receipts)

    async def release(self, queue: QueueName, entries: Sequence[tuple[str, float]]) -> list[EntryFault | None]:
        """With a delay: a copy goes to its delay level and is confirmed, and then this one is removed."""
        topology = self._ready(len(entries))
        fetcher = self._fetcher(queue)
        results: list[EntryFault | None] = [delay_fault(delay_s, FEATURES) for _, delay_s in entries]
        now = [at for at, (_, delay_s) in enumerate(entries) if results[at] is None and delay_s == 0]
        for at, fault in zip(now, await fetcher.release([entries[at][0] for at in now]), strict=True):
            results[at] = fault
        later: list[int] = []
        publications: list[Publication] = []
        for at, (receipt, delay_s) in enumerate(entries):
            if results[at] is not None or delay_s == 0:
                continue
            found = fetcher.content(receipt)
            if found is None:
                results[at] = EntryFault(Fault.LEASE_LOST, f"receipt {receipt}: it is no longer held here")
                continue
            header, body = codec.redelivered(*found, delay_prefix=topology.delay_prefix)
            publications.append(Publication(topology.place(queue, delay_s), header, body))
            later.append(at)
        copied = await self._publisher.publish(queue, publications)
        gone = [at for at, fault in zip(later, copied, strict=True) if fault is None]
        for at, fault in zip(later, copied, strict=True):
            results[at] = fault
        for at, fault in zip(gone, fetcher.ack([entries[at][0] for at in gone]), strict=True):
            results[at] = fault
        return results

    async def extend(self, queue: QueueName, entries: Sequence[tuple[str, float]]) -> list[EntryFault | None]:
        """Changes nothing: a lease lasts as long as its channel. LEASE_LOST where that is closed."""
        self._ready(len(entries))
        fetcher = self._fetcher(queue)
        return [
            lease_fault(lease_s, FEATURES)
            or (None if fetcher.content(receipt) is not None else EntryFault(Fault.LEASE_LOST, f"receipt {receipt}"))
            for receipt, lease_s in entries
        ]

    async def close(self) -> None:
        """Messages that are held or in a buffer return to their queues immediately."""
        self._is_closed = True
        for fetcher in self._fetchers.values():
            fetcher.stop()
        for fetcher in self._fetchers.values():
            await fetcher.close()
        await self._publishing.close()
        await self._consuming.close()

    # -- inside

    async def channel(self) -> Channel:
        """A new channel of the connection that consumes. Raises ChannelClosed."""
        return await self._consuming.channel()

    async def publishing_channel(self) -> Channel:
        """A new channel of the connection that publishes. Raises ChannelClosed."""
        return await self._publishing.channel()

    async def publishing(self) -> Connection:
        """The connection that publishes. Raises ChannelClosed."""
        return await self._publishing.connection()

    async def waiting(self, queue: str) -> int:
        """Messages that a queue could deliver now. Raises BrokerUnavailable, BrokerRefused."""
        return (await self._counts(QueueName(queue), [QueueName(queue)]))[0]

    @property
    def topology(self) -> Topology:
        """The exchanges and queues of the prefix. Raises BrokerRefused before `declare`."""
        return self._ready()

    def _delivery(self, queue: QueueName, generation: str, taken: Taken) -> Delivery:
        number, header, body = taken
        topology = self._ready()
        found = codec.decode(
            header, body, delay_prefix=topology.delay_prefix, may_unwrap=queue != topology.queues.requests
        )
        receipt = f"{generation}:{number}"
        return Delivery(
            queue,
            receipt,
            found.copy or receipt,
            found.body,
            found.attributes,
            self._clock.now() if found.sent_at is None else found.sent_at,
            found.receive_count,
            is_dated=found.sent_at is not None,
        )

    def _new_copy(self) -> str:
        return fingerprint.new_id(self._clock.now(), f"{self._stem}{next(self._numbers):06x}")

    def _fetcher(self, queue: QueueName) -> Fetcher:
        fetcher = self._fetchers.get(queue)
        if fetcher is None:
            fetcher = self._fetchers[queue] = Fetcher(queue, self._consuming.channel, self._new_generation)
        return fetcher

    def _new_generation(self) -> str:
        return f"{self._stem}.{next(self._numbers)}"

    def _flush(self) -> None:
        for fetcher in self._fetchers.values():
            fetcher.flush()

    async def _counts(self, queue: QueueName, names: Sequence[QueueName]) -> list[int]:
        try:
            channel = await self.channel()
            try:
                found = [await channel.call(commands.Queue.Declare(0, name, passive=True)) for name in names]
            finally:
                channel.close_nowait()
        except ChannelClosed as exc:
            raise broker_error(queue, exc) from None
        return [int(one.message_count or 0) for one in found]

    async def _purge_level(self, channel: Channel, level: str, queue: QueueName) -> None:
        """Remove the messages of one level that are bound for the queue, and return the others."""
        topology = self._ready()
        others = []
        while isinstance(found := await channel.call(commands.Basic.Get(0, level)), tuple):
            number, _header, _body, key, _left = found
            if topology.is_for(key, queue):
                channel.ack(number)
            else:
                others.append(number)
        channel.nack(others)

    def _ready(self, count: int = 0) -> Topology:
        self._check_open()
        if fault := batch_fault(count, FEATURES):
            raise BrokerRefused(f"RabbitMQ {self._parameters.where}: {fault.reason}")
        if self._topology is None:
            raise BrokerRefused(f"RabbitMQ {self._parameters.where}: call declare before any other method.")
        return self._topology

    def _check_open(self) -> None:
        if self._is_closed:
            raise BrokerRefused(f"The broker {self._parameters.where} is closed. Open a new one.")
