import asyncio

import pytest

from mulligan.core.error import LedgerError, LedgerUnavailable, StorageBroken
from mulligan.core.event import LedgerDown, LedgerUp
from mulligan.core.message import TaskName
from mulligan.core.progress import Mark, Progress, State
from mulligan.ledger.base import Claim, Granted, Held
from mulligan.ledger.memory import MemoryLedger
from mulligan.worker.in_flight import Damaged
from mulligan.worker.pipeline.backpressure import Backpressure
from mulligan.worker.pipeline.recorder import Recorder
from tests.integration.worker.service import Network

DOWN = LedgerUnavailable("the disk is full")
DONE = Progress({TaskName("One"): Mark(State.DONE, 1)})
UID = "018bcfe56800-0000000000000000000"


@pytest.fixture
async def ledger(clock):
    return Network(MemoryLedger(clock))


@pytest.fixture
def kept():
    return []


@pytest.fixture
def lost():
    return []


@pytest.fixture
async def record_in(clock, events, kept, lost, failed):
    def make(ledger, **more):
        """A recorder of that ledger, with claims of a minute."""
        return Recorder(
            ledger, clock, events.append, 60.0, kept=kept.append, lost=lost.append, failed=failed.append, **more
        )

    return make


@pytest.fixture
async def recorder(record_in, ledger):
    return record_in(ledger)


@pytest.fixture
def make_held(make_flight, ledger, clock):
    async def make(number=0):
        """A flight whose claim is granted, with something to save."""
        flight = make_flight("One", uid=f"{UID}{number}")
        now = clock.now()
        await ledger.claim([Claim(flight.message.uid, 0, 0, flight.token, now + 60)], now)
        flight.progress = DONE
        return flight

    return make


async def known(ledger, clock, flight):
    now = clock.now() + 1000
    (answer,) = await ledger.claim([Claim(flight.message.uid, 0, 0, "another", now + 60)], now)
    assert isinstance(answer, Granted)
    return answer.progress


async def test_recorder_saves_and_tells(recorder, make_held, ledger, clock, kept):
    flight = await make_held()

    recorder.put(flight)
    await recorder.drain()

    assert kept == [[flight]]
    assert flight.saved is DONE
    assert recorder.is_idle
    assert (await known(ledger, clock, flight)).marks == DONE.marks


async def test_recorder_saves_what_comes_together_in_one_call(recorder, make_held, ledger, kept):
    flights = [await make_held(number) for number in range(5)]

    for flight in flights:
        recorder.put(flight)
    await recorder.drain()

    assert ledger.count("save") == 1
    assert kept == [flights]


async def test_recorder_saves_a_flight_once_when_it_is_put_twice_in_a_turn(recorder, make_held, ledger):
    flight = await make_held()

    recorder.put(flight)
    recorder.put(flight)
    await recorder.drain()

    assert [len(args[0]) for name, args in ledger.calls if name == "save"] == [1]


async def test_recorder_saves_again_what_moved_on_while_it_was_saved(recorder, make_held, ledger, clock):
    flight = await make_held()
    further = Progress({**DONE.marks, TaskName("Two"): Mark(State.DONE, 1)})

    async def moving_on():
        flight.progress = further
        recorder.put(flight)

    ledger.faults["save"] = [moving_on]
    recorder.put(flight)
    await recorder.drain()

    assert ledger.count("save") == 2
    assert flight.saved is further
    assert (await known(ledger, clock, flight)).marks == further.marks


async def test_recorder_ends_the_claim_with_the_last_record(recorder, make_held, ledger, clock):
    flight = await make_held()
    flight.ends_claim = True

    recorder.put(flight)
    await recorder.drain()

    now = clock.now()
    (answer,) = await ledger.claim([Claim(flight.message.uid, 0, 0, "another", now + 60)], now)
    assert isinstance(answer, Granted)


async def test_recorder_tells_whose_claim_is_somebody_elses(recorder, make_held, ledger, kept, lost):
    mine, taken = await make_held(0), await make_held(1)
    await ledger.give_back([taken.key])

    recorder.put(mine)
    recorder.put(taken)
    await recorder.drain()

    assert lost == [taken]
    assert kept == [[mine]]
    assert taken.saved is not DONE


async def test_recorder_waits_for_the_ledger_and_tells_it_once(recorder, make_held, ledger, kept, events):
    flight = await make_held()
    ledger.faults["save"] = [DOWN] * 6

    recorder.put(flight)
    await recorder.drain()

    assert kept == [[flight]]
    assert [type(event) for event in events] == [LedgerDown, LedgerUp]
    assert ledger.count("save") == 7


async def test_recorder_tries_again_within_two_seconds_however_long_the_ledger_was_away(
    recorder, make_held, ledger, kept, clock
):
    flight = await make_held()
    ledger.cut["save"] = DOWN
    recorder.put(flight)
    await asyncio.sleep(600)
    del ledger.cut["save"]
    back_at = clock.monotonic()

    await recorder.drain()

    assert kept == [[flight]]
    assert clock.monotonic() - back_at <= 2.0


async def test_recorder_claims_when_the_ledger_is_back_with_an_end_that_is_not_over(
    recorder, ledger, clock, make_flight
):
    began = clock.now()
    flight = make_flight("One", uid=f"{UID}0")
    ledger.faults["claim"] = [DOWN] * 40

    (answer,) = await recorder.claim([flight])

    assert answer == Granted(None)
    waited_s = clock.now() - began
    assert waited_s > 60
    (claim,) = [args[0][0] for name, args in ledger.calls if name == "claim"][-1:]
    assert (claim.uid, claim.token) == (flight.message.uid, flight.token)
    assert claim.until == pytest.approx(began + 60 + waited_s)


async def test_recorder_claims_once_when_the_wall_clock_jumped_beyond_the_claims_end(
    recorder, ledger, clock, make_flight
):
    """It asked again and again: the end of its claim lay in the past, so each answer seemed to come late."""
    ledger.faults["claim"] = [DOWN]
    asking = asyncio.create_task(recorder.claim([make_flight("One", uid=f"{UID}0")]))
    await asyncio.sleep(0.05)

    clock.jumped_s += 3600

    assert await asking == [Granted(None)]
    assert ledger.count("claim") == 2


async def test_receives_of_one_turn_claim_together_and_each_gets_its_own_answers(recorder, ledger, clock, make_flight):
    flights = [make_flight("One", uid=f"{UID}{number}") for number in range(4)]
    now = clock.now()
    await ledger.claim([Claim(flights[2].message.uid, 0, 0, "another", now + 60)], now)

    answers = await asyncio.gather(
        recorder.claim(flights[:1]), recorder.claim(flights[1:3]), recorder.claim(flights[3:])
    )

    assert answers == [[Granted(None)], [Granted(None), Held(now + 60)], [Granted(None)]]
    assert ledger.count("claim") == 1 + 1


async def test_damaged_row_keeps_only_its_own_message_back_when_receives_claim_together(
    record_in, clock, events, make_flight
):
    flights = [make_flight("One", uid=f"{UID}{number}") for number in range(4)]

    class OneRow(MemoryLedger):
        is_durable = True  # or it would not be asked

        async def claim(self, claims, now):
            if any(claim.uid == flights[2].message.uid for claim in claims):
                raise LedgerError("the row can't be read")
            return await super().claim(claims, now)

    recorder = record_in(OneRow(clock))

    answers = await asyncio.gather(
        recorder.claim(flights[:2]), recorder.claim(flights[2:3]), recorder.claim(flights[3:])
    )

    assert answers == [[Granted(None)] * 2, [Damaged("the row can't be read")], [Granted(None)]]
    assert events == []


async def test_receives_are_answered_when_claiming_one_by_one_takes_longer_than_a_claim_may(
    record_in, clock, make_flight
):
    """All answers were late, and all receives asked again together with the damaged row, without end."""
    flights = [make_flight("One", uid=f"{UID}{number}") for number in range(9)]

    class Slow(MemoryLedger):
        is_durable = True

        async def claim(self, claims, now):
            await asyncio.sleep(10.0)
            if any(claim.uid == flights[2].message.uid for claim in claims):
                raise LedgerError("the row can't be read")
            return await super().claim(claims, now)

    recorder = record_in(Slow(clock))

    answers = await asyncio.gather(recorder.claim(flights[:4]), recorder.claim(flights[4:]))

    assert [type(one) for one in answers[0]] == [Granted, Granted, Damaged, Granted]
    assert answers[1] == [Granted(None)] * 5


async def test_receive_that_has_to_wait_for_the_ledger_keeps_no_other_waiting(record_in, clock, make_flight):
    """Somebody has one row of the ledger locked: what came later waited behind it."""
    locked, free = (make_flight("One", uid=f"{UID}{number}") for number in range(2))

    class Locked(MemoryLedger):
        is_durable = True

        async def claim(self, claims, now):
            if any(claim.uid == locked.message.uid for claim in claims):
                raise LedgerUnavailable("the row is locked")
            return await super().claim(claims, now)

    recorder = record_in(Locked(clock))
    waiting = asyncio.create_task(recorder.claim([locked]))
    await asyncio.sleep(0)

    assert await recorder.claim([free]) == [Granted(None)]
    assert not waiting.done()
    recorder.give_up()
    assert await waiting is None


async def test_receive_that_is_cancelled_leaves_the_claims_of_others_to_be_answered(recorder, ledger, make_flight):
    ledger.faults["claim"] = [DOWN]
    cancelled = asyncio.create_task(recorder.claim([make_flight("One", uid=f"{UID}0")]))
    other = asyncio.create_task(recorder.claim([make_flight("One", uid=f"{UID}1")]))
    await asyncio.sleep(0.05)

    cancelled.cancel()

    assert await other == [Granted(None)]


async def test_every_receive_is_told_of_a_fault_that_ends_the_worker_when_they_claim_together(
    recorder, ledger, failed, make_flight
):
    """They waited for ever, and so did the worker that had to end."""
    ledger.faults["claim"] = [StorageBroken("a sync failed")]

    found = await asyncio.gather(
        *(recorder.claim([make_flight("One", uid=f"{UID}{number}")]) for number in range(2)), return_exceptions=True
    )

    assert [str(one) for one in found] == ["a sync failed"] * 2
    assert failed == []


async def test_recorder_gives_a_claim_up_when_the_process_has_to_end(recorder, ledger, make_flight):
    ledger.cut["claim"] = DOWN
    asking = asyncio.create_task(recorder.claim([make_flight("One", uid=f"{UID}0")]))
    await asyncio.sleep(60)

    recorder.give_up()

    assert await asking is None


async def test_recorder_tells_nobody_that_something_was_kept_when_it_gave_up(recorder, make_held, ledger, kept):
    flight = await make_held()
    ledger.cut["save"] = DOWN
    recorder.put(flight)
    await asyncio.sleep(60)

    recorder.give_up()
    await recorder.drain()

    assert kept == []
    assert flight.saved is not DONE


async def test_recorder_gives_a_claim_back_when_the_ledger_is_up_again(recorder, make_held, ledger, clock):
    """Left to run out it looked like a dead worker's, and the message ran as a suspect."""
    flight = await make_held()
    ledger.faults["give_back"] = [DOWN] * 3

    assert await recorder.give_back([flight])

    now = clock.now()
    (answer,) = await ledger.claim([Claim(flight.message.uid, 0, 0, "another", now + 60)], now)
    assert answer == Granted(None)


async def test_recorder_says_that_a_claim_was_not_given_back_when_the_process_has_to_end(recorder, make_held, ledger):
    ledger.cut["give_back"] = DOWN
    recorder.give_up()

    assert not await recorder.give_back([await make_held()])


async def test_recorder_hands_over_a_fault_that_ends_the_worker(recorder, make_held, ledger, failed, kept):
    ledger.faults["save"] = [OSError("fsync failed")]

    recorder.put(await make_held())
    await recorder.drain()

    assert [str(error) for error in failed] == ["fsync failed"]
    assert kept == []


@pytest.fixture
def brake():
    return Backpressure(2)


@pytest.fixture
async def braking(record_in, ledger, brake):
    return record_in(ledger, brake=brake)


async def test_recorder_has_the_brake_on_until_the_ends_are_recorded(braking, brake, make_held, ledger):
    flights = [await make_held(number) for number in range(2)]
    seen = []

    async def look():
        seen.append(brake.is_on)

    ledger.faults["save"] = [look]
    for flight in flights:
        braking.put(flight, ends=1)
    assert brake.is_on
    await braking.drain()

    assert (seen, brake.is_on) == ([True], False)


async def test_recorder_counts_ends_that_come_while_others_are_saved_with_the_next_save(
    braking, brake, make_held, ledger
):
    flight = await make_held()
    seen = []

    async def moving_on():
        flight.progress = Progress({**DONE.marks, TaskName("Two"): Mark(State.DONE, 1)})
        braking.put(flight, ends=1)
        seen.append(brake.is_on)

    async def look():
        seen.append(brake.is_on)

    ledger.faults["save"] = [moving_on, look]
    braking.put(flight, ends=1)
    await braking.drain()

    assert seen == [True, False]
    brake.ended(1)
    assert not brake.is_on  # all were counted down again


async def test_recorder_takes_the_brake_off_when_the_claim_is_lost(braking, brake, make_flight):
    flight = make_flight("One", uid=f"{UID}9")  # never claimed
    flight.progress = DONE

    braking.put(flight, ends=2)
    assert brake.is_on
    await braking.drain()

    assert not brake.is_on
