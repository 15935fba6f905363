"""Looks which message it is that carries a retry state where a producer may have written it, or none where all should.

A copy lies there when somebody has moved it. It is believed only if its uid, id and body belong together and the
ledger vouches for it (`core.move`), and then only as to which message it is: where that stands is the ledger's
word. Who forges one gets a repeat of a message whose id and body he has, and no task that is done runs again.

What lies on rejects without a retry state may be a dead letter that has lost it: the ledger knows how far that one was.
"""

from itertools import count

from mulligan.brokers.base import Emit
from mulligan.core import retry_state
from mulligan.core.error import LedgerError, PackingError
from mulligan.core.event import Becomes, RetryStateMissing, RetryStateNotTrusted
from mulligan.core.message import Message
from mulligan.core.move import is_finished, may_be_of, proves
from mulligan.core.progress import Progress
from mulligan.core.queue_role import QueueRole
from mulligan.core.retry_state import RetryState, Unread
from mulligan.core.value import value
from mulligan.worker.in_flight import InFlight
from mulligan.worker.pipeline.packer import Packer
from mulligan.worker.pipeline.patient_ledger import PatientLedger

__all__ = ["NEW", "New", "Newest", "StateVerifier", "Verdict", "Verified"]

_NO_ID = "it doesn't have the message's id: that is too long, or an older version wrote it"
_UNREAD = "it can't be read"
_UNKNOWN = "the ledger knows nothing of that message"
_CONTRADICTED = "the ledger says something else of that message"
_FORGED = "its body or id is not that of the message that it names"

_PACKED_MAX = 8
"""What is packed is not unpacked to more than this many times the largest message: its attributes may be in there."""


@value
class Verified:
    """It is this message. known: where that stands. problem: why its body is not available now."""

    message: Message
    state: RetryState
    known: Progress
    problem: str | None = None


@value
class Newest:
    """Of a stray, the first generation that has not ended, else the newest. hop: of its newest copy; one with a lower
    hop would be removed unrun.
    """

    generation: int
    hop: int


@value
class New:
    """It is a new message. An event has reported it."""


NEW = New()
Verdict = Verified | New | Newest | Unread


class StateVerifier:
    """One for a queue of a process."""

    def __init__(self, role: QueueRole, packer: Packer, ledger: PatientLedger, emit: Emit) -> None:
        self._role = role
        self._packer = packer
        self._ledger = ledger
        self._emit = emit

    async def verify(self, flight: InFlight) -> Verdict | None:
        """What a delivery is that is a stray, or carries a state where none is believed; waits while the ledger is not
        available.

        Unread: its row in the ledger can't be read, and may say of any task that it is done: it is to be left alone.
        None: the process ends, and the ledger can't be reached.
        """
        if flight.is_stray:
            return await self._newest(flight)
        message, state, unread = retry_state.read(flight.delivery, self._role.prefix, is_trusted=True)
        if unread is not None:  # what it says of damage quotes the attribute, which is a producer's here
            return self._doubt(flight, None, _UNREAD if unread.version is None else unread.problem)
        assert state is not None
        if state.id is None:
            return self._doubt(flight, state, _NO_ID)
        try:
            found = await self._ledger.look((state.uid, state.generation))
        except LedgerError as exc:
            return Unread(str(exc), is_held=True, is_in_ledger=True)
        if found is None:
            return None
        known = found[0]
        if known is None or not may_be_of(state, known.progress, known.hop):
            return self._doubt(flight, state, _UNKNOWN if known is None else _CONTRADICTED)
        return await self._unpacked(flight, message, state, known.progress)

    async def _newest(self, flight: InFlight) -> Newest | New | Unread | None:
        newest: Newest | None = None
        for generation in count():
            try:
                found = await self._ledger.look((flight.message.uid, generation))
            except LedgerError as exc:
                return Unread(str(exc), is_held=True, is_in_ledger=True)
            if found is None:
                return None
            if (known := found[0]) is None:
                break
            newest = Newest(generation, known.hop)
            if not is_finished(known.progress):
                break  # it may be the one that this generation goes on with, were it only to raise its alerts
        becomes: Becomes = "known" if newest else "dead" if self._role.buries_strays else "run"
        self._emit(RetryStateMissing(flight.message.uid, flight.delivery.queue, becomes))
        return newest or NEW

    async def _unpacked(self, flight: InFlight, message: Message, state: RetryState, known: Progress) -> Verdict:
        if state.wrap is not None and state.wrap.size > _PACKED_MAX * self._role.max_bytes:
            return self._doubt(flight, state, f"it is said to hold {state.wrap.size} bytes, more than any message here")
        try:
            whole = await self._packer.unpack(message, state)
        except PackingError as exc:
            return Verified(message, state, known, str(exc))  # neither run nor removed until its body is there
        if not proves(state, whole, self._role.prefix):
            return self._doubt(flight, state, _FORGED)
        return Verified(whole, state, known)

    def _doubt(self, flight: InFlight, state: RetryState | None, problem: str) -> New:
        uid = state.uid if state is not None else None
        self._emit(RetryStateNotTrusted(flight.message.uid, flight.delivery.queue, uid, problem))
        return NEW
