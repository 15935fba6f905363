import asyncio
from dataclasses import replace

import pytest

from mulligan.core.lifecycle import Phase
from mulligan.core.message import Message, TaskName, Uid
from mulligan.core.progress import Mark, Progress, State
from mulligan.core.retry_state import RetryState
from mulligan.core.step import ACK
from mulligan.worker.in_flight import InFlight, IsolatedStart

UID = Uid("018bcfe56800-00000000000000000009")
DONE = Progress({TaskName("One"): Mark(State.DONE, 1)}, is_buried=True)
TOLD = RetryState(UID, 2, 3, 1_600_000_000.0, DONE, group="g", id="order-1")


@pytest.fixture
def make_copy(make_flight):
    def make_copy(told):
        """A flight that came with this retry state."""
        delivery = replace(make_flight().delivery, group="letter")
        return InFlight(delivery, Message(UID, b"hello", {}, 1.0), told, "token", 1_700_000_000.0)

    return make_copy


def test_flight_begins_unclaimed_and_without_a_slot(make_flight):
    flight = make_flight()

    assert (flight.phase, flight.slot, flight.answer, flight.settlement) == (Phase.CLAIMING, -1, None, None)


def test_flight_of_a_new_message_is_fresh_and_first_seen_now(make_copy):
    flight = make_copy(None)

    assert (flight.is_fresh, flight.generation, flight.hop) == (True, 0, 0)
    assert flight.first_seen_at == flight.received_at == 1_700_000_000.0
    assert flight.progress.marks == {}


def test_flight_of_a_copy_stands_where_its_retry_state_says(make_copy):
    flight = make_copy(TOLD)

    assert (flight.is_fresh, flight.generation, flight.hop, flight.first_seen_at) == (False, 2, 3, 1_600_000_000.0)
    assert flight.carried is flight.progress is flight.saved is DONE
    assert flight.key == (UID, 2, "token")


def test_group_of_a_dead_letter_is_its_messages_own(make_copy):
    assert make_copy(TOLD).group == "g"
    assert make_copy(replace(TOLD, group=None)).group == make_copy(None).group == "letter"


def test_replay_is_the_next_generation_and_not_buried(make_copy):
    flight = make_copy(TOLD)

    flight.replay()

    assert (flight.is_replay, flight.generation, flight.hop) == (True, 3, 0)
    assert flight.carried is flight.progress is flight.saved
    assert (flight.progress.marks, flight.progress.is_buried) == (DONE.marks, False)


def test_story_of_a_copy_keeps_what_its_uid_was_made_of(make_copy):
    told = make_copy(TOLD).copy_state(Progress(DONE.marks), 4)

    assert told == RetryState(UID, 2, 4, 1_600_000_000.0, Progress(DONE.marks), id="order-1")


@pytest.mark.parametrize(
    ("told", "may_be"),
    [
        (replace(TOLD, progress=Progress({})), True),
        (replace(TOLD, progress=Progress({}, is_buried=True)), False),
        (replace(TOLD, progress=Progress(DONE.marks)), False),
        (None, False),
    ],
)
def test_letter_may_be_one_whose_retry_state_names_no_task(make_copy, told, may_be):
    assert make_copy(told).may_be_letter is may_be


def test_letter_may_be_a_stray_and_is_no_replay(make_copy):
    stray, replayed = make_copy(None), make_copy(replace(TOLD, progress=Progress({})))
    stray.is_stray = True
    replayed.replay()

    assert stray.may_be_letter
    assert not replayed.may_be_letter


def test_settlement_of_a_flight_is_decided_with_its_reason(make_flight):
    flight = make_flight()

    assert flight.resolve(ACK, "done") is flight
    assert (flight.settlement, flight.reason) == (ACK, "done")


async def test_start_is_answered_once_and_nobody_minds_an_answer_that_nobody_waits_for():
    alone = IsolatedStart()
    alone.answer(may_start=True)
    start = alone.start = asyncio.get_running_loop().create_future()

    alone.answer(may_start=False)
    alone.answer(may_start=True)

    assert await start is False
