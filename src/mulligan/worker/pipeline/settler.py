"""Ends deliveries by the order law, record -> copy -> remove: nothing is removed before its progress is recorded and
its copy confirmed.

Each settlement is a chain of batched calls; an entry moves to the next call only when its own answer is a success:

    Ack      ack
    Release  ledger.give_back -> release
    Reject   send(rejects) -> ledger.save(hop + 1, final) -> ack     (also a long Release, where much is in flight)
    bury     send(dead)    -> (the dispatcher records "buried" and continues)
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from mulligan.brokers.base import Broker, Queues
from mulligan.core.delivery import EntryFault, Fault
from mulligan.core.event import MessageRejected
from mulligan.core.flow import settled
from mulligan.core.lifecycle import Report
from mulligan.core.message import QueueName
from mulligan.core.move import is_over
from mulligan.core.progress import Progress, at_rest
from mulligan.core.queue_role import QueueRole
from mulligan.core.step import Ack, Reject, Release
from mulligan.ledger.base import Record
from mulligan.worker.failpoint import ARMED, Point
from mulligan.worker.in_flight import InFlight
from mulligan.worker.ipc.channel import LeftAlone
from mulligan.worker.ipc.lease_table import Counter
from mulligan.worker.pipeline.batcher import Batcher
from mulligan.worker.pipeline.copies import Copies, rounded_up
from mulligan.worker.pipeline.in_flight_limit import InFlightLimit
from mulligan.worker.pipeline.packer import Packer
from mulligan.worker.pipeline.patient_broker import PatientBroker
from mulligan.worker.pipeline.patient_ledger import PatientLedger
from mulligan.worker.pipeline.runtime import Runtime
from mulligan.worker.pipeline.slots import Slots
from mulligan.worker.reports import Reports

__all__ = ["Settler"]

T = TypeVar("T")

_REFUSED_DELAY_S = 60.0
"""A message whose copy the broker refuses is released for so long: it can't be finished, and must not spin."""

_HANDED_ON_AGAIN_S = 900.0
"""The same for one that may have one receive left: its queue would move it away without its retry state."""


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
        self._receives = role.receives
        self._queues = queues
        self._queue = queue
        self._ledger = ledger
        self._slots = slots
        self._reports = reports
        self._clock = clock = runtime.clock
        self._emit = runtime.emit
        self._runtime = runtime
        failed = runtime.failed
        features = broker.features
        self._broker = PatientBroker(broker, queue, clock, runtime.emit)
        self._copies = Copies(self._broker, queues, packer)
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
        self._broker.give_up()

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
        faults = await self._broker.ack([flight.delivery.receipt for flight in flights])
        if ARMED is not None:
            ARMED.reach(Point.ACKED)
        for flight, fault in zip(flights, faults, strict=True):
            if fault is not None and fault.fault is not Fault.LEASE_LOST:
                self._broker.report(flight.message.uid, "ack", fault, "it will come back, and is folded by the ledger")
            elif fault is None and flight.spends_stored and flight.stored is not None:
                await self._copies.drop_body(flight.message.uid, flight.stored)
        self._reports.put(Report.SETTLED, flights)

    async def _release(self, entries: list[tuple[InFlight, float]]) -> None:
        entries = await self._uncrowded(entries)
        if not entries:
            return
        claimed = [flight for flight, _ in entries if flight.token]
        if claimed and not await self._ledger.give_back([flight.key for flight in claimed]):
            return  # the process ends: they stay in the lease table, and the supervisor does both
        asked_at = self._clock.monotonic()
        faults = await self._broker.release(
            [(one.delivery.receipt, rounded_up(delay_s, self._unit_s, self._max_lease_s)) for one, delay_s in entries]
        )
        for (flight, delay_s), fault in zip(entries, faults, strict=True):
            if fault is not None and fault.fault is not Fault.LEASE_LOST:
                self._broker.report(flight.message.uid, "release", fault, "it comes back when its lease ends")
            elif fault is None and (flight.unread is not None or flight.is_held):
                self._report_left_alone(flight, asked_at + min(delay_s, self._max_lease_s), is_copy=False)
        self._slots.count(Counter.RELEASED, len(entries))
        self._reports.put(Report.SETTLED, [flight for flight, _ in entries])

    async def _uncrowded(self, entries: list[tuple[InFlight, float]]) -> list[tuple[InFlight, float]]:
        """What is to be released; long waits go to rejects as copies where too much of the queue is in flight."""
        is_long = [0 < self._max_delay_s < delay_s and _may_wait_as_copy(one) for one, delay_s in entries]
        if self._broker.is_giving_up or not any(is_long) or not await self._limit.is_over(sum(is_long)):
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
        copied: list[tuple[InFlight, float]] = []
        for flight, delay_s, fault in await self._copies.send(target, entries, hops):
            if fault is None:
                copied.append((flight, delay_s))
            else:
                self._not_copied(target, flight, fault)
        return copied

    def _not_copied(self, target: QueueName, flight: InFlight, fault: EntryFault) -> None:
        rest_s = _REFUSED_DELAY_S if fault.fault is Fault.REFUSED else 0.0
        has_few_left = self._receives is not None and flight.delivery.receive_count >= self._receives - 1
        if flight.is_handed_on or has_few_left:
            rest_s = _HANDED_ON_AGAIN_S
        action = "it is released, and tried again when it comes back"
        self._broker.report(flight.message.uid, f"copy to {target}", fault, action)
        self._put_release(flight, rest_s)

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
