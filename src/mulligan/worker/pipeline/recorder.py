"""Keeps outcomes, durably, before anything is settled: the first word of record -> copy -> remove."""

import asyncio
import math
from collections.abc import Callable, Sequence

from mulligan.brokers.base import Emit
from mulligan.clock import SystemClock
from mulligan.core.error import LedgerError, LedgerUnavailable
from mulligan.core.message import Uid
from mulligan.ledger.base import GRANTED, Answer, Claim, Granted, Key, Known, Ledger, Record
from mulligan.worker.failpoint import ARMED, Point
from mulligan.worker.in_flight import Damaged, InFlight
from mulligan.worker.outage import of_ledger
from mulligan.worker.pipeline.backpressure import Backpressure
from mulligan.worker.pipeline.batcher import Batcher

__all__ = ["CLAIM_SPENT", "Recorder"]

_BATCH_MAX = 1000
_ASKS_MAX = 40

CLAIM_SPENT = 0.25
"""Share of a claim's time that may pass before the ledger's answer to it is known."""
_RETRY_S = (0.1, 0.5, 1.0, 2.0)
"""Between tries; the last one is how late work goes on after an outage."""


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


class Recorder:
    """Saves flights' progress in groups, each as soon as the group before it is on disk.

    lease_s: for how long claims are asked for. kept: called with flights whose progress is now saved. lost: with
    flights whose claim is somebody else's. left: with flights whose claim has ended without a settlement. brake: the
    backpressure, which counts ends and their records.
    While the ledger can't be written everything waits, and nothing is settled; an event says so once.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: SystemClock,
        emit: Emit,
        lease_s: float,
        *,
        kept: Callable[[Sequence[InFlight]], None],
        lost: Callable[[InFlight], None],
        left: Callable[[InFlight], None] = lambda _: None,
        failed: Callable[[BaseException], None],
        brake: Backpressure | None = None,
    ) -> None:
        self._brake = brake or Backpressure()
        self._ledger = ledger
        self._keeps_nothing = not ledger.is_durable  # then it isn't asked: it would say yes to everything
        self._clock = clock
        self._emit = emit
        self._lease_s = lease_s
        self._kept = kept
        self._lost = lost
        self._left = left
        self._outage = of_ledger(clock, emit)
        self._lateness = of_ledger(clock, emit)
        self._saves: Batcher[InFlight] = Batcher(self._save, max_batch=_BATCH_MAX, failed=failed)
        self._returns: Batcher[InFlight] = Batcher(self._return, max_batch=_BATCH_MAX, failed=failed)
        self._claims: Batcher[_Ask] = Batcher(self._claim, max_batch=_ASKS_MAX, failed=failed)
        self._is_giving_up = False

    def put(self, flight: InFlight, *, ends: int = 0) -> None:
        """Keep the flight's progress. Put again while it is being saved, it is saved again.

        ends: attempts whose ends are new in it.
        """
        if self._keeps_nothing:
            flight.saved = flight.progress
            if ARMED is not None and flight.running:
                ARMED.reach(Point.RECORDED)
            self._kept((flight,))
            return
        flight.unrecorded += ends
        self._brake.ended(ends)
        if not flight.is_saving:
            flight.is_saving = True
            self._saves.put(flight)

    @property
    def is_idle(self) -> bool:
        """Everything that was put is saved, and every claim that was to be left is given back."""
        return self._saves.is_idle and self._returns.is_idle

    async def claim(
        self, flights: Sequence[InFlight], *, patience_s: float = math.inf
    ) -> Sequence[Answer | Damaged] | None:
        """The ledger's answers to claims of `lease_s`; waits while it is not available. None: until `give_up`, or for
        patience_s.

        An answer that comes late is asked for again, for as long: what it grants may have run out on its way.
        """
        if self._keeps_nothing:
            return [GRANTED] * len(flights)
        until, late = self._clock.monotonic() + patience_s, 0
        for attempt in range(1_000_000):
            ask = _Ask(flights)
            if attempt == 0:
                self._claims.put(ask)
            else:  # by itself: the row that is locked or damaged may be another receive's
                await self._claim([ask])
            try:
                answers, asked_at = await ask.answered
            except LedgerUnavailable as exc:
                if not await self._wait(attempt, exc) or self._clock.monotonic() >= until:
                    return None
                continue
            except LedgerError as exc:
                if attempt == 0:
                    continue
                return await self._claim_apart(flights, exc)
            self._outage.is_over()
            # looked at here and not where the answer came in: what else the loop had to do has taken its time, too
            if not self._is_late(asked_at):
                self._lateness.is_over()
                return answers
            late += 1
            if late > 1:  # one may come of a process that stood still
                self._tell_late(asked_at)
            if self._clock.monotonic() >= until:
                return None
        return None

    def _tell_late(self, asked_at: float) -> None:
        took_s, good_s = self._clock.monotonic() - asked_at, CLAIM_SPENT * self._lease_s
        self._lateness.goes_on(
            LedgerUnavailable(
                f"it answers too late: a claim took {took_s:.1f} s, and is good for its message only within {good_s:g}"
                " s (a quarter of LEASE_S). It is asked again; look at the ledger's load and the way to it, or raise"
                " LEASE_S."
            )
        )

    async def _claim(self, asks: list[_Ask]) -> None:
        """What several receives brought goes together: a transaction costs as much as the claims of ten messages.

        What goes wrong is told to each, and each goes on by itself: one that has to wait keeps no other waiting.
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
        return not self._is_giving_up and self._clock.monotonic() - asked_at > CLAIM_SPENT * self._lease_s

    async def look(self, key: Key) -> list[Known | None] | None:
        """What the ledger knows of one message, as a list of one; waits as `claim` does, and is then None.

        Raises LedgerError when its row is damaged.
        """
        for attempt in range(1_000_000):
            try:
                found = await self._ledger.look([key])
            except LedgerUnavailable as exc:
                if not await self._wait(attempt, exc):
                    return None
                continue
            self._outage.is_over()
            return found
        return None

    async def keep(self, records: Sequence[Record]) -> list[bool] | None:
        """The ledger's answers to records that are not a flight's progress; waits as `claim` does."""
        for attempt in range(1_000_000):
            try:
                answers = await self._ledger.save(records)
            except LedgerUnavailable as exc:
                if not await self._wait(attempt, exc):
                    return None
                continue
            self._outage.is_over()
            return answers
        return None

    async def give_back(self, flights: Sequence[InFlight]) -> bool:
        """End the claims of flights that are released; waits as `claim` does.

        False when that lasted until `give_up`. A claim that is left to run out looks like that of a dead worker.
        """
        return await self.give_back_all([flight.key for flight in flights])

    async def give_back_all(self, tokens: Sequence[tuple[Uid, int, str]]) -> bool:
        """The same of claims (uid, generation, token), whether they were made or not."""
        for attempt in range(1_000_000):
            try:
                await self._ledger.give_back(tokens)
            except LedgerUnavailable as exc:
                if not await self._wait(attempt, exc):
                    return False
                continue
            self._outage.is_over()
            return True
        return False

    def give_up(self) -> None:
        """From now on a ledger that is not available is not waited for: the process has to end."""
        self._is_giving_up = True

    @property
    def is_giving_up(self) -> bool:
        """The process has to end."""
        return self._is_giving_up

    def leave(self, flight: InFlight) -> None:
        """Give the claim of a flight back that ends without a settlement, if it is still ours; then `left`."""
        self._returns.put(flight)

    async def drain(self) -> None:
        """Wait until everything that was put is saved, or given up."""
        await self._saves.drain()
        await self._returns.drain()

    async def _return(self, flights: list[InFlight]) -> None:
        if not await self.give_back(flights):
            return  # the process ends: they stay in the lease table, and the supervisor does it
        for flight in flights:
            self._left(flight)

    async def _save(self, flights: list[InFlight]) -> None:
        snapshots = [flight.progress for flight in flights]
        records = [
            Record(flight.message.uid, flight.generation, flight.token, snapshot, None, flight.ends_claim)
            for flight, snapshot in zip(flights, snapshots, strict=True)
        ]
        ends = 0
        for flight in flights:
            flight.is_saving = False
            ends += flight.unrecorded
            flight.unrecorded = 0
        answers = await self.keep(records)
        if answers is None:
            return
        kept: list[InFlight] = []
        for flight, snapshot, is_kept in zip(flights, snapshots, answers, strict=True):
            if is_kept:
                flight.saved = snapshot
                kept.append(flight)
            else:
                self._lost(flight)
        if ARMED is not None and any(flight.running for flight in kept):
            ARMED.reach(Point.RECORDED)
        self._brake.recorded(ends)
        self._kept(kept)

    async def _wait(self, attempt: int, exc: LedgerUnavailable) -> bool:
        self._outage.goes_on(exc)
        if self._is_giving_up:
            return False
        await asyncio.sleep(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])
        return True
