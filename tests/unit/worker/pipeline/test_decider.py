from dataclasses import replace

from mulligan.core.message import TaskName
from mulligan.core.progress import Mark, Progress, State
from mulligan.core.route import Missing
from mulligan.core.step import ACK, BURY, Reject, Release, Run
from mulligan.worker.pipeline.decider import Decider

ONE = TaskName("One")


async def test_tasks_that_are_due_run(decider, make_flight):
    assert decider.decide(make_flight()).step == Run((ONE,))


async def test_nothing_runs_once_the_process_is_to_end(decider, make_flight):
    decider.can_run = False

    decision = decider.decide(make_flight())

    assert (decision.step, decision.reason) == (Release(0.0), "shutting down")


async def test_nothing_runs_of_a_message_that_must_leave(decider, make_flight):
    flight = make_flight()
    flight.must_leave = True

    assert decider.decide(flight).step == Release(0.0)


async def test_missing_task_is_waited_for(decider, make_flight):
    flight = make_flight()
    flight.missing = Missing(frozenset({ONE}), 86_400.0)

    assert isinstance(decider.decide(flight).step, Release)


async def test_receives_of_the_delivery_count(clock, role, make_flight):
    decider, flight = Decider(replace(role, receives=2), clock), make_flight()
    decider.can_run = False
    flight.delivery = replace(flight.delivery, receive_count=2)

    decision = decider.decide(flight)

    assert (decision.step, decision.is_handed_on) == (Reject(0.0), True)


async def test_letter_that_is_owed_is_sent_before_its_message_is_removed(decider, make_flight):
    flight = make_flight()
    flight.progress = Progress({ONE: Mark(State.EXHAUSTED, 2)}, is_buried=True)
    assert decider.is_finished(flight)

    flight.owes_letter = True

    assert decider.decide(flight).step is BURY
    assert not decider.is_finished(flight)


async def test_message_is_finished_when_nothing_but_its_removal_is_left(decider, make_flight):
    flight = make_flight("One", "Two")
    flight.progress = Progress({ONE: Mark(State.DONE, 1), TaskName("Two"): Mark()})
    assert not decider.is_finished(flight)

    flight.progress = Progress(dict.fromkeys(flight.progress.marks, Mark(State.DONE, 1)))

    assert decider.decide(flight).step is ACK
    assert decider.is_finished(flight)
