from dataclasses import replace

import pytest

from mulligan.core.event import BodyMissing, MessageMoved, RowDamaged, TaskMissing
from mulligan.core.message import TaskName
from mulligan.core.progress import FRESH, Mark, Progress, State
from mulligan.core.retry_state import RetryState
from mulligan.core.route import begin
from mulligan.core.step import ACK, Release
from mulligan.ledger.base import GRANTED, OUTDATED, Granted, Held
from mulligan.tasks.registry import TaskRegistry
from mulligan.worker.in_flight import Damaged
from mulligan.worker.ipc.lease_table import SlotState
from mulligan.worker.pipeline.admission import Admission
from mulligan.worker.pipeline.held_copies import MissingTasks

NOW = 1_700_000_000.0
ONE, TWO = TaskName("One"), TaskName("Two")
DONE = Progress({ONE: Mark(State.DONE, 1), TWO: Mark(State.DONE, 1)})
HALF = Progress({ONE: Mark(State.DONE, 1), TWO: FRESH})
BURIED = Progress({ONE: Mark(State.EXHAUSTED, 2)}, is_buried=True)


@pytest.fixture
async def make_admission(runtime, role, slots, held_copies):
    def make_admission(registry, **more):
        misses = MissingTasks(runtime.clock, runtime.emit)
        return Admission(runtime, replace(role, **more), registry, slots, misses, held_copies)

    return make_admission


@pytest.fixture
def make_answered(make_flight):
    def make_answered(answer, told=None, **more):
        """A flight of which the ledger has answered this, and that came with this retry state."""
        flight = make_flight()
        flight.progress = flight.carried = flight.saved = Progress({})
        flight.answer = answer
        if told is not None:
            flight.state, flight.is_fresh = RetryState(flight.message.uid, 0, 1, NOW, told), False
            flight.progress = flight.carried = flight.saved = told
        flight.delivery = replace(flight.delivery, **more)
        return flight

    return make_answered


# -- new messages


async def test_messages_that_nothing_is_known_of_share_the_route_and_the_progress_of_all_tasks(
    admission, make_answered, registry
):
    flights = [make_answered(GRANTED) for _ in range(2)]
    assert all(admission.is_new(flight) for flight in flights)

    admission.resolve_new(flights)

    assert flights[0].progress is flights[1].progress is flights[0].carried is flights[0].saved
    assert flights[0].progress == begin(registry.whole_route)
    assert flights[0].route is registry.whole_route


@pytest.mark.parametrize("answer", [Granted(HALF), Held(NOW + 60.0), OUTDATED, Damaged("row 7")])
async def test_message_that_the_ledger_knows_is_not_new(admission, make_answered, answer):
    assert not admission.is_new(make_answered(answer))


async def test_copy_is_not_new_although_the_ledger_has_forgotten_it(admission, make_answered):
    assert not admission.is_new(make_answered(GRANTED, HALF))


async def test_message_that_comes_again_is_not_new_where_it_may_have_killed_a_worker(
    make_admission, make_answered, registry
):
    again = make_answered(GRANTED, receive_count=2)

    assert not make_admission(registry, suspects_repeats=True).is_new(again)
    assert make_admission(registry).is_new(again)


# -- the ledger's answer


async def test_message_stands_where_the_ledger_says(admission, make_answered):
    flight = make_answered(Granted(HALF))

    assert admission.admit(flight, can_run=True)

    assert flight.progress.marks == HALF.marks
    assert flight.progress is flight.saved
    assert set(flight.route.tasks) == {ONE, TWO}


@pytest.mark.parametrize(
    ("answer", "settlement"), [(Held(NOW + 10.0), Release(10.0)), (OUTDATED, ACK)], ids=["held", "outdated"]
)
async def test_copy_of_what_is_done_or_under_way_elsewhere_is_settled_without_the_claim_of_that(
    admission, make_answered, answer, settlement
):
    flight = make_answered(answer)

    assert not admission.admit(flight, can_run=True)

    assert (flight.settlement, flight.is_duplicate, flight.token) == (settlement, True, "")


async def test_message_whose_row_is_damaged_is_left_alone_unclaimed(admission, make_answered, events):
    flight = make_answered(Damaged("row 7 can't be read"))

    assert not admission.admit(flight, can_run=True)

    assert (flight.settlement, flight.token) == (Release(60.0), "")
    assert flight.unread.is_in_ledger
    assert [(type(event), event.problem) for event in events] == [(RowDamaged, "row 7 can't be read")]


async def test_message_whose_body_is_missing_is_neither_run_nor_removed(admission, make_answered, events):
    flight = make_answered(GRANTED, HALF)
    flight.problem = "the file is gone"

    assert not admission.admit(flight, can_run=True)

    assert flight.settlement == Release(60.0)
    assert [(type(event), event.problem) for event in events] == [(BodyMissing, "the file is gone")]


async def test_message_whose_body_is_missing_is_removed_when_it_is_finished(admission, make_answered, events):
    flight = make_answered(Granted(DONE), HALF)
    flight.problem = "the file is gone"

    assert not admission.admit(flight, can_run=True)

    assert flight.settlement == ACK
    assert events == []


async def test_message_that_may_be_its_own_letter_owes_one(admission, make_answered):
    """As a duplicate of its burial it would be removed, and with it the only letter."""
    letter, copy = make_answered(Granted(BURIED), Progress({})), make_answered(Granted(BURIED), Progress(BURIED.marks))

    admission.admit(letter, can_run=True)
    admission.admit(copy, can_run=True)

    assert (letter.owes_letter, copy.owes_letter) == (True, False)


async def test_replay_is_reported_as_moved_once_it_may_run(admission, make_answered, events):
    for can_run in (False, True):
        flight = make_answered(GRANTED, Progress(BURIED.marks))
        flight.replay()
        admission.admit(flight, can_run=can_run)

    assert [(type(event), event.generation, event.is_replay, event.is_first) for event in events] == [
        (MessageMoved, 1, True, True)
    ]


# -- tasks


async def test_task_that_is_not_in_the_manifest_is_missing_and_reported(admission, make_answered, events):
    gone = TaskName("Gone")
    flight = make_answered(Granted(Progress({ONE: FRESH, gone: FRESH})))

    assert admission.admit(flight, can_run=True)

    assert flight.missing.tasks == {gone}
    assert [(type(event), event.task) for event in events] == [(TaskMissing, "Gone")]


async def test_task_that_its_own_process_lacks_is_missing_for_this_message(admission, make_answered, events):
    flight = make_answered(Granted(HALF))
    admission.admit(flight, can_run=True)

    admission.lack(flight, TWO)

    assert flight.missing.tasks == {TWO}
    assert [event.task for event in events] == ["Two"]


async def test_message_is_asked_for_its_tasks_with_its_slot_marked_as_running(
    make_admission, make_task, make_answered, slots, table
):
    """What `accepts` does to the process is on the message."""
    standings = []

    def accepts(message):
        standings.extend(one.standing for one in table.holdings())
        return False

    tasks = [make_task(lambda *_: None, "One", accepts=accepts), make_task(lambda *_: None, "Two")]
    admission = make_admission(TaskRegistry({task.name: task for task in tasks}))
    flight = make_answered(GRANTED)
    slots.enter([flight], 2000.0)
    assert not admission.is_new(flight)

    admission.admit(flight, can_run=True)

    assert standings == [SlotState.RUNNING]
    assert [one.standing for one in table.holdings()] == [SlotState.HELD]
    assert flight.route.tasks == (TWO,)


async def test_suspect_is_routed_to_all_tasks_without_asking(make_admission, make_task, make_answered):
    def accepts(message):
        raise AssertionError("must not be asked here")

    admission = make_admission(TaskRegistry({ONE: make_task(lambda *_: None, "One", accepts=accepts)}))
    flight = make_answered(Granted(Progress({}, deaths=1)))

    admission.admit(flight, can_run=True)

    assert flight.route.tasks == (ONE,)
    assert flight.progress.deaths == 1
