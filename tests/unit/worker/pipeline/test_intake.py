import asyncio
from dataclasses import replace
from itertools import count

import pytest

from mulligan.core import retry_state
from mulligan.core.delivery import Delivery
from mulligan.core.error import LedgerUnavailable
from mulligan.core.lifecycle import Phase, Report
from mulligan.core.message import QueueName
from mulligan.core.step import Release
from mulligan.ledger.base import GRANTED
from mulligan.storage.body import BodyFolder
from mulligan.worker.ipc.lease_table import Counter
from mulligan.worker.pipeline.capacity import Capacity
from mulligan.worker.pipeline.intake import Intake
from mulligan.worker.pipeline.packer import Packer
from mulligan.worker.pipeline.state_reader import StateReader

DOWN = LedgerUnavailable("the disk is full")
LEASE_UNTIL = 1060.0


@pytest.fixture
async def capacity(slots, reports, failed):
    return Capacity(10, slots, reports, failed.append)


@pytest.fixture
async def make_intake(runtime, role, patient, held_copies, claims, slots, capacity, reports, tmp_path):
    def make_intake(**more):
        numbers, its_role = count(1), replace(role, **more)
        reader = StateReader(runtime, its_role, Packer(BodyFolder(tmp_path)), patient, lambda: f"t{next(numbers)}")
        return Intake(its_role, reader, held_copies, patient, claims, slots, capacity, reports)

    return make_intake


@pytest.fixture
async def requests(make_intake):
    return make_intake()


@pytest.fixture
async def rejects(make_intake):
    return make_intake(index=1, is_trusted=True)


def delivery(number, group=None, receive_count=1, **attributes):
    return Delivery(
        QueueName("q"), f"1.{number}", f"id{number}", b"hello", attributes, 1_700_000_000.0, receive_count, group
    )


def unread(number, group=None, receive_count=1):
    return delivery(number, group, receive_count, **{retry_state.ATTRIBUTE: "half of a state"})


def receipts(flights):
    return [flight.delivery.receipt for flight in flights]


async def test_receive_is_claimed_at_once_and_reported_together(requests, reported, ledger, table, capacity):
    await requests.take([delivery(1), delivery(2)], LEASE_UNTIL)

    ((report, flights),) = reported
    assert (report, receipts(flights)) == (Report.CLAIMED, ["1.1", "1.2"])
    assert [flight.answer for flight in flights] == [GRANTED, GRANTED]
    assert ledger.count("claim") == 1
    assert (capacity.in_flight, table.count(Counter.RECEIVED)) == (2, 2)


async def test_receive_has_its_slots_before_it_is_claimed(requests, ledger, table):
    """The supervisor has to know of a claim that may have been made when the worker dies."""
    seen = []

    async def look():
        seen.extend((one.uid, one.is_claimed) for one in table.holdings())

    ledger.faults["claim"] = [look]

    await requests.take([delivery(1)], LEASE_UNTIL)

    (held,) = table.holdings()
    assert seen == [(held.uid, False)]
    assert held.is_claimed


async def test_copy_that_can_not_be_read_is_released_unclaimed_for_a_while(rejects, reported, ledger):
    await rejects.take([unread(1)], LEASE_UNTIL)

    ((report, (flight,)),) = reported
    assert (report, flight.settlement, flight.token) == (Report.RESOLVED, Release(60.0), "")
    assert ledger.count("claim") == 0


async def test_group_behind_a_copy_that_can_not_be_read_goes_back_with_it(rejects, reported):
    await rejects.take([unread(1, "g"), unread(2, "h"), unread(3, "g")], LEASE_UNTIL)

    assert receipts(reported.of(Report.RESOLVED)) == ["1.1", "1.2", "1.3"]
    reported.clear()

    await rejects.take([unread(1, "g"), delivery(2, "g")], LEASE_UNTIL)

    head, behind = reported.of(Report.RESOLVED)
    assert (head.settlement, behind.settlement) == (Release(60.0), Release(0.0))
    assert behind.reason == "the head of its group comes first"
    assert reported.of(Report.CLAIMED) == []


async def test_message_behind_a_copy_that_can_not_be_read_leaves_as_a_copy_when_its_queue_would_move_it_away(
    make_intake, reported
):
    """It comes back as often as its head does."""
    rejects = make_intake(index=1, is_trusted=True, receives=4)

    await rejects.take([unread(1, "g"), delivery(2, "g", receive_count=3)], LEASE_UNTIL)

    (flight,) = reported.of(Report.CLAIMED)
    assert (flight.delivery.receipt, flight.must_leave, flight.is_fresh) == ("1.2", True, False)


async def test_stray_is_claimed_as_the_message_that_the_ledger_knows(rejects, reported, table):
    await rejects.take([delivery(1)], LEASE_UNTIL)

    (flight,) = reported.of(Report.CLAIMED)
    assert flight.is_stray
    assert [one.uid for one in table.holdings()] == [flight.message.uid]


async def test_receive_goes_back_for_others_when_the_ledger_stays_away(requests, reported, ledger):
    ledger.cut["claim"] = ledger.cut["give_back"] = DOWN
    taking = asyncio.create_task(requests.take([delivery(1)], LEASE_UNTIL))

    await asyncio.sleep(65)

    (flight,) = reported.of(Report.RESOLVED)
    assert (flight.settlement, flight.reason, flight.token) == (Release(0.0), "the ledger can't be reached", "")
    assert not taking.done()  # nothing more is asked for until the ledger can be written again
    del ledger.cut["give_back"]
    await taking


async def test_receive_is_kept_while_the_ledger_is_away_when_its_queue_would_move_it_away(
    make_intake, reported, ledger
):
    requests = make_intake(receives=4)
    ledger.cut["claim"] = DOWN
    taking = asyncio.create_task(requests.take([delivery(1, receive_count=3)], LEASE_UNTIL))
    await asyncio.sleep(600)
    assert reported == []

    del ledger.cut["claim"]
    await taking

    assert receipts(reported.of(Report.CLAIMED)) == ["1.1"]


async def test_receive_goes_back_at_once_when_the_process_ends_and_the_ledger_is_away(
    requests, reported, patient, ledger
):
    ledger.cut["claim"] = DOWN
    patient.give_up()

    await requests.take([delivery(1)], LEASE_UNTIL)

    assert receipts(reported.of(Report.RESOLVED)) == ["1.1"]


async def test_end_of_claims_that_may_have_been_made_is_waited_for_no_longer_than_a_stop_allows(
    requests, reported, ledger
):
    ledger.cut["claim"] = ledger.cut["give_back"] = DOWN
    taking = asyncio.create_task(requests.take([delivery(1)], LEASE_UNTIL))
    await asyncio.sleep(65)
    loop = asyncio.get_running_loop()
    began_at = loop.time()

    requests.stop()
    requests.stop()
    await taking

    assert loop.time() - began_at <= 2.0


async def test_group_behind_a_head_whose_lease_was_lost_while_it_was_claimed_is_turned_away(
    requests, reported, slots, ledger
):
    """The head comes again, and none may overtake it."""

    async def lose_the_first():
        next(iter(slots)).phase = Phase.LOST

    ledger.faults["claim"] = [lose_the_first]

    await requests.take([delivery(1, "g"), delivery(2, "g"), delivery(3, "h")], LEASE_UNTIL)

    assert receipts(reported.of(Report.CLAIMED)) == ["1.1", "1.3"]
    assert [(one.delivery.receipt, one.reason) for one in reported.of(Report.TURNED_AWAY)] == [
        ("1.2", "the head of its group comes first")
    ]
