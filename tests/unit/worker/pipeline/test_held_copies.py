import asyncio
from dataclasses import replace

import pytest

from mulligan.core import retry_state
from mulligan.core.event import RowDamaged, StateDamaged, StateTooNew, TaskMissing
from mulligan.core.message import TaskName
from mulligan.core.retry_state import Unread
from mulligan.core.route import Missing
from mulligan.worker.pipeline.held_copies import FIRST_S, LONGEST_S, HeldCopies, MissingTasks

DAMAGED = Unread("half of it is gone", is_held=True)
TOO_NEW = Unread("a newer version wrote it", is_held=True, version=99)
ROW = Unread("row 7 can't be read", is_held=True, is_in_ledger=True)


@pytest.fixture
async def misses(runtime):
    return MissingTasks(runtime.clock, runtime.emit)


@pytest.fixture
def make_copy(make_flight):
    def make_copy(receive_count=1, group=None, **more):
        flight = make_flight()
        flight.delivery = replace(flight.delivery, receive_count=receive_count, group=group, **more)
        return flight

    return make_copy


@pytest.mark.parametrize(("unread", "kind"), [(DAMAGED, StateDamaged), (TOO_NEW, StateTooNew), (ROW, RowDamaged)])
async def test_copy_that_is_left_alone_is_reported_by_what_can_not_be_read(
    held_copies, make_copy, events, unread, kind
):
    flight = make_copy()

    wait_s = held_copies.add(flight, unread)

    (event,) = events
    assert type(event) is kind
    assert (event.uid, event.queue, event.copies, event.again_in_s) == (
        flight.message.uid,
        flight.delivery.queue,
        1,
        wait_s,
    )


async def test_copy_of_a_newer_version_is_reported_with_both_versions(held_copies, make_copy, events):
    held_copies.add(make_copy(), TOO_NEW)

    (event,) = events
    assert (event.version, event.known) == (99, retry_state.VERSION)


async def test_copies_are_reported_once_a_minute_with_how_many_came_and_their_groups(held_copies, make_copy, events):
    """One for each was a line a second."""
    for number in range(8):
        held_copies.add(make_copy(group=f"g{number}"), DAMAGED)
    assert [event.copies for event in events] == [1]
    await asyncio.sleep(60)

    held_copies.add(make_copy(group="g8"), DAMAGED)

    assert [(event.copies, event.groups) for event in events] == [(1, ("g0",)), (8, ("g1", "g2", "g3", "g4", "g5"))]


async def test_kinds_of_copies_are_reported_each_by_itself(held_copies, make_copy, events):
    for unread in (DAMAGED, TOO_NEW, ROW):
        held_copies.add(make_copy(), unread)

    assert len(events) == 3


async def test_copy_is_left_alone_for_twice_as_long_each_time_up_to_a_limit(held_copies, make_copy):
    waits = [held_copies.add(make_copy(receive_count=count), DAMAGED) for count in (1, 2, 3, 9)]

    assert waits == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S, LONGEST_S]


async def test_copy_is_left_alone_for_as_long_as_it_has_waited_where_releases_are_not_counted(
    runtime, clock, make_copy
):
    held_copies = HeldCopies(runtime.clock, runtime.emit, counts_releases=False)

    waits = [held_copies.add(make_copy(sent_at=clock.now() - age_s), DAMAGED) for age_s in (1.0, 300.0, 5000.0)]

    assert waits == [FIRST_S, 300.0, LONGEST_S]


async def test_message_that_waits_for_tasks_is_reported_for_each_of_them_once_an_hour(misses, make_copy, events):
    flight = make_copy(group="g")
    flight.missing = Missing(frozenset({TaskName("B"), TaskName("A")}), 86_400.0)

    misses.add(flight)
    misses.add(flight)
    assert [(type(event), event.task, event.copies) for event in events] == [
        (TaskMissing, "A", 1),
        (TaskMissing, "B", 1),
    ]
    await asyncio.sleep(3600)
    misses.add(flight)

    assert [(event.task, event.copies) for event in events[2:]] == [("A", 2), ("B", 2)]
    assert {(event.groups, event.grace_s) for event in events} == {(("g",), 86_400.0)}
