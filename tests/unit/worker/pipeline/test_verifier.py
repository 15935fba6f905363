from dataclasses import replace

import pytest

from mulligan.core import fingerprint, retry_state
from mulligan.core.error import LedgerError, LedgerUnavailable
from mulligan.core.event import RetryStateMissing, RetryStateNotTrusted
from mulligan.core.message import TaskName
from mulligan.core.progress import FRESH, Mark, Progress, State
from mulligan.core.retry_state import RetryState, Unread
from mulligan.ledger.base import Claim, Record
from mulligan.storage.body import BodyFolder
from mulligan.worker.pipeline.packer import Packer
from mulligan.worker.pipeline.verifier import NEW, Newest, StateVerifier, Verified

SENT_AT = 1_700_000_000.0
UID = fingerprint.uid("t", "order-1", b"hello", SENT_AT)
ONCE = Progress({TaskName("One"): Mark(State.PENDING, 1, SENT_AT + 10.0, "no", SENT_AT)})
DONE = Progress({TaskName("One"): Mark(State.DONE, 2)})
TOLD = RetryState(UID, 0, 1, SENT_AT, Progress({TaskName("One"): FRESH}), id="order-1")


@pytest.fixture
async def make_verifier(role, patient, events, tmp_path):
    def make_verifier(**more):
        return StateVerifier(replace(role, **more), Packer(BodyFolder(tmp_path)), patient, events.append)

    return make_verifier


@pytest.fixture
async def verifier(make_verifier):
    return make_verifier()


@pytest.fixture
def save(ledger, clock):
    async def save(progress, generation=0, hop=1):
        """Have the ledger know this of the message."""
        now = clock.now()
        await ledger.claim([Claim(UID, generation, hop, "somebody", now + 60)], now)
        assert await ledger.save([Record(UID, generation, "somebody", progress, hop, True)]) == [True]

    return save


@pytest.fixture
def make_copy(make_flight):
    def make_copy(told=TOLD, body=b"hello"):
        """A flight of requests with this retry state, which nobody believes yet."""
        flight = make_flight(uid="018bcfe56800-made-up")
        attributes = {retry_state.ATTRIBUTE: retry_state.encode(told) if isinstance(told, RetryState) else told}
        flight.delivery = replace(flight.delivery, body=body, attributes=attributes)
        return flight

    return make_copy


@pytest.fixture
def stray(make_flight):
    flight = make_flight(uid=UID)
    flight.is_stray = True
    return flight


# -- a retry state where none is believed


async def test_copy_is_the_message_that_its_ledger_vouches_for_and_stands_where_that_says(verifier, make_copy, save):
    await save(ONCE)

    found = await verifier.verify(make_copy())

    assert isinstance(found, Verified)
    assert (found.message.uid, found.state.hop, found.known, found.problem) == (UID, 1, ONCE, None)


async def test_copy_is_a_new_message_when_the_ledger_knows_nothing_of_it(verifier, make_copy, events):
    assert await verifier.verify(make_copy()) is NEW

    (event,) = events
    assert (type(event), event.state_uid) == (RetryStateNotTrusted, UID)
    assert "knows nothing" in event.problem


async def test_copy_is_a_new_message_when_its_body_is_another(verifier, make_copy, save, events):
    """Whoever forges one gets a repeat of a message that he has, and nothing else."""
    await save(ONCE)

    assert await verifier.verify(make_copy(body=b"another")) is NEW

    assert "its body or id" in events[0].problem


async def test_copy_is_a_new_message_when_it_is_ahead_of_the_ledger(verifier, make_copy, save, events):
    await save(ONCE)

    assert await verifier.verify(make_copy(replace(TOLD, hop=3))) is NEW

    assert "something else" in events[0].problem


async def test_copy_is_a_new_message_when_it_does_not_tell_what_its_uid_was_made_of(verifier, make_copy, save, events):
    await save(ONCE)

    assert await verifier.verify(make_copy(replace(TOLD, id=None))) is NEW

    assert len(events) == 1


async def test_copy_is_a_new_message_when_its_state_can_not_be_read(verifier, make_copy, events):
    """What it says of the damage quotes the attribute, which may be a producer's."""
    assert await verifier.verify(make_copy("<script>")) is NEW

    assert [(event.state_uid, event.problem) for event in events] == [(None, "it can't be read")]


async def test_copy_is_left_alone_when_its_row_can_not_be_read(verifier, make_copy, ledger):
    ledger.faults["look"] = [LedgerError("row 7 can't be read")]

    found = await verifier.verify(make_copy())

    assert found == Unread("row 7 can't be read", is_held=True, is_in_ledger=True)


async def test_copy_is_undecided_when_the_process_ends_and_the_ledger_is_away(verifier, make_copy, patient, ledger):
    ledger.cut["look"] = LedgerUnavailable("the disk is full")
    patient.give_up()

    assert await verifier.verify(make_copy()) is None


# -- no retry state where all should have one


@pytest.mark.parametrize(("buries", "becomes"), [(False, "run"), (True, "dead")])
async def test_stray_is_new_when_the_ledger_knows_nothing_of_it(make_verifier, stray, events, buries, becomes):
    assert await make_verifier(buries_strays=buries).verify(stray) is NEW

    assert [(type(event), event.becomes) for event in events] == [(RetryStateMissing, becomes)]


async def test_stray_is_of_the_first_generation_that_has_not_ended(verifier, stray, save, events):
    await save(DONE, 0)
    await save(ONCE, 1, hop=4)
    await save(ONCE, 2)

    assert await verifier.verify(stray) == Newest(1, 4)

    assert [event.becomes for event in events] == ["known"]


async def test_stray_is_of_the_newest_generation_when_all_have_ended(verifier, stray, save):
    await save(DONE, 0)
    await save(DONE, 1, hop=2)

    assert await verifier.verify(stray) == Newest(1, 2)


async def test_stray_is_left_alone_when_its_row_can_not_be_read(verifier, stray, ledger, events):
    ledger.faults["look"] = [LedgerError("row 7 can't be read")]

    assert await verifier.verify(stray) == Unread("row 7 can't be read", is_held=True, is_in_ledger=True)
    assert events == []
