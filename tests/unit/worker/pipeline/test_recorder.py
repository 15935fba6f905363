import asyncio

import pytest

from mulligan.core.error import LedgerUnavailable
from mulligan.core.event import LedgerDown, LedgerUp
from mulligan.core.lifecycle import Phase, Report
from mulligan.core.message import TaskName
from mulligan.core.outcome import INTERRUPTED, SUCCEEDED, Failed
from mulligan.core.progress import Mark, Progress, State
from mulligan.ledger.base import Claim, Granted
from mulligan.worker.pipeline.attempt import Attempt

DOWN = LedgerUnavailable("the disk is full")
DONE = Progress({TaskName("One"): Mark(State.DONE, 1)})
UID = "018bcfe56800-0000000000000000000"


@pytest.fixture
def kept(reported):
    """Called for those that are saved so far, as they were saved together."""
    return lambda: reported.groups_of(Report.SAVED)


@pytest.fixture
def lost(reported):
    """Called for those whose claim is somebody else's."""
    return lambda: reported.of(Report.LOST)


@pytest.fixture
def make_done(make_held):
    async def make_done(number=0):
        """A flight whose claim is granted, with something to save."""
        flight = await make_held(number)
        flight.progress = DONE
        return flight

    return make_done


async def known(ledger, clock, flight):
    now = clock.now() + 1000
    (answer,) = await ledger.claim([Claim(flight.message.uid, 0, 0, "another", now + 60)], now)
    assert isinstance(answer, Granted)
    return answer.progress


async def test_recorder_saves_and_reports_it(recorder, make_done, ledger, clock, kept):
    flight = await make_done()

    recorder.put([flight])
    await recorder.drain()

    assert kept() == [[flight]]
    assert flight.saved is DONE
    assert recorder.is_idle
    assert (await known(ledger, clock, flight)).marks == DONE.marks


async def test_recorder_saves_what_comes_together_in_one_call(recorder, make_done, ledger, kept):
    flights = [await make_done(number) for number in range(5)]

    for flight in flights:
        recorder.put([flight])
    await recorder.drain()

    assert ledger.count("save") == 1
    assert kept() == [flights]


async def test_recorder_saves_a_flight_once_when_it_is_put_twice_in_a_turn(recorder, make_done, ledger):
    flight = await make_done()

    recorder.put([flight])
    recorder.put([flight])
    await recorder.drain()

    assert [len(args[0]) for name, args in ledger.calls if name == "save"] == [1]


async def test_recorder_saves_again_what_moved_on_while_it_was_saved(recorder, make_done, ledger, clock):
    flight = await make_done()
    further = Progress({**DONE.marks, TaskName("Two"): Mark(State.DONE, 1)})

    async def moving_on():
        flight.progress = further
        recorder.put([flight])

    ledger.faults["save"] = [moving_on]
    recorder.put([flight])
    await recorder.drain()

    assert ledger.count("save") == 2
    assert flight.saved is further
    assert (await known(ledger, clock, flight)).marks == further.marks


async def test_recorder_ends_the_claim_with_the_last_record(recorder, make_done, ledger, clock):
    flight = await make_done()
    flight.ends_claim = True

    recorder.put([flight])
    await recorder.drain()

    now = clock.now()
    (answer,) = await ledger.claim([Claim(flight.message.uid, 0, 0, "another", now + 60)], now)
    assert isinstance(answer, Granted)


async def test_recorder_reports_whose_claim_is_somebody_elses(recorder, make_done, ledger, kept, lost):
    mine, taken = await make_done(0), await make_done(1)
    await ledger.give_back([taken.key])

    recorder.put([mine])
    recorder.put([taken])
    await recorder.drain()

    assert lost() == [taken]
    assert kept() == [[mine]]
    assert taken.saved is not DONE


async def test_recorder_waits_for_the_ledger_and_tells_it_once(recorder, make_done, ledger, kept, events):
    flight = await make_done()
    ledger.faults["save"] = [DOWN] * 6

    recorder.put([flight])
    await recorder.drain()

    assert kept() == [[flight]]
    assert [type(event) for event in events] == [LedgerDown, LedgerUp]
    assert ledger.count("save") == 7


async def test_recorder_tries_again_within_two_seconds_however_long_the_ledger_was_away(
    recorder, make_done, ledger, kept, clock
):
    flight = await make_done()
    ledger.cut["save"] = DOWN
    recorder.put([flight])
    await asyncio.sleep(600)
    del ledger.cut["save"]
    back_at = clock.monotonic()

    await recorder.drain()

    assert kept() == [[flight]]
    assert clock.monotonic() - back_at <= 2.0


async def test_recorder_reports_nothing_as_saved_when_it_gave_up(recorder, patient, make_done, ledger, kept):
    flight = await make_done()
    ledger.cut["save"] = DOWN
    recorder.put([flight])
    await asyncio.sleep(60)

    patient.give_up()
    await recorder.drain()

    assert kept() == []
    assert flight.saved is not DONE


async def test_recorder_hands_over_a_fault_that_ends_the_worker(recorder, make_done, ledger, failed, kept):
    ledger.faults["save"] = [OSError("fsync failed")]

    recorder.put([await make_done()])
    await recorder.drain()

    assert [str(error) for error in failed] == ["fsync failed"]
    assert kept() == []


async def test_recorder_has_the_brake_on_until_the_ends_are_recorded(recorder, backpressure, make_done, ledger):
    flights = [await make_done(number) for number in range(2)]
    seen = []

    async def look():
        seen.append(backpressure.is_on)

    ledger.faults["save"] = [look]
    for flight in flights:
        recorder.put([flight], ends=1)
    assert backpressure.is_on
    await recorder.drain()

    assert (seen, backpressure.is_on) == ([True], False)


async def test_recorder_counts_ends_that_come_while_others_are_saved_with_the_next_save(
    recorder, backpressure, make_done, ledger
):
    flight = await make_done()
    seen = []

    async def moving_on():
        flight.progress = Progress({**DONE.marks, TaskName("Two"): Mark(State.DONE, 1)})
        recorder.put([flight], ends=1)
        seen.append(backpressure.is_on)

    async def look():
        seen.append(backpressure.is_on)

    ledger.faults["save"] = [moving_on, look]
    recorder.put([flight], ends=1)
    await recorder.drain()

    assert seen == [True, False]
    backpressure.ended(1)
    assert not backpressure.is_on  # all were counted down again


async def test_recorder_takes_the_brake_off_when_the_claim_is_lost(recorder, backpressure, make_flight):
    flight = make_flight("One", uid=f"{UID}9")  # never claimed
    flight.progress = DONE

    recorder.put([flight], ends=2)
    assert backpressure.is_on
    await recorder.drain()

    assert not backpressure.is_on


# -- outcomes


@pytest.fixture
def make_attempt(registry):
    def make_attempt(flight, task="One"):
        """An attempt under way."""
        flight.running += 1
        return Attempt(flight, registry.tasks[TaskName(task)], 1, 1000.0)

    return make_attempt


async def test_ends_of_a_message_are_saved_together_and_end_its_claim_when_nothing_is_left(
    recorder, make_attempt, make_held, ledger, reported
):
    flight = await make_held(0, "One", "Two")
    ends = [(make_attempt(flight, name), SUCCEEDED) for name in ("One", "Two")]

    recorder.ended(ends)
    await recorder.drain()

    assert reported == [(Report.SAVED, [flight])]
    assert [mark.state for mark in flight.saved.marks.values()] == [State.DONE] * 2
    assert (flight.running, flight.ends_claim, flight.has_moved) == (0, True, True)
    assert ledger.count("save") == 1


async def test_end_is_saved_and_not_reported_while_another_attempt_of_the_message_runs(
    recorder, make_attempt, make_held, reported
):
    flight = await make_held(0, "One", "Two")
    first, _ = make_attempt(flight, "One"), make_attempt(flight, "Two")

    recorder.ended([(first, SUCCEEDED)])
    await recorder.drain()

    assert reported == []
    assert flight.saved.marks[TaskName("One")].state is State.DONE
    assert not flight.ends_claim


async def test_failure_is_recorded_and_the_claim_is_kept_for_its_copy(recorder, make_attempt, make_held, reported):
    flight = await make_held(0)

    recorder.ended([(make_attempt(flight), Failed("no"))])
    await recorder.drain()

    assert reported == [(Report.SAVED, [flight])]
    assert (flight.saved.marks[TaskName("One")].attempts, flight.saved.marks[TaskName("One")].reason) == (1, "no")
    assert not flight.ends_claim


async def test_interruption_is_reported_as_an_end_when_there_is_nothing_to_save(
    recorder, make_attempt, make_held, ledger, reported
):
    flight = await make_held(0)

    recorder.ended([(make_attempt(flight), INTERRUPTED)])
    await recorder.drain()

    assert reported == [(Report.ENDED, [flight])]
    assert ledger.count("save") == 0


async def test_end_of_a_lost_message_is_not_recorded(recorder, make_attempt, make_held, ledger, reported):
    """Its new holder has begun another attempt, and this one's outcome would be written over it."""
    flight = await make_held(0)
    flight.phase = Phase.LOST

    recorder.ended([(make_attempt(flight), SUCCEEDED)])
    await recorder.drain()

    assert reported == [(Report.ENDED, [flight])]
    assert flight.progress.marks[TaskName("One")].state is State.PENDING
    assert ledger.count("save") == 0
