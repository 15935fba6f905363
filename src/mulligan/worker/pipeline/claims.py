"""The claims of a pipeline's messages: made for each receive, held while a message is worked on, given back."""

import asyncio
import math
from collections.abc import Sequence
from itertools import count

from mulligan.core.error import LedgerError, LedgerUnavailable
from mulligan.core.lifecycle import Report
from mulligan.ledger.base import GRANTED, Answer, Claim, Granted
from mulligan.worker.in_flight import Damaged, InFlight
from mulligan.worker.ipc.lease_table import LeaseTable
from mulligan.worker.outage import of_ledger
from mulligan.worker.pipeline.batcher import Batcher
from mulligan.worker.pipeline.patient_ledger import PatientLedger
from mulligan.worker.pipeline.runtime import Runtime
from mulligan.worker.reports import Reports

__all__ = ["Claims"]

_BATCH_MAX = 1000
_ASKS_MAX = 40

_SPENT = 0.25
"""Share of a claim's time that may pass before the ledger's answer to it is known."""


class _Ask:
    """Claims of one receive. answered: the ledger's answers, and the monotonic second at which they were asked for."""

    __slots__ = ("answered", "flights")

    def __init__(self, flights: Sequence[InFlight]) -> None:
        self.flights = flights
        self.answered: asyncio.Future[tuple[list[Answer], float]] = asyncio.get_running_loop().create_future()

    def answer(self, found: tuple[list[Answer], float]) -> None:
        if not self.answered.done():  # else who asked was cancelled
            self.answered.set_result(found)

    def fail(self, exc: Exception) -> None:
        if not self.answered.done():
            self.answered.set_exception(exc)


class Claims:
    """Of one queue in one process. lease_s: for how long claims are asked for; the supervisor extends them.

    Reports `SETTLED` of deliveries whose claim has ended without a settlement.
    """

    def __init__(
        self, runtime: Runtime, ledger: PatientLedger, table: LeaseTable, reports: Reports, lease_s: float
    ) -> None:
        self._ledger = ledger
        self._table = table
        self._clock = runtime.clock
        self._reports = reports
        self._lease_s = lease_s
        self._good_s = (1 - _SPENT) * lease_s
        self._lateness = of_ledger(runtime.clock, runtime.emit)
        self._asks: Batcher[_Ask] = Batcher(self._ask, max_batch=_ASKS_MAX, failed=runtime.failed)
        self._returns: Batcher[InFlight] = Batcher(self._return, max_batch=_BATCH_MAX, failed=runtime.failed)

    # -- made

    async def claim(
        self, flights: Sequence[InFlight], *, patience_s: float = math.inf
    ) -> Sequence[Answer | Damaged] | None:
        """The ledger's answers to claims of `lease_s`; waits while it is not available. None: until `give_up`, or for
        patience_s.

        An answer that comes late is asked for again, for as long: what it grants may have run out on its way.
        """
        if not self._ledger.is_durable:  # then it isn't asked: it would say yes to everything
            return [GRANTED] * len(flights)
        until, late = self._clock.monotonic() + patience_s, 0
        for attempt in count():
            ask = _Ask(flights)
            if attempt == 0:
                self._asks.put(ask)
            else:  # on its own: the row that is locked or damaged may be another receive's
                await self._ask([ask])
            try:
                answers, asked_at = await ask.answered
            except LedgerUnavailable as exc:
                if not await self._ledger.has_passed(attempt, exc) or self._clock.monotonic() >= until:
                    return None
                continue
            except LedgerError as exc:
                if attempt == 0:
                    continue
                return await self._claim_apart(flights, exc)
            self._ledger.has_answered()
            # check here, after the loop has run this task again: scheduling delay counts against the claim
            if not self._is_late(asked_at):
                self._lateness.is_over()
                return answers
            late += 1
            if late > 1:  # one may come of a process that stood still
                self._report_late(asked_at)
            if self._clock.monotonic() >= until:
                return None
        return None

    async def _ask(self, asks: list[_Ask]) -> None:
        """What several receives brought goes together: a transaction costs as much as the claims of ten messages.

        Each gets the error if there is one, and repeats its own claims: one that has to wait keeps no other waiting.
        """
        asked_at, now = self._clock.monotonic(), self._clock.now()
        until = now + self._lease_s
        claims = [
            Claim(one.message.uid, one.generation, one.hop, one.token, until) for ask in asks for one in ask.flights
        ]
        try:
            answers = await self._ledger.claim(claims, now)
        except Exception as exc:  # noqa: BLE001 - whatever it is: nobody may wait for ever
            for ask in asks:
                ask.fail(exc)
            return
        place = 0
        for ask in asks:
            end = place + len(ask.flights)
            ask.answer((answers[place:end], asked_at))
            place = end

    async def _claim_apart(self, flights: Sequence[InFlight], exc: LedgerError) -> list[Answer | Damaged] | None:
        """Claim one by one, so that a damaged row keeps only its own message back."""
        if len(flights) == 1:
            return [Damaged(str(exc))]
        began_at = self._clock.monotonic()
        found: list[Answer | Damaged] = []
        for flight in flights:
            if (answers := await self.claim([flight])) is None:
                return None
            found += answers
        granted = [place for place, answer in enumerate(found) if isinstance(answer, Granted)]
        if granted and self._is_late(began_at):  # the first may have run out while the others were asked for
            if (answers := await self.claim([flights[place] for place in granted])) is None:
                return None
            for place, answer in zip(granted, answers, strict=True):
                found[place] = answer
        return found

    def _is_late(self, asked_at: float) -> bool:
        return not self._ledger.is_giving_up and self._clock.monotonic() - asked_at > _SPENT * self._lease_s

    def _report_late(self, asked_at: float) -> None:
        took_s, good_s = self._clock.monotonic() - asked_at, _SPENT * self._lease_s
        self._lateness.goes_on(
            LedgerUnavailable(
                f"it answers too late: a claim took {took_s:.1f} s, and is good for its message only within {good_s:g}"
                " s (a quarter of LEASE_S). It is asked again; look at the ledger's load and the way to it, or raise"
                " LEASE_S."
            )
        )

    # -- held

    def answered(self, flights: Sequence[InFlight], answers: Sequence[Answer | Damaged]) -> None:
        """Note the ledger's answers; from now on the supervisor extends the claims that are granted."""
        claimed_until = self._clock.monotonic() + self._good_s
        granted: list[int] = []
        for flight, answer in zip(flights, answers, strict=True):
            flight.answer, flight.claimed_until = answer, claimed_until
            if isinstance(answer, Granted):
                granted.append(flight.slot)
        self._table.set_claimed(granted)

    def was_granted_by(self, flight: InFlight, asked_at: float) -> bool:
        """Whether the claim was known to be granted at that monotonic second. Before, there is nothing to extend."""
        return flight.answer is not None and flight.claimed_until - self._good_s <= asked_at

    # -- given back

    def leave(self, flights: Sequence[InFlight]) -> None:
        """End the claims, where they are ours still, of flights that end without a settlement."""
        for flight in flights:
            self._returns.put(flight)

    @property
    def is_idle(self) -> bool:
        """Every claim that was to be left is given back."""
        return self._returns.is_idle

    async def _return(self, flights: list[InFlight]) -> None:
        if await self._ledger.give_back([flight.key for flight in flights]):
            self._reports.put(Report.SETTLED, flights)
        # else the process ends: they stay in the lease table, and the supervisor does it
