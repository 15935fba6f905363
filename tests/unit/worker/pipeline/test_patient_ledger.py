import pytest

from mulligan.core.error import LedgerError, LedgerUnavailable
from mulligan.core.event import LedgerDown, LedgerUp
from mulligan.ledger.base import Claim, Granted, Record

DOWN = LedgerUnavailable("the disk is full")


async def test_ledger_gives_a_claim_back_when_it_is_up_again(patient, make_held, ledger, clock):
    """Left to run out it looked like a dead worker's, and the message ran as a suspect."""
    flight = await make_held()
    ledger.faults["give_back"] = [DOWN] * 3

    assert await patient.give_back([flight.key])

    now = clock.now()
    (answer,) = await ledger.claim([Claim(flight.message.uid, 0, 0, "another", now + 60)], now)
    assert answer == Granted(None)


async def test_ledger_says_that_a_claim_was_not_given_back_when_the_process_has_to_end(patient, make_held, ledger):
    ledger.cut["give_back"] = DOWN
    patient.give_up()

    assert not await patient.give_back([(await make_held()).key])


async def test_ledger_is_waited_for_and_its_outage_is_reported_once(patient, make_held, ledger, events):
    flight = await make_held()
    ledger.faults["save"] = [DOWN] * 6

    answers = await patient.save([Record(flight.message.uid, 0, flight.token, flight.progress, None, False)])

    assert answers == [True]
    assert [type(event) for event in events] == [LedgerDown, LedgerUp]


async def test_ledger_is_asked_no_more_when_the_process_has_to_end(patient, ledger, make_held):
    flight = await make_held()
    ledger.cut["look"] = DOWN
    patient.give_up()

    assert await patient.look((flight.message.uid, 0)) is None

    assert ledger.count("look") == 1


async def test_ledger_raises_at_once_when_a_claim_finds_it_away(patient, ledger):
    """Whoever waits must not have others wait."""
    ledger.cut["claim"] = DOWN

    with pytest.raises(LedgerUnavailable):
        await patient.claim([], 0.0)

    assert ledger.count("claim") == 1


async def test_ledger_raises_what_is_no_outage(patient, ledger, make_held):
    flight = await make_held()
    ledger.faults["look"] = [LedgerError("the row can't be read")]

    with pytest.raises(LedgerError, match="the row can't be read"):
        await patient.look((flight.message.uid, 0))

    assert ledger.count("look") == 1
