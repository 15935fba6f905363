"""Copies of messages on the queues rejects and dead: what they carry, and which of them the broker confirmed.

A copy that does not fit leaves its body in a file, on disk before the send; the file goes after the last ack, if ever.
"""

from collections.abc import Sequence
from dataclasses import replace

from mulligan.brokers.base import Queues
from mulligan.core import fingerprint
from mulligan.core.delivery import EntryFault, Fault, Outgoing
from mulligan.core.error import PackingError
from mulligan.core.flow import settled
from mulligan.core.message import QueueName, Uid
from mulligan.core.packing import DEAD, REJECTS, CopyTarget
from mulligan.core.progress import Progress
from mulligan.worker.in_flight import InFlight
from mulligan.worker.pipeline.packer import Packer
from mulligan.worker.pipeline.patient_broker import PatientBroker

__all__ = ["Copies", "rounded_up"]


class Copies:
    """Makes and sends copies."""

    def __init__(
        self,
        broker: PatientBroker,
        queues: Queues,
        packer: Packer,
    ) -> None:
        self._broker = broker
        self._queues = queues
        self._packer = packer

    async def send(
        self, target: QueueName, entries: Sequence[tuple[InFlight, float]], hops: int
    ) -> list[tuple[InFlight, float, EntryFault | None]]:
        """Send one copy per entry (flight, delay in seconds) to the target; returns each entry with what was wrong with
        its copy, None where the target confirmed it.

        hops: how many more than the original the copies have behind them.
        """
        packed: list[tuple[InFlight, float]] = []
        answers: list[tuple[InFlight, float, EntryFault | None]] = []
        outgoing: list[Outgoing] = []
        for flight, delay_s in entries:
            try:
                outgoing.append(await self._outgoing(target, flight, delay_s, hops))
            except PackingError as exc:
                answers.append((flight, delay_s, EntryFault(Fault.REFUSED, str(exc))))
            else:
                packed.append((flight, delay_s))
        faults = await self._broker.send(target, outgoing)
        answers += [(flight, delay_s, fault) for (flight, delay_s), fault in zip(packed, faults, strict=True)]
        return answers

    async def drop_body(self, uid: Uid, name: str) -> None:
        """Remove the stored body of a message whose last copy is gone. One that stays is reported."""
        try:
            await self._packer.drop(name)
        except PackingError as exc:
            self._broker.report(uid, "clearing up", EntryFault(Fault.REFUSED, str(exc)), "it is left over")

    async def _outgoing(self, target: QueueName, flight: InFlight, delay_s: float, hops: int) -> Outgoing:
        state = flight.copy_state(settled(flight.progress), flight.hop + hops)
        group = flight.group
        is_dead = target == self._queues.dead
        if is_dead:
            # the burial is on record only once this copy is confirmed
            state = replace(state, progress=Progress(state.progress.marks), is_dead=True)
            if group is not None:
                # a group of its own, so that a person who looks sees all dead letters of a group
                state, group = replace(state, group=group), state.uid
        message = flight.message
        if fingerprint.ID_ATTRIBUTE in message.attributes:  # the retry state has the uid
            kept = {name: item for name, item in message.attributes.items() if name != fingerprint.ID_ATTRIBUTE}
            message = replace(message, attributes=kept)
        copy_target: CopyTarget = DEAD if is_dead else REJECTS
        dedup_id = f"{state.uid}-{state.generation}-{state.hop}"
        if is_dead:
            # a dead letter that was moved away is buried again under the same retry state. A FIFO queue would take that
            # for the one that it had minutes ago, and drop it; a repeat of this burial comes of the same delivery
            dedup_id += f"-{fingerprint.short(flight.delivery.id)}"
        features = self._broker.features
        packed = await self._packer.pack(message, state, features.limits, copy_target)
        return Outgoing(
            packed.body,
            packed.attributes,
            rounded_up(delay_s, features.time_unit_s, features.max_delay_s),
            group,
            dedup_id,
            flight.delivery.tenant,
            flight.delivery.trace,
        )


def rounded_up(delay_s: float, unit_s: float, longest_s: float) -> float:
    """A delay in whole units of the broker, never shorter than asked but for the longest that the broker can hold.

    A message that wakes early is released for the rest.
    """
    if delay_s <= 0:
        return 0.0
    units = -int(-delay_s // unit_s)
    return min(units * unit_s, longest_s)
