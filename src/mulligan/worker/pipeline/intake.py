"""Takes what a receive brought: reads its retry state, gives it a slot of the lease table, and claims it.

Nothing is decided about a message here but whether it can be claimed at all. What can't be read is left alone; what
can't be claimed because the ledger is away goes back for others.
"""

import asyncio
import contextlib
from collections.abc import Sequence

from mulligan.core.delivery import Delivery
from mulligan.core.error import LedgerError
from mulligan.core.flow import settled
from mulligan.core.lifecycle import Phase, Report
from mulligan.core.message import Uid
from mulligan.core.queue_role import QueueRole
from mulligan.core.retry_state import Unread
from mulligan.core.step import Release
from mulligan.ledger.base import Answer
from mulligan.worker.failpoint import ARMED, Point
from mulligan.worker.in_flight import Damaged, InFlight
from mulligan.worker.ipc.lease_table import Counter
from mulligan.worker.opening import unless
from mulligan.worker.pipeline.capacity import Capacity
from mulligan.worker.pipeline.claims import Claims
from mulligan.worker.pipeline.held_copies import HeldCopies
from mulligan.worker.pipeline.patient_ledger import PatientLedger
from mulligan.worker.pipeline.slots import Slots
from mulligan.worker.pipeline.state_reader import StateReader
from mulligan.worker.pipeline.verifier import New, Newest, Verified
from mulligan.worker.reports import Reports

__all__ = ["HEAD_FIRST", "Intake"]

HEAD_FIRST = "the head of its group comes first"
_AWAY = "the ledger can't be reached"
_UNREAD = "its state can't be read"

_LOST = Phase.LOST  # looked up once: a member of an enum takes its time

_LAST_TRY_S = 1.0
"""What a process that is to end leaves the ledger to end claims that may have been made."""


class Intake:
    """Of one queue in one process.

    Reports `CLAIMED`, `RESOLVED` of what is released unclaimed, and `TURNED_AWAY` of what is behind a lost head.
    """

    def __init__(
        self,
        role: QueueRole,
        reader: StateReader,
        held_copies: HeldCopies,
        ledger: PatientLedger,
        claims: Claims,
        slots: Slots,
        capacity: Capacity,
        reports: Reports,
    ) -> None:
        self._role = role
        self._reader = reader
        self._held_copies = held_copies
        self._ledger = ledger
        self._claims = claims
        self._slots = slots
        self._capacity = capacity
        self._reports = reports
        self._stopping: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def stop(self) -> None:
        """The process is to end: what can't be claimed soon goes back."""
        if not self._stopping.done():
            self._stopping.set_result(None)

    async def take(self, deliveries: Sequence[Delivery], lease_until: float) -> None:
        """Take the deliveries of one receive. lease_until: monotonic seconds at which their leases end."""
        flights, has_others = self._reader.read(deliveries)
        self._slots.enter(flights, lease_until)
        self._capacity.receive(len(flights))
        if has_others:
            flights = await self._sort_out(flights, lease_until)
            if not flights:
                return
        self._slots.count(Counter.RECEIVED, len(flights))
        if ARMED is not None:
            ARMED.reach(Point.RECEIVED)
        answers = await self._claims.claim(flights, patience_s=self._role.lease_s)
        if answers is not None:
            self._answered(flights, answers)
        elif self._ledger.is_giving_up:
            self._release(flights)
        else:
            await self._go_without(flights)

    async def _sort_out(self, flights: list[InFlight], lease_until: float) -> list[InFlight]:
        """Leave alone what can't be read, unpack what is packed, and find out what is doubtful; those to be claimed."""
        flights = self._hold(flights)
        for flight in flights:
            if flight.state is not None and flight.state.wrap is not None:
                await self._reader.unpack(flight, flight.state)
        return await self._identify(flights, lease_until)

    def _answered(self, flights: Sequence[InFlight], answers: Sequence[Answer | Damaged]) -> None:
        self._claims.answered(flights, answers)
        if not [flight for flight in flights if flight.phase is _LOST]:
            self._reports.put(Report.CLAIMED, flights)
            return
        claimed: list[InFlight] = []
        behind: list[InFlight] = []
        groups: set[str] = set()
        for flight in flights:
            group = flight.delivery.group
            if group is not None and flight.phase is Phase.LOST:
                groups.add(group)
            if group in groups and flight.phase is not Phase.LOST:
                flight.reason = HEAD_FIRST
                behind.append(flight)
            else:
                claimed.append(flight)
        self._reports.put(Report.CLAIMED, claimed)
        self._reports.put(Report.TURNED_AWAY, behind)

    async def _go_without(self, flights: Sequence[InFlight]) -> None:
        """The ledger is away for long, perhaps only from here: let others have what was not begun. Until it can be
        written again nothing more is asked for, which is until this ends.

        What its queue would soon move away is kept: where the ledger is away from everybody, each look is a receive.
        """
        kept: list[InFlight] = []
        unsure: list[tuple[Uid, int, str]] = []
        for flight in flights:
            if flight.phase is not Phase.LOST and self._role.hands_on(flight.delivery.receive_count, 0.0):
                kept.append(flight)
                continue
            unsure.append(flight.key)
            flight.token = ""  # it does not wait for the end of its claim, of which nothing is known
            self._release((flight,))
        if unsure:
            # one may have been made whose answer was lost; and a ledger that only reads can't end it
            with contextlib.suppress(LedgerError):  # that is an answer
                await unless(self._stopping, self._ledger.give_back(unsure), grace_s=_LAST_TRY_S)
        if not kept:
            return
        if (answers := await self._claims.claim(kept)) is not None:
            self._answered(kept, answers)
        else:
            self._release(kept)

    def _release(self, flights: Sequence[InFlight]) -> None:
        """Give back what could not be claimed: nothing was started."""
        self._reports.put(Report.RESOLVED, [flight.resolve(Release(0.0), _AWAY) for flight in flights])

    async def _identify(self, flights: list[InFlight], lease_until: float) -> list[InFlight]:
        """Find out which messages those are that carry a retry state where none is believed, or none where all should.

        Returns the flights that continue.
        """
        for flight in [one for one in flights if self._reader.is_doubtful(one)]:
            match await self._reader.verify(flight):
                case None:
                    self._release(flights)
                    return []
                case Verified() as believed:
                    self._believe(flight, believed, lease_until)
                case Unread() as unread:
                    flight.unread, flight.token = unread, ""
                case Newest(generation, hop):
                    flight.generation, flight.hop = generation, hop
                    self._slots.enter_anew(flight, lease_until)
                case New():
                    pass
        return self._hold(flights)

    def _believe(self, flight: InFlight, believed: Verified, lease_until: float) -> None:
        """Take the flight for the message that its retry state names."""
        state = flight.state = believed.state
        flight.message, flight.problem, flight.is_fresh = believed.message, believed.problem, False
        flight.generation, flight.hop, flight.first_seen_at = state.generation, state.hop, state.first_seen_at
        flight.carried = flight.progress = flight.saved = settled(believed.known)
        if state.is_dead:
            flight.replay()
        self._slots.enter_anew(flight, lease_until)

    def _hold(self, flights: Sequence[InFlight]) -> list[InFlight]:
        """Leave copies alone whose state can't be read, and with them what is behind them in their groups; the rest."""
        rest: list[InFlight] = []
        resolved: list[InFlight] = []
        stopped: set[str] = set()
        for flight in flights:
            group = flight.delivery.group
            if flight.unread is not None:
                wait_s = self._held_copies.add(flight, flight.unread)
                wait_s = self._role.patient_s(flight.delivery.receive_count, wait_s)
                resolved.append(flight.resolve(Release(wait_s), _UNREAD))
                if group is not None:
                    stopped.add(group)
            elif group is not None and group in stopped:
                if self._role.hands_on(flight.delivery.receive_count, 0.0):
                    # it comes back as often as its head, and its queue would move it away
                    flight.must_leave, flight.is_fresh = True, False
                    rest.append(flight)
                else:
                    flight.token = ""
                    resolved.append(flight.resolve(Release(0.0), HEAD_FIRST))
            else:
                rest.append(flight)
        self._reports.put(Report.RESOLVED, resolved)
        return rest
