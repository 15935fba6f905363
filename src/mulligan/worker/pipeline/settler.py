"""Ends deliveries by the order law, record -> copy -> remove: nothing is removed before its progress is recorded and
its copy confirmed.

Each settlement is a chain of batched calls; an entry moves to the next call only when its own answer is a success:

    Ack      ack
    Release  ledger.give_back -> release
    Reject   send(rejects) -> ledger.save(hop + 1, final) -> ack     (also a long Release, where much is in flight)
    bury     send(dead)    -> (the dispatcher records "buried" and continues)

A copy that doesn't fit leaves its body in a file, on disk before the send; the file goes after the last ack, if ever.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from mulligan.brokers.base import Broker, Queues
from mulligan.core import fingerprint
from mulligan.core.delivery import EntryFault, Fault, Outgoing
from mulligan.core.error import BrokerRefused, BrokerUnavailable, PackingError
from mulligan.core.event import MessageRejected, SettlementFailed
from mulligan.core.flow import settled
from mulligan.core.lifecycle import Report
from mulligan.core.message import QueueName
from mulligan.core.move import is_over
from mulligan.core.packing import DEAD, REJECTS, CopyTarget
from mulligan.core.progress import Progress, at_rest
from mulligan.core.queue_role import QueueRole
from mulligan.core.step import Ack, Reject, Release
from mulligan.ledger.base import Record
from mulligan.worker.failpoint import ARMED, Point
from mulligan.worker.in_flight import InFlight
from mulligan.worker.ipc.channel import LeftAlone
from mulligan.worker.ipc.lease_table import Counter
from mulligan.worker.outage import of_broker
from mulligan.worker.pipeline.batcher import Batcher
from mulligan.worker.pipeline.in_flight_limit import InFlightLimit
from mulligan.worker.pipeline.packer import Packer
from mulligan.worker.pipeline.patient_ledger import PatientLedger
from mulligan.worker.pipeline.runtime import Runtime
from mulligan.worker.pipeline.slots import Slots
from mulligan.worker.reports import Reports

__all__ = ["Settler", "rounded_up"]

T = TypeVar("T")

_TRIES = 4
"""Calls for one entry before it is left to its next receipt."""

_RETRY_S = (1.0, 3.0, 3.0)

_AGAIN_S = (0.2, 0.4, 0.8, 1.6, 3.0, 4.0)
"""Between the calls of an outage: what throttles, or has no room, isn't asked by every batch five times a second; and
once it answers, all is out within five seconds."""

_REFUSED_DELAY_S = 60.0
"""A message whose copy the broker refuses is released for so long: it can't be finished, and must not spin."""

_TOLD_EVERY_S = 60.0
_REASONS_MAX = 100

_HANDED_ON_AGAIN_S = 900.0
"""The same for one that may have one receive left: its queue would move it away without its retry state."""


class _Refusals:
    """Of calls that the broker refused as a whole, for want of a right, say: the first entry is told of, and once a
    minute how many more there were. What is wrong with single entries is told of each.
    """

    def __init__(self) -> None:
        self._told_at: dict[str, float | None] = {}
        self._others: dict[str, int] = {}

    def add(self, reason: str) -> str:
        """A call was refused for this reason, which is given back."""
        if len(self._told_at) > _REASONS_MAX:
            self._told_at.clear()
            self._others.clear()
        self._told_at.setdefault(reason, None)
        return reason

    def others_since(self, reason: str, now: float) -> int | None:
        """Entries that were not told of since the last that was, if this one is to be; None: it is not. now: monotonic
        seconds.
        """
        if reason not in self._told_at:
            return 0
        told_at = self._told_at[reason]
        if told_at is not None and now - told_at < _TOLD_EVERY_S:
            self._others[reason] = self._others.get(reason, 0) + 1
            return None
        self._told_at[reason] = now
        return self._others.pop(reason, 0)


class Settler:
    """Acknowledges, releases, rejects and buries, in batches.

    Reports `BURIED` of deliveries whose dead letter is confirmed, and `SETTLED` of those that are settled or dropped.
    """

    def __init__(
        self,
        runtime: Runtime,
        broker: Broker,
        queues: Queues,
        role: QueueRole,
        ledger: PatientLedger,
        packer: Packer,
        slots: Slots,
        reports: Reports,
    ) -> None:
        queue = queues.all[role.index]
        self._broker = broker
        self._receives = role.receives
        self._queues = queues
        self._queue = queue
        self._ledger = ledger
        self._packer = packer
        self._slots = slots
        self._reports = reports
        self._clock = clock = runtime.clock
        self._emit = emit = runtime.emit
        self._runtime = runtime
        failed = runtime.failed
        self._gave_up = asyncio.Event()
        self._refusals = _Refusals()
        self._outage = of_broker(clock, emit, f"settling {queue}")
        features = broker.features
        self._unit_s = features.time_unit_s
        self._max_delay_s = features.max_delay_s
        self._max_lease_s = features.max_lease_s
        self._limit = InFlightLimit(broker, queue, clock)
        max_calls = features.max_pollers

        def batcher(call: Callable[[list[T]], Awaitable[None]], linger_s: float = features.linger_s) -> Batcher[T]:
            return Batcher(call, max_batch=features.max_batch, linger_s=linger_s, max_calls=max_calls, failed=failed)

        self._acks: Batcher[InFlight] = batcher(self._ack)
        self._releases: Batcher[tuple[InFlight, float]] = batcher(self._release, min(features.linger_s, 0.1))
        # by themselves: their claims are given back first, and what has none waits for no ledger
        self._claimed_releases: Batcher[tuple[InFlight, float]] = batcher(self._release, min(features.linger_s, 0.1))
        self._rejects: Batcher[tuple[InFlight, float]] = batcher(self._reject, min(features.linger_s, 0.1))
        self._burials: Batcher[InFlight] = batcher(self._bury, min(features.linger_s, 0.1))

    def put(self, flights: Sequence[InFlight]) -> None:
        """Settle deliveries as it is decided for each. Their progress must be saved."""
        for flight in flights:
            match flight.settlement:
                case Ack():
                    self._acks.put(flight)
                case Release(delay_s):
                    self._put_release(flight, delay_s)
                case Reject(delay_s):
                    self._rejects.put((flight, delay_s))
                case None:
                    raise AssertionError("its settlement is not decided")

    def bury(self, flight: InFlight) -> None:
        """Put a copy with its whole retry state on the dead queue, then report `BURIED`."""
        self._burials.put(flight)

    @property
    def is_idle(self) -> bool:
        """Everything that was put is settled."""
        batchers = (self._acks, self._releases, self._claimed_releases, self._rejects, self._burials)
        return all(one.is_idle for one in batchers)

    def give_up(self) -> None:
        """From now on a broker that is not available is not waited for: the process has to end."""
        self._gave_up.set()

    async def drain(self) -> None:
        """Let everything out and wait for it."""
        while not self.is_idle:
            await asyncio.gather(
                self._rejects.drain(),
                self._burials.drain(),
                self._releases.drain(),
                self._claimed_releases.drain(),
                self._acks.drain(),
            )

    def _put_release(self, flight: InFlight, delay_s: float) -> None:
        (self._claimed_releases if flight.token else self._releases).put((flight, delay_s))

    # -- the calls

    async def _ack(self, flights: list[InFlight]) -> None:
        # the claim of a message that was found finished; every other has ended with its last record
        held = [flight for flight in flights if flight.token and not flight.ends_claim]
        if held and not await self._ledger.give_back([flight.key for flight in held]):
            # the process ends: they stay in the lease table, and the supervisor does both
            flights = [flight for flight in flights if not flight.token or flight.ends_claim]
            if not flights:
                return

        def call(some: Sequence[InFlight]) -> Awaitable[list[EntryFault | None]]:
            return self._broker.ack(self._queue, [flight.delivery.receipt for flight in some])

        answers = await self._insist(flights, call)
        if ARMED is not None:
            ARMED.reach(Point.ACKED)
        for flight, fault in answers:
            if fault is not None and fault.fault is not Fault.LEASE_LOST:
                self._tell(flight, "ack", fault, "it will come back, and is folded by the ledger")
            elif fault is None and flight.spends_stored and flight.stored is not None:
                await self._drop(flight, flight.stored)
        self._reports.put(Report.SETTLED, [flight for flight, _ in answers])

    async def _release(self, entries: list[tuple[InFlight, float]]) -> None:
        entries = await self._uncrowded(entries)
        if not entries:
            return
        claimed = [flight for flight, _ in entries if flight.token]
        if claimed and not await self._ledger.give_back([flight.key for flight in claimed]):
            return  # the process ends: they stay in the lease table, and the supervisor does both
        asked_at = self._clock.monotonic()

        def call(some: Sequence[tuple[InFlight, float]]) -> Awaitable[list[EntryFault | None]]:
            return self._broker.release(
                self._queue,
                [(one.delivery.receipt, rounded_up(delay_s, self._unit_s, self._max_lease_s)) for one, delay_s in some],
            )

        answers = await self._insist(entries, call)
        for (flight, delay_s), fault in answers:
            if fault is not None and fault.fault is not Fault.LEASE_LOST:
                self._tell(flight, "release", fault, "it comes back when its lease ends")
            elif fault is None and (flight.unread is not None or flight.is_held):
                self._report_left_alone(flight, asked_at + min(delay_s, self._max_lease_s), is_copy=False)
        self._slots.count(Counter.RELEASED, len(answers))
        self._reports.put(Report.SETTLED, [flight for (flight, _), _ in answers])

    async def _uncrowded(self, entries: list[tuple[InFlight, float]]) -> list[tuple[InFlight, float]]:
        """What is to be released; long waits go to rejects as copies where too much of the queue is in flight."""
        is_long = [0 < self._max_delay_s < delay_s and _may_wait_as_copy(one) for one, delay_s in entries]
        if self._gave_up.is_set() or not any(is_long) or not await self._limit.is_over(sum(is_long)):
            return entries
        for (flight, delay_s), is_copied in zip(entries, is_long, strict=True):
            if is_copied:
                flight.is_handed_on = True
                self._rejects.put((flight, delay_s))
        return [entry for entry, is_copied in zip(entries, is_long, strict=True) if not is_copied]

    async def _reject(self, entries: list[tuple[InFlight, float]]) -> None:
        asked_at = self._clock.monotonic()
        copied = await self._copy(self._queues.rejects, entries, hops=1)
        if not copied:
            return
        if ARMED is not None:
            ARMED.reach(Point.COPIED)
        records = [
            Record(flight.message.uid, flight.generation, flight.token, _kept(flight), flight.hop + 1, True)
            for flight, _ in copied
        ]
        # a refused record is a claim that was lost meanwhile: the copy is confirmed, so this original can go
        if await self._ledger.save(records) is None:
            return  # the process ends: they stay in the lease table; the supervisor ends their claims and releases them
        for flight, delay_s in copied:
            flight.ends_claim = True
            self._slots.count(Counter.REJECTED, 1)
            self._emit(MessageRejected(flight.message.uid, flight.hop + 1, delay_s))
            if flight.is_held:
                self._report_left_alone(flight, asked_at + min(delay_s, self._max_delay_s), is_copy=True)
            self._acks.put(flight)

    async def _bury(self, flights: list[InFlight]) -> None:
        copied = await self._copy(self._queues.dead, [(flight, 0.0) for flight in flights], hops=0)
        if ARMED is not None and copied:
            ARMED.reach(Point.BURIED)
        if copied:
            self._slots.count(Counter.BURIED, len(copied))
            self._reports.put(Report.BURIED, [flight for flight, _ in copied])

    async def _copy(
        self, target: QueueName, entries: Sequence[tuple[InFlight, float]], hops: int
    ) -> list[tuple[InFlight, float]]:
        """Send copies; those that the target confirmed. The others are released, not removed."""
        packed: list[tuple[InFlight, float, Outgoing]] = []
        for flight, delay_s in entries:
            try:
                packed.append((flight, delay_s, await self._outgoing(target, flight, delay_s, hops)))
            except PackingError as exc:
                self._not_copied(target, flight, EntryFault(Fault.REFUSED, str(exc)))

        def call(some: Sequence[tuple[InFlight, float, Outgoing]]) -> Awaitable[list[EntryFault | None]]:
            return self._broker.send(target, [outgoing for _, _, outgoing in some])

        copied: list[tuple[InFlight, float]] = []
        for (flight, delay_s, _), fault in await self._insist(packed, call):
            if fault is None:
                copied.append((flight, delay_s))
            else:
                self._not_copied(target, flight, fault)
        return copied

    def _not_copied(self, target: QueueName, flight: InFlight, fault: EntryFault) -> None:
        rest_s = _REFUSED_DELAY_S if fault.fault is Fault.REFUSED else 0.0
        if flight.is_handed_on or self._has_few_left(flight):
            rest_s = _HANDED_ON_AGAIN_S
        self._tell(flight, f"copy to {target}", fault, "it is released, and tried again when it comes back")
        self._put_release(flight, rest_s)

    def _has_few_left(self, flight: InFlight) -> bool:
        return self._receives is not None and flight.delivery.receive_count >= self._receives - 1

    async def _outgoing(self, target: QueueName, flight: InFlight, delay_s: float, hops: int) -> Outgoing:
        state = flight.copy_state(settled(flight.progress), flight.hop + hops)
        group = flight.group
        if target == self._queues.dead:
            # the burial is on record only once this copy is confirmed
            state = replace(state, progress=Progress(state.progress.marks), is_dead=True)
            if group is not None:  # a group of its own, so that all dead letters of a group can be seen
                state, group = replace(state, group=group), state.uid
        message = flight.message
        if fingerprint.ID_ATTRIBUTE in message.attributes:  # the retry state has the uid
            kept = {name: item for name, item in message.attributes.items() if name != fingerprint.ID_ATTRIBUTE}
            message = replace(message, attributes=kept)
        copy_target: CopyTarget = DEAD if target == self._queues.dead else REJECTS
        dedup_id = f"{state.uid}-{state.generation}-{state.hop}"
        if copy_target == DEAD:
            # a dead letter that was moved away is buried again under the same retry state. A FIFO queue would take that
            # for the one that it had minutes ago, and drop it; a repeat of this burial comes of the same delivery
            dedup_id += f"-{fingerprint.short(flight.delivery.id)}"
        packed = await self._packer.pack(message, state, self._broker.features.limits, copy_target)
        return Outgoing(
            packed.body,
            packed.attributes,
            rounded_up(delay_s, self._unit_s, self._max_delay_s),
            group,
            dedup_id,
            flight.delivery.tenant,
            flight.delivery.trace,
        )

    async def _drop(self, flight: InFlight, name: str) -> None:
        try:
            await self._packer.drop(name)
        except PackingError as exc:
            self._emit(SettlementFailed(flight.message.uid, "clearing up", str(exc), "it is left over"))

    async def _insist(
        self, entries: Sequence[T], call: Callable[[Sequence[T]], Awaitable[list[EntryFault | None]]]
    ) -> list[tuple[T, EntryFault | None]]:
        """Call until each entry has succeeded or can't: passing faults of entries a few times, an outage until it ends
        or `give_up` was called. Every answer is read entry by entry.
        """
        results: dict[int, EntryFault | None] = {}
        left: Sequence[int] = range(len(entries))
        tries = outages = 0
        while left:
            try:
                answers = await call(entries if len(left) == len(entries) else [entries[index] for index in left])
            except BrokerUnavailable as exc:
                self._outage.goes_on(exc)
                answers = [EntryFault(Fault.RETRY, str(exc))] * len(left)
                tries = tries if self._gave_up.is_set() else -1
                outages += 1
            except BrokerRefused as exc:
                answers = [EntryFault(Fault.REFUSED, self._refusals.add(str(exc)))] * len(left)
            else:
                outages = 0
                self._outage.is_over()
                if len(answers) == len(entries) and not any(answers):
                    return [(entry, None) for entry in entries]
            tries += 1
            results.update(zip(left, answers, strict=True))
            is_last = tries >= _TRIES or self._gave_up.is_set()
            left = [] if is_last else [at for at in left if _is_passing(results[at])]
            if left:
                await self._pause(_AGAIN_S[min(outages, len(_AGAIN_S)) - 1] if outages else _RETRY_S[tries - 1])
        return [(entry, results[index]) for index, entry in enumerate(entries)]

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond `give_up`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._gave_up.wait()

    def _report_left_alone(self, flight: InFlight, until: float, *, is_copy: bool) -> None:
        """Tell the supervisor of a message that is held until that monotonic second. is_copy: a copy was sent."""
        delivery = flight.delivery
        version = flight.unread.version if flight.unread is not None else None
        # the broker's id of a copy that was sent is not known
        name = f"{flight.message.uid} {flight.generation} {flight.hop + 1}" if is_copy else delivery.id
        on_requests = not is_copy and self._queue == self._queues.requests
        tasks: list[str] = sorted(flight.missing.tasks)
        in_group, lacks_body = delivery.group is not None, flight.problem is not None
        lacks_row = flight.unread is not None and flight.unread.is_in_ledger
        self._runtime.left_alone(LeftAlone(name, until, version, in_group, on_requests, tasks, lacks_body, lacks_row))

    def _tell(self, flight: InFlight, settlement: str, fault: EntryFault, action: str) -> None:
        others = self._refusals.others_since(fault.reason, self._clock.monotonic())
        if others is not None:
            self._emit(SettlementFailed(flight.message.uid, settlement, fault.reason, action, others))


def rounded_up(delay_s: float, unit_s: float, longest_s: float) -> float:
    """A delay in whole units of the broker, never shorter than asked but for the longest that the broker can hold.

    A message that wakes early is released for the rest.
    """
    if delay_s <= 0:
        return 0.0
    units = -int(-delay_s // unit_s)
    return min(units * unit_s, longest_s)


def _is_passing(fault: EntryFault | None) -> bool:
    return fault is not None and fault.fault is Fault.RETRY


def _kept(flight: InFlight) -> Progress:
    """What the ledger keeps of a flight whose copy is on rejects. One that was handed on keeps its deaths."""
    return at_rest(flight.progress) if flight.is_handed_on else settled(flight.progress)


def _may_wait_as_copy(flight: InFlight) -> bool:
    """Whether a copy on rejects may wait in a message's place: it is claimed, its state and body can be had, and
    something is pending. Without that the copy would be taken for a dead letter that somebody moved (`core.move`), and
    replayed.
    """
    is_read = flight.unread is None and flight.problem is None
    return bool(flight.token) and is_read and (flight.progress.is_buried or not is_over(flight.progress))
