"""`SqsBroker`: the seam `brokers.base` on Amazon SQS, or on a server that speaks like it.

A receipt is `<second>:<handle>`: the monotonic second at which its receive was sent. SQS ends every lease 12 hours
after the receipt, and the process that extends it, which is another one, must know how much is left.
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

from mulligan.blocking import in_thread
from mulligan.brokers.base import Clock, Declared, Emit, Features, Owners, Queues
from mulligan.brokers.limit import batch_fault, lease_fault
from mulligan.brokers.sqs import batch, codec, foreign, move, owner, setup
from mulligan.brokers.sqs.abandoned import AbandonedReceives
from mulligan.brokers.sqs.batch import BATCH_MAX, Queue
from mulligan.brokers.sqs.client import Client, Counts, PollCut
from mulligan.brokers.sqs.codec import SendEntry
from mulligan.brokers.sqs.credentials import Credentials, Source, find_keys
from mulligan.brokers.sqs.cut import Cuts
from mulligan.brokers.sqs.entry import ATTRIBUTES_MAX, DELAY_MAX_S, TYPE_BYTES, Refused, delivery, send_entry, whole
from mulligan.brokers.sqs.environment import Address, EndpointConfig, parse_url, resolve
from mulligan.brokers.sqs.error import ServiceRefused
from mulligan.brokers.sqs.lookup import QueueLookup
from mulligan.brokers.sqs.owner import Sample
from mulligan.brokers.sqs.provision import Provisioning, fitted
from mulligan.clock import SystemClock
from mulligan.core.clock import Lead
from mulligan.core.delivery import Delivery, Depth, EntryFault, Fault, Outgoing
from mulligan.core.error import BrokerError, BrokerRefused, BrokerUnavailable, ConfigurationError
from mulligan.core.event import BrokerWarning
from mulligan.core.message import AttributeValue, QueueName
from mulligan.core.secret import redacted_url

__all__ = ["SqsBroker"]

LEASE_MAX_S = 43_200
LEASE_MARGIN_S = 5
"""Subtracted from the 12 hours: SQS refuses a change beyond them, and does not shorten it."""
IN_FLIGHT_MAX = 120_000
"""Above it a standard queue refuses receives (OverLimit), and a FIFO queue delivers nothing."""
LONG_POLL_S = 20
RECEIVE_BODIES_MAX = 100
SAMPLE_WAIT_S = 1.0
SAMPLE_LEASE_S = 5.0
"""Of the messages that show whose queue it is. They are released right after; this is for when that fails."""

FEATURES = Features(
    max_batch=BATCH_MAX,
    max_pollers=40,
    max_delay_s=DELAY_MAX_S,
    max_lease_s=LEASE_MAX_S,
    time_unit_s=1.0,
    max_message_bytes=setup.SIZE_DEFAULT_BYTES,
    max_attributes=ATTRIBUTES_MAX,
    type_bytes=TYPE_BYTES,
    is_text=True,
    long_poll_s=LONG_POLL_S,
    linger_s=1.0,
    has_price=True,
    max_in_flight=IN_FLIGHT_MAX,
)


class SqsBroker:
    """Queues on SQS. Nothing is resolved or connected before the first call.

    find: returns endpoint config and key source for the address; by botocore if omitted.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        emit: Emit,
        rand: Callable[[], float] = SystemClock.random,
        find: Callable[[Address], tuple[EndpointConfig, Source]] | None = None,
    ) -> None:
        self._url = redacted_url(url)
        self._address = parse_url(url)
        self._clock = clock
        self._emit = emit
        self._rand = rand
        self._find = find or _found
        self._features = FEATURES
        self._client: Client | None = None
        self._opening = asyncio.Lock()
        self._lookup = QueueLookup(self._open)
        self._queues = self._lookup.known
        self._declared: Mapping[QueueName, Mapping[str, str]] = {}
        """Attributes of the queues that the last `declare` found."""
        self._cuts = Cuts()
        self._receiving: set[asyncio.Future[None]] = set()
        self._abandoned = AbandonedReceives(emit)
        self._receive_bodies: dict[tuple[QueueName, int, float, float], bytes] = {}
        self._closing = asyncio.Event()

    @property
    def features(self) -> Features:
        """The size limit and the delay of sends are exact after `declare`."""
        return self._features

    @property
    def requests(self) -> Mapping[str, int]:
        """Requests sent so far by action, retries included."""
        return self.counts.requests

    @property
    def lead(self) -> Lead | None:
        """From the date of an answer."""
        return self._client.lead if self._client is not None else None

    @property
    def billed(self) -> Mapping[str, int]:
        """Requests that were answered; each 64 KiB or part of it is one (aws.amazon.com/sqs/pricing)."""
        return self.counts.billed

    @property
    def counts(self) -> Counts:
        """All counters by action."""
        return Counts() if self._client is None else self._client.counts

    # -- queues

    async def declare(self, queues: Queues, *, create: bool, only: QueueName | None = None) -> Declared:
        """Find the queues, create those that are missing if `create`, and report what differs."""
        if problems := setup.name_problems(queues):
            raise ConfigurationError(problems)
        self._lookup.accounts = foreign.accounts_of(queues, self._address.account)
        client = await self._open()
        if queues.locators:
            config = client.config
            if problems := foreign.locator_problems(queues, region=config.region, authority=config.endpoint.authority):
                raise ConfigurationError(problems)
        if only is not None:
            declared = await self._provision(client, queues, [only], create=False)
            if not (create and declared.missing):
                return declared
        return await self._provision(client, queues, setup.order(queues), create=create)

    async def _provision(self, client: Client, queues: Queues, names: Sequence[QueueName], *, create: bool) -> Declared:
        provisioning = Provisioning(client, self._lookup, queues)
        declared = await provisioning.run(names, create=create)
        self._declared = provisioning.found
        if self._declared:
            self._features = fitted(FEATURES, self._declared)
        return declared

    async def owners(self, queues: Queues) -> Owners:
        """By redrive and tags; if these don't say, by a sample of the rejects, which are received and released.

        Message move tasks that run now are noted as well.
        """
        names = [name for name in queues.all if name in self._declared]
        shut: set[QueueName] = set()
        tagged = dict(zip(names, await asyncio.gather(*(self._tags(name, shut) for name in names)), strict=True))
        sample = None
        if owner.has_unknown_messages(queues, self._declared, tagged):
            sample = await self._sample(queues.rejects)
        urls = {name: self._queues[name].url for name in names if name not in shut}
        found = owner.owners(queues, self._declared, tagged, sample, urls)
        return replace(found, notes=(*found.notes, *await self._moves(queues)))

    async def _moves(self, queues: Queues) -> list[str]:
        """Sentences about message move tasks that run now. [] also where the service doesn't say."""
        arns = move.sources(queues, self._declared, self._lookup.accounts)
        newest = await asyncio.gather(*(self._newest_move(arn) for arn in arns))
        notes = [move.note(arn, one, self._declared) for arn, one in zip(arns, newest, strict=True)]
        return [note for note in notes if note is not None]

    async def _newest_move(self, arn: str) -> Mapping[str, Any]:
        client = await self._open()
        try:
            return await client.call_object("ListMessageMoveTasks", {"SourceArn": arn, "MaxResults": 1}, where=arn)
        except BrokerError:  # no right to ask, or a server without such tasks: start all the same
            return {}

    async def _tags(self, name: QueueName, shut: set[QueueName]) -> Mapping[str, str] | None:
        """None where they can't be read: the right is missing, or the server has no tags.

        {} for a queue of another account, whose tags SQS shows to that account only: its messages have to answer. It is
        added to `shut`, because setting a tag would not help there.
        """
        client = await self._open()
        try:
            found = await client.call_object("ListQueueTags", {"QueueUrl": self._queues[name].url}, where=name)
        except ServiceRefused:
            if name not in self._lookup.accounts:
                return None
            shut.add(name)
            return {}
        return {str(key): str(text) for key, text in (found.get("Tags") or {}).items()}

    async def _sample(self, name: QueueName) -> Sample:
        try:
            seen = await self.receive(name, BATCH_MAX, wait_s=SAMPLE_WAIT_S, lease_s=SAMPLE_LEASE_S)
            if seen:
                await self.release(name, [(one.receipt, 0.0) for one in seen])
        except BrokerError as exc:  # unavailable or damaged: start all the same
            return Sample(0, 0, exc.code if isinstance(exc, ServiceRefused) else "no good answer")
        return Sample.of(seen)

    async def depth(self, queue: QueueName) -> Depth:
        """An estimate. The age of the oldest message is known to CloudWatch only."""
        names = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "Delayed", "NotVisible")]
        given = await self._lookup.attributes(await self._lookup.queue(queue), names)
        ready, delayed, in_flight = (int(given.get(name, 0)) for name in names)
        return Depth(ready, delayed, in_flight, is_exact=False)

    async def attributes(self, queue: QueueName, max_count: int) -> list[Mapping[str, AttributeValue]] | None:  # noqa: ARG002
        """None: SQS shows messages to their receivers only."""
        return None

    async def purge(self, queue: QueueName) -> None:
        """Takes up to 60 s. Allowed once per minute; BrokerUnavailable before that."""
        url = (await self._lookup.queue(queue)).url
        await (await self._open()).call_object("PurgeQueue", {"QueueUrl": url}, where=queue)

    # -- messages

    async def receive(self, queue: QueueName, max_count: int, *, wait_s: float, lease_s: float) -> list[Delivery]:
        """When cancelled, the request continues without its caller, and its messages are released."""
        if self._closing.is_set():
            return []
        if (fault := lease_fault(lease_s, self._features)) or (fault := batch_fault(max_count, self._features)):
            raise BrokerRefused(f"{queue}: {fault.reason}")
        client = self._client or await self._open()
        at = self._queues.get(queue) or await self._lookup.queue(queue)
        began_at = self._clock.monotonic()
        received_at = int(began_at)
        cuts = self._cuts
        cut_count, wait_s = cuts.count, cuts.wait_s(wait_s, began_at)
        ended = asyncio.get_running_loop().create_future()
        self._receiving.add(ended)
        try:
            messages, problems = await client.call(
                "ReceiveMessage",
                self._receive_body(at, max_count, wait_s, lease_s),
                codec.read_receive,
                where=queue,
                wait_s=wait_s,
                on_abandoned=partial(self._abandoned.take, client, at),
                is_usual=partial(self._is_usual, wait_s),
            )
            if cuts.count == cut_count:  # otherwise the time is that of several polls
                cuts.lived(self._clock.monotonic() - began_at)
            if problems:
                self._report_damage(at, problems, is_all=not messages)
            if self._closing.is_set():
                await self._abandoned.release(client, at, messages)
                return []
        except PollCut:
            return []
        except BrokerUnavailable:
            if self._closing.is_set():
                return []
            raise
        finally:
            self._receiving.discard(ended)
            ended.set_result(None)
        return [delivery(item, queue, received_at, is_fifo=at.is_fifo) for item in messages]

    async def rest(self, queue: QueueName) -> None:
        """Does nothing: there is no prefetch."""

    async def send(self, queue: QueueName, entries: Sequence[Outgoing]) -> list[EntryFault | None]:
        """In batches of at most 10 and 1 MiB. What SQS would refuse is refused here, with what to do about it."""
        client, at = await self._ready(queue, len(entries))
        limit = self._features.max_message_bytes
        results: list[EntryFault | None] = [None] * len(entries)
        sendable: list[SendEntry] = []
        places: list[int] = []
        for index, outgoing in enumerate(entries):
            try:
                sendable.append(send_entry(outgoing, is_fifo=at.is_fifo, max_bytes=limit))
                places.append(index)
            except Refused as exc:
                results[index] = EntryFault(Fault.REFUSED, f"{queue}: the message can't be sent: {exc}")
        for index, fault in zip(places, await batch.send(client, at, sendable), strict=True):
            results[index] = fault
        return results

    async def ack(self, queue: QueueName, receipts: Sequence[str]) -> list[EntryFault | None]:
        """Late acks succeed on a standard queue unless the message was received again; FIFO queues report them."""
        client, at = await self._ready(queue, len(receipts))
        return await batch.delete(client, at, [receipt.partition(":")[2] for receipt in receipts])

    async def release(self, queue: QueueName, entries: Sequence[tuple[str, float]]) -> list[EntryFault | None]:
        """A delay beyond what is left of the receipt's 12 hours is shortened to that: the message comes back early."""
        return await self._change(queue, entries, is_release=True)

    async def extend(self, queue: QueueName, entries: Sequence[tuple[str, float]]) -> list[EntryFault | None]:
        """An extension beyond what is left of the receipt's 12 hours is shortened to that, and an event says so."""
        return await self._change(queue, entries, is_release=False)

    async def close(self) -> None:
        """Waits for running receives, up to their wait_s, and releases their messages."""
        self._closing.set()
        client = self._client
        if client is None:
            return
        client.stop_retries()
        while waiting := [*self._receiving, *self._abandoned.tasks]:
            await asyncio.wait(waiting)
        await client.close()

    # -- leases

    async def _change(
        self, queue: QueueName, entries: Sequence[tuple[str, float]], *, is_release: bool
    ) -> list[EntryFault | None]:
        client, at = await self._ready(queue, len(entries))
        results: list[EntryFault | None] = [None] * len(entries)
        changes: list[tuple[str, int]] = []
        places: list[int] = []
        for index, (receipt, asked_s) in enumerate(entries):
            handle, rest_s = self._rest(receipt)
            seconds = whole(asked_s)
            if seconds is None:
                results[index] = EntryFault(Fault.REFUSED, f"{queue}: {asked_s!r} is not a time in seconds")
                continue
            if rest_s <= 0 and not is_release:
                text = f"{queue}: the 12 hours for which SQS leases a message are over"
                results[index] = EntryFault(Fault.LEASE_LOST, text)
                continue
            if seconds > rest_s:
                if not is_release:
                    self._report_shortened(queue, asked_s, rest_s)
                seconds = max(rest_s, 0)
            places.append(index)
            changes.append((handle, seconds))
        faults = await batch.change(client, at, changes)
        for index, fault in zip(places, faults, strict=True):
            results[index] = fault
        return results

    def _rest(self, receipt: str) -> tuple[str, int]:
        """The handle, and the longest lease in seconds that may still be set."""
        received_at, _, handle = receipt.partition(":")
        since_s = self._clock.monotonic() - int(received_at) if received_at.isdecimal() else 0.0
        return handle, LEASE_MAX_S if since_s < 1 else math.floor(LEASE_MAX_S - LEASE_MARGIN_S - since_s)

    def _report_shortened(self, queue: QueueName, asked_s: float, rest_s: int) -> None:
        text = (
            f"a lease was to be extended by {asked_s:g} s and got {rest_s} s: SQS leases a message for 12 hours in "
            f"all, and a task that takes longer is started again elsewhere. Split it."
        )
        self._emit(BrokerWarning(queue, text))

    # -- inside

    def _receive_body(self, at: Queue, max_count: int, wait_s: float, lease_s: float) -> bytes:
        """The request body: the same bytes for equal receives, except on FIFO, where each has an id of its own."""
        key = (at.name, max_count, wait_s, lease_s)
        body = self._receive_bodies.get(key)
        if body is None or at.is_fifo:
            attempt_id = str(uuid4()) if at.is_fifo else None
            wait = min(whole(wait_s) or 0, LONG_POLL_S)
            body = codec.receive_request(at.url, max_count, wait, math.ceil(lease_s), attempt_id)
            if not at.is_fifo and len(self._receive_bodies) < RECEIVE_BODIES_MAX:
                self._receive_bodies[key] = body
        return body

    def _is_usual(self, wait_s: float, cut_after_s: float | None) -> bool:
        """Whether a failed poll was cut as all polls of its length are; emits a notice when that is new."""
        cuts, known_s = self._cuts, self._cuts.age_s
        if cut_after_s is None:
            cuts.failed()
            return False
        is_usual = cuts.was_cut(cut_after_s, wait_s, now := self._clock.monotonic())
        if cuts.age_s != known_s:
            limit_s = cuts.wait_s(LONG_POLL_S, now)
            text = (
                f"long polls are cut after {cut_after_s:.1f} s, each time: a proxy, NAT or load balancer on the way "
                f"gives a silent connection no longer. From now on they wait {limit_s:g} s: an idle queue costs "
                f"{3600 / limit_s:.0f} requests per hour instead of {3600 / LONG_POLL_S:.0f}. Let it give them "
                f"{LONG_POLL_S + 5} s."
            )
            assert self._client is not None
            self._emit(BrokerWarning(self._client.config.endpoint.authority, text))
        return is_usual

    def _report_damage(self, at: Queue, problems: Sequence[str], *, is_all: bool) -> None:
        text = f"{'; '.join(problems)}: left alone; they come back when the lease ends"
        self._emit(BrokerWarning(at.name, text))
        if is_all:
            raise BrokerUnavailable(f"{at.name}: {text}")

    async def _open(self) -> Client:
        if self._closing.is_set():
            raise BrokerRefused(f"The broker {self._url} is closed. Open a new one.")
        async with self._opening:
            if self._client is None:
                config, source = await in_thread(lambda: self._find(self._address))
                where = config.endpoint.authority
                credentials = Credentials(source, lambda text: self._emit(BrokerWarning(where, text)))
                try:
                    await credentials.ready()
                except BaseException:
                    credentials.close()
                    raise
                self._client = Client(config, credentials, self._clock, self._emit, rand=self._rand)
            return self._client

    async def _ready(self, name: QueueName, count: int) -> tuple[Client, Queue]:
        """The client and the queue of a batch call. Raises BrokerRefused for too many entries."""
        if fault := batch_fault(count, self._features):
            raise BrokerRefused(f"{name}: {fault.reason}")
        client = self._client
        if client is None or self._closing.is_set():
            client = await self._open()
        return client, self._queues.get(name) or await self._lookup.queue(name)


def _found(address: Address) -> tuple[EndpointConfig, Source]:
    config = resolve(address)
    return config, find_keys(address, config)
