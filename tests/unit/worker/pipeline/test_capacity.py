import asyncio

import pytest

from mulligan.core.lifecycle import Report
from mulligan.worker.pipeline.capacity import HOLD_OFF_S, WAIT_MAX_S, Capacity
from mulligan.worker.pipeline.slots import Slots
from mulligan.worker.reports import Reports


@pytest.fixture
def begun(reported):
    """Called for those that have begun so far, as they began together."""
    return lambda: reported.groups_of(Report.PLACED)


@pytest.fixture
def given_back(reported):
    """Called for those that have been given back so far."""
    return lambda: reported.of(Report.TURNED_AWAY)


@pytest.fixture
async def capacity(slots, reports, failed):
    """Three of them."""
    return Capacity(3, slots, reports, failed.append)


def expected(capacity, within_s):
    """How many ends are counted on within so many seconds."""
    now, soon = capacity.room(within_s)
    return soon - now


async def test_places_are_taken_at_once_while_there_are_any(capacity, begun, make_flight):
    flights = [make_flight() for _ in range(3)]

    capacity.acquire(flights[:2])
    capacity.acquire(flights[2:])

    assert begun() == [flights[:2], flights[2:]]


async def test_places_that_come_free_are_taken_in_the_order_of_the_line(capacity, begun, make_flight):
    flights = [make_flight() for _ in range(7)]
    capacity.acquire(flights[:5])
    capacity.acquire(flights[5:])
    assert begun() == [flights[:3]]

    capacity.leave([flights[0]])
    capacity.leave([flights[2]])
    await asyncio.sleep(0)

    assert begun() == [flights[:3], flights[3:5]]
    capacity.leave([flights[3]])
    capacity.leave([flights[1]])
    await asyncio.sleep(0)
    assert begun()[2:] == [flights[5:]]


async def test_newcomers_do_not_overtake_those_that_wait(capacity, begun, make_flight):
    flights = [make_flight() for _ in range(5)]
    capacity.acquire(flights[:3])
    capacity.acquire(flights[3:4])
    capacity.leave([flights[0]])

    capacity.acquire(flights[4:])  # before the loop has looked at the place that came free
    await asyncio.sleep(0)

    assert begun() == [flights[:3], flights[3:4]]


async def test_one_that_waits_for_too_long_is_given_back_and_takes_no_place_later(
    capacity, begun, given_back, make_flight
):
    flights = [make_flight() for _ in range(6)]
    capacity.acquire(flights[:4])
    await asyncio.sleep(WAIT_MAX_S / 2)
    capacity.acquire(flights[4:])
    await asyncio.sleep(WAIT_MAX_S / 2)
    assert given_back() == flights[3:4]

    await asyncio.sleep(WAIT_MAX_S)
    capacity.leave([flights[3]])  # its end, as of any other
    capacity.leave([flights[0]])
    await asyncio.sleep(10)

    assert given_back() == flights[3:]
    assert begun() == [flights[:3]]
    capacity.acquire([last := make_flight()])
    assert begun()[1:] == [[last]]


@pytest.mark.timeout(20)
async def test_waiting_ends_whatever_the_time_at_which_it_began(capacity, given_back, make_flight):
    """A second added to a time and taken off again does not always give that time: the timer fired for ever."""
    capacity.acquire([make_flight() for _ in range(3)])
    now = asyncio.get_running_loop().time()
    later_s = next(n / 997 for n in range(100_000) if now + n / 997 + WAIT_MAX_S - WAIT_MAX_S < now + n / 997)
    await asyncio.sleep(later_s)
    capacity.acquire([waiting := make_flight()])

    await asyncio.sleep(WAIT_MAX_S)

    assert given_back() == [waiting]


async def test_one_that_leaves_while_it_waits_is_never_begun(capacity, begun, given_back, make_flight):
    flights = [make_flight() for _ in range(5)]
    capacity.acquire(flights)

    capacity.leave([flights[3]])
    capacity.leave([flights[0]])
    await asyncio.sleep(10)

    assert begun() == [flights[:3], flights[4:]]
    assert given_back() == []


async def test_open_lets_everybody_in_now_and_later(capacity, begun, given_back, make_flight):
    flights = [make_flight() for _ in range(9)]
    capacity.acquire(flights[:5])

    capacity.open()
    capacity.acquire(flights[5:])
    await asyncio.sleep(10)

    assert begun() == [flights[:3], flights[3:5], flights[5:]]
    assert given_back() == []


async def test_one_that_ends_as_it_begins_makes_room_for_the_next(slots, failed, make_flight):
    begun, given_back = [], []

    def handle(report, some):
        if report is Report.PLACED:
            begun.extend(some)
            capacity.leave(some)
        else:
            given_back.extend(some)

    reports = Reports()
    reports.connect(handle)
    capacity = Capacity(1, slots, reports, failed.append)
    flights = [make_flight() for _ in range(2000)]

    capacity.acquire(flights)
    await asyncio.sleep(1)

    assert begun == flights
    assert given_back == []


async def end(capacity, make_flight, count, after_s):
    """As many messages begin and end, one after the other."""
    for _ in range(count):
        capacity.receive(1)
        capacity.acquire([flight := make_flight()])
        await asyncio.sleep(after_s)
        capacity.leave([flight])
        expected(capacity, 0.0)


async def test_ending_is_what_ends_in_that_time_as_messages_end_now(capacity, make_flight):
    assert expected(capacity, 0.2) == 0

    await end(capacity, make_flight, 200, 0.1)

    assert expected(capacity, 0.25) == 2
    assert expected(capacity, 0.45) == 3  # of three


async def test_ending_counts_nothing_that_may_have_to_wait_for_longer_than_is_waited(capacity, make_flight):
    await end(capacity, make_flight, 200, 0.4)

    assert expected(capacity, 0.5) == expected(capacity, 60.0) == 1


async def test_ending_does_not_count_those_that_had_no_place(capacity, make_flight):
    """Ten that were given back looked like ten that had ended, so that ten more were asked for, over and over."""
    capacity.acquire([make_flight() for _ in range(3)])
    expected(capacity, 0.0)
    await asyncio.sleep(5)
    expected(capacity, 0.0)

    for _ in range(20):
        capacity.acquire([flight := make_flight()])
        capacity.leave([flight])

    assert expected(capacity, 0.5) == 0


async def test_ending_is_nothing_for_a_while_after_some_were_given_back(capacity, given_back, make_flight):
    await end(capacity, make_flight, 100, 0.05)
    assert expected(capacity, 0.2) == 3
    slow = [make_flight() for _ in range(4)]
    capacity.acquire(slow)
    await asyncio.sleep(WAIT_MAX_S)
    assert given_back() == slow[3:]
    for one in slow[:3]:
        capacity.leave([one])

    await end(capacity, make_flight, int((HOLD_OFF_S - 1) / 0.05), 0.05)
    assert expected(capacity, 0.2) == 0

    await end(capacity, make_flight, 40, 0.05)
    assert expected(capacity, 0.2) == 3


async def test_fault_of_ours_in_one_that_begins_later_ends_the_worker(slots, failed, make_flight):
    """The loop would only log it: the capacity stay taken, and the queue stands still."""
    begun = []

    def begin_or_fail(_, flights):
        if begun:
            raise RuntimeError("a fault of the program")
        begun.extend(flights)

    reports = Reports()
    reports.connect(begin_or_fail)
    capacity = Capacity(1, slots, reports, failed.append)
    first = make_flight()
    capacity.acquire([first])
    capacity.acquire([make_flight()])
    capacity.leave([first])
    await asyncio.sleep(0)

    assert [str(exc) for exc in failed] == ["a fault of the program"]


# -- room


async def test_room_is_what_is_not_in_flight(capacity, make_flight):
    capacity.receive(2)
    assert capacity.room(0.0) == (1, 1)

    capacity.leave([make_flight()])

    assert (capacity.in_flight, capacity.room(0.0)) == (1, (2, 2))


async def test_room_is_no_more_than_the_free_slots(table, reports, failed, make_flight):
    slots = Slots(table, 0, 2)
    capacity = Capacity(3, slots, reports, failed.append)

    slots.enter([make_flight()], 1000.0)

    assert capacity.room(0.0) == (1, 1)


async def test_room_that_comes_free_is_reported_by_an_end_and_by_a_slot(capacity, make_flight):
    changes = []
    capacity.on_change(lambda: changes.append(capacity.in_flight))
    capacity.receive(1)

    capacity.leave([make_flight()])
    capacity.slot_freed()

    assert changes == [0, 0]


async def test_nothing_is_asked_for_ahead_when_it_is_told_to_hold_off(capacity, make_flight):
    await end(capacity, make_flight, 200, 0.1)

    capacity.hold_off()

    assert expected(capacity, 0.45) == 0
