import asyncio

import pytest

from mulligan.core.error import LedgerError, LedgerUnavailable, StorageBroken
from mulligan.core.lifecycle import Report
from mulligan.ledger.base import GRANTED, Claim, Granted, Held
from mulligan.ledger.memory import MemoryLedger
from mulligan.ledger.none import NoLedger
from mulligan.worker.in_flight import Damaged
from mulligan.worker.pipeline.claims import Claims
from mulligan.worker.pipeline.patient_ledger import PatientLedger

DOWN = LedgerUnavailable("the disk is full")
UID = "018bcfe56800-0000000000000000000"


@pytest.fixture
async def claims_in(runtime, table, reports):
    def make(ledger):
        """Claims of a minute in that ledger, and the ledger as they use it."""
        patient = PatientLedger(ledger, runtime.clock, runtime.emit)
        return Claims(runtime, patient, table, reports, 60.0), patient

    return make


async def test_claim_is_made_when_the_ledger_is_back_with_an_end_that_is_not_over(claims, ledger, clock, make_flight):
    began = clock.now()
    flight = make_flight("One", uid=f"{UID}0")
    ledger.faults["claim"] = [DOWN] * 40

    (answer,) = await claims.claim([flight])

    assert answer == Granted(None)
    waited_s = clock.now() - began
    assert waited_s > 60
    (claim,) = [args[0][0] for name, args in ledger.calls if name == "claim"][-1:]
    assert (claim.uid, claim.token) == (flight.message.uid, flight.token)
    assert claim.until == pytest.approx(began + 60 + waited_s)


async def test_claim_is_made_once_when_the_wall_clock_jumped_beyond_the_claims_end(claims, ledger, clock, make_flight):
    """It asked again and again: the end of its claim lay in the past, so each answer seemed to come late."""
    ledger.faults["claim"] = [DOWN]
    asking = asyncio.create_task(claims.claim([make_flight("One", uid=f"{UID}0")]))
    await asyncio.sleep(0.05)

    clock.jumped_s += 3600

    assert await asking == [Granted(None)]
    assert ledger.count("claim") == 2


async def test_receives_of_one_turn_claim_together_and_each_gets_its_own_answers(claims, ledger, clock, make_flight):
    flights = [make_flight("One", uid=f"{UID}{number}") for number in range(4)]
    now = clock.now()
    await ledger.claim([Claim(flights[2].message.uid, 0, 0, "another", now + 60)], now)

    answers = await asyncio.gather(claims.claim(flights[:1]), claims.claim(flights[1:3]), claims.claim(flights[3:]))

    assert answers == [[Granted(None)], [Granted(None), Held(now + 60)], [Granted(None)]]
    assert ledger.count("claim") == 1 + 1


async def test_damaged_row_keeps_only_its_own_message_back_when_receives_claim_together(
    claims_in, clock, events, make_flight
):
    flights = [make_flight("One", uid=f"{UID}{number}") for number in range(4)]

    class OneRow(MemoryLedger):
        is_durable = True  # or it would not be asked

        async def claim(self, asked, now):
            if any(claim.uid == flights[2].message.uid for claim in asked):
                raise LedgerError("the row can't be read")
            return await super().claim(asked, now)

    claims, _ = claims_in(OneRow(clock))

    answers = await asyncio.gather(claims.claim(flights[:2]), claims.claim(flights[2:3]), claims.claim(flights[3:]))

    assert answers == [[Granted(None)] * 2, [Damaged("the row can't be read")], [Granted(None)]]
    assert events == []


async def test_receives_are_answered_when_claiming_one_by_one_takes_longer_than_a_claim_may(
    claims_in, clock, make_flight
):
    """All answers were late, and all receives asked again together with the damaged row, without end."""
    flights = [make_flight("One", uid=f"{UID}{number}") for number in range(9)]

    class Slow(MemoryLedger):
        is_durable = True

        async def claim(self, asked, now):
            await asyncio.sleep(10.0)
            if any(claim.uid == flights[2].message.uid for claim in asked):
                raise LedgerError("the row can't be read")
            return await super().claim(asked, now)

    claims, _ = claims_in(Slow(clock))

    answers = await asyncio.gather(claims.claim(flights[:4]), claims.claim(flights[4:]))

    assert [type(one) for one in answers[0]] == [Granted, Granted, Damaged, Granted]
    assert answers[1] == [Granted(None)] * 5


async def test_receive_that_has_to_wait_for_the_ledger_keeps_no_other_waiting(claims_in, clock, make_flight):
    """Somebody has one row of the ledger locked: what came later waited behind it."""
    locked, free = (make_flight("One", uid=f"{UID}{number}") for number in range(2))

    class Locked(MemoryLedger):
        is_durable = True

        async def claim(self, asked, now):
            if any(claim.uid == locked.message.uid for claim in asked):
                raise LedgerUnavailable("the row is locked")
            return await super().claim(asked, now)

    claims, patient = claims_in(Locked(clock))
    waiting = asyncio.create_task(claims.claim([locked]))
    await asyncio.sleep(0)

    assert await claims.claim([free]) == [Granted(None)]
    assert not waiting.done()
    patient.give_up()
    assert await waiting is None


async def test_receive_that_is_cancelled_leaves_the_claims_of_others_to_be_answered(claims, ledger, make_flight):
    ledger.faults["claim"] = [DOWN]
    cancelled = asyncio.create_task(claims.claim([make_flight("One", uid=f"{UID}0")]))
    other = asyncio.create_task(claims.claim([make_flight("One", uid=f"{UID}1")]))
    await asyncio.sleep(0.05)

    cancelled.cancel()

    assert await other == [Granted(None)]


async def test_every_receive_gets_a_fault_that_ends_the_worker_when_they_claim_together(
    claims, ledger, failed, make_flight
):
    """They waited for ever, and so did the worker that had to end."""
    ledger.faults["claim"] = [StorageBroken("a sync failed")]

    found = await asyncio.gather(
        *(claims.claim([make_flight("One", uid=f"{UID}{number}")]) for number in range(2)), return_exceptions=True
    )

    assert [str(one) for one in found] == ["a sync failed"] * 2
    assert failed == []


async def test_claim_is_given_up_when_the_process_has_to_end(claims, patient, ledger, make_flight):
    ledger.cut["claim"] = DOWN
    asking = asyncio.create_task(claims.claim([make_flight("One", uid=f"{UID}0")]))
    await asyncio.sleep(60)

    patient.give_up()

    assert await asking is None


async def test_claim_is_given_up_after_its_patience_when_the_ledger_stays_away(claims, clock, ledger, make_flight):
    ledger.cut["claim"] = DOWN
    began_at = clock.monotonic()

    assert await claims.claim([make_flight("One", uid=f"{UID}0")], patience_s=60.0) is None

    assert 60.0 <= clock.monotonic() - began_at <= 62.0


async def test_claim_is_granted_at_once_where_nothing_is_kept(claims_in, ledger, make_flight):
    nothing, _ = claims_in(NoLedger())

    assert await nothing.claim([make_flight(), make_flight()]) == [GRANTED, GRANTED]

    assert ledger.calls == []


# -- held


async def test_claim_is_known_in_the_lease_table_when_it_is_granted_and_only_then(claims, slots, table, make_flight):
    granted, held = make_flight(uid=f"{UID}0"), make_flight(uid=f"{UID}1")
    slots.enter([granted, held], 2000.0)

    claims.answered([granted, held], [GRANTED, Held(1_700_000_060.0)])

    assert [(one.uid, one.is_claimed) for one in table.holdings()] == [(f"{UID}0", True), (f"{UID}1", False)]


async def test_claim_is_good_for_three_quarters_of_its_time_when_it_is_answered(
    claims, slots, watch, clock, make_flight
):
    """Up to a quarter may have passed before the answer was known."""
    flight = make_flight()
    slots.enter([flight], 2000.0)

    claims.answered([flight], [GRANTED])

    now = clock.monotonic()
    assert watch.holds_at(flight, now + 44.9)
    assert not watch.holds_at(flight, now + 45.0)


async def test_claim_was_not_granted_before_it_was_answered(claims, slots, clock, make_flight):
    flight = make_flight()
    slots.enter([flight], 2000.0)
    asked_at = clock.monotonic()
    assert not claims.was_granted_by(flight, asked_at)
    await asyncio.sleep(1)

    claims.answered([flight], [GRANTED])

    assert not claims.was_granted_by(flight, asked_at)
    assert claims.was_granted_by(flight, clock.monotonic())


# -- given back


async def test_claims_that_are_left_are_given_back_together_and_their_deliveries_have_ended(
    claims, make_held, ledger, clock, reported
):
    flights = [await make_held(number) for number in range(3)]

    claims.leave(flights)
    assert not claims.is_idle
    await asyncio.sleep(1)

    assert claims.is_idle
    assert reported == [(Report.SETTLED, flights)]
    assert ledger.count("give_back") == 1
    now = clock.now()
    assert await ledger.claim([Claim(flights[2].message.uid, 0, 0, "another", now + 60)], now) == [Granted(None)]


async def test_claim_that_is_left_waits_for_the_ledger(claims, make_held, ledger, reported):
    flight = await make_held()
    ledger.faults["give_back"] = [DOWN] * 3

    claims.leave([flight])
    await asyncio.sleep(10)

    assert reported == [(Report.SETTLED, [flight])]


async def test_claim_that_is_left_stays_in_the_lease_table_when_the_process_has_to_end(
    claims, patient, make_held, ledger, reported
):
    """The supervisor ends it then."""
    flight = await make_held()
    ledger.cut["give_back"] = DOWN
    patient.give_up()

    claims.leave([flight])
    await asyncio.sleep(10)

    assert claims.is_idle
    assert reported == []
