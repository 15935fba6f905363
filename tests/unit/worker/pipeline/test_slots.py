import pytest

from mulligan.worker.ipc.lease_table import Counter, SlotState
from mulligan.worker.pipeline.slots import Slots

UID = "018bcfe56800-0000000000000000000"


@pytest.fixture
def flights(make_flight):
    return [make_flight(uid=f"{UID}{number}", receipt=f"1.{number}") for number in range(3)]


def test_slot_names_the_message_and_its_claim_from_its_receipt_on(slots, table, flights):
    slots.enter(flights, 1060.0)

    assert [(one.slot, one.uid, one.token, one.receipt, one.lease_until) for one in table.holdings()] == [
        (flight.slot, flight.message.uid, "token", flight.delivery.receipt, 1060.0) for flight in flights
    ]
    assert list(slots) == flights


def test_slots_that_are_left_are_free_again(slots, table, flights):
    slots.enter(flights, 1060.0)

    slots.leave(flights[:2])

    assert [one.uid for one in table.holdings()] == [flights[2].message.uid]
    assert [flight.slot for flight in flights[:2]] == [-1, -1]
    assert list(slots) == flights[2:]


def test_slots_of_a_queue_are_no_more_than_it_may_take(table, flights):
    few = Slots(table, 1, 4)

    few.enter(flights, 1060.0)

    assert few.free == 1
    assert {one.queue for one in table.holdings()} == {1}


def test_slot_is_not_found_by_the_sequence_of_a_message_that_had_it_before(slots, table, flights):
    """The answer to a lease that was asked for a moment ago was taken for the next message's."""
    slots.enter(flights[:1], 1060.0)
    slot = flights[0].slot
    before = table.sequence(slot)
    assert slots.find(slot, before) is flights[0]
    slots.leave(flights[:1])
    assert slots.find(slot, before) is None

    slots.enter(flights[1:2], 1060.0)

    assert flights[1].slot == slot
    assert slots.find(slot, before) is None
    assert slots.find(slot, table.sequence(slot)) is flights[1]


def test_slot_is_given_anew_when_it_is_known_whose_claim_is_made(slots, table, flights):
    (flight, *_) = flights
    slots.enter([flight], 1060.0)
    flight.generation = 3

    slots.enter_anew(flight, 1060.0)

    assert [(one.slot, one.generation) for one in table.holdings()] == [(flight.slot, 3)]
    assert list(slots) == [flight]


def test_slot_says_what_becomes_of_its_message(slots, table, flights):
    slots.enter(flights[:1], 1060.0)

    slots.set_standing(flights[0].slot, SlotState.RUNNING, 1010.0)

    assert [(one.standing, one.deadline) for one in table.holdings()] == [(SlotState.RUNNING, 1010.0)]


def test_counts_are_where_the_supervisor_sees_them(slots, table):
    slots.count(Counter.RELEASED, 2)
    slots.count(Counter.RELEASED, 3)

    assert table.count(Counter.RELEASED) == 5
