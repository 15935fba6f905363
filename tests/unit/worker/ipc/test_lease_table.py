import os
import struct

import pytest

from mulligan.worker.ipc.lease_table import Counter, LeaseTable, SlotState

UID = "018bcfe56800-00000000000000000000"


@pytest.fixture
def worker():
    table = LeaseTable.create(4)
    yield table
    table.close()


@pytest.fixture
def supervisor(worker):
    """Another object on the same memory, as the supervisor's is."""
    table = LeaseTable(os.dup(worker.descriptor), 4)
    yield table
    table.close()


def put(table, receipt="r1", **more):
    values = {"queue": 0, "uid": UID, "generation": 0, "token": "t1", "lease_until": 60.0, **more}
    return table.put(receipt=receipt, **values)


def test_table_shows_the_supervisor_what_the_worker_holds(worker, supervisor):
    slot = put(worker, "r1", queue=1, generation=2, lease_until=61.5)

    (holding,) = supervisor.holdings()

    assert (holding.slot, holding.standing, holding.queue) == (slot, SlotState.HELD, 1)
    assert (holding.uid, holding.generation, holding.token, holding.receipt) == (UID, 2, "t1", "r1")
    assert (holding.lease_until, holding.deadline) == (61.5, 0.0)
    assert holding.key == (UID, 2, "t1")
    assert supervisor.used == 1


def test_table_shows_a_new_standing_and_its_deadline(worker, supervisor):
    slot = put(worker)

    worker.set_standing(slot, SlotState.RUNNING, 99.5)

    (holding,) = supervisor.holdings()
    assert (holding.standing, holding.deadline) == (SlotState.RUNNING, 99.5)


def test_table_shows_a_claim_once_it_is_granted_and_not_with_the_next_use_of_the_slot(worker, supervisor):
    slot = put(worker)
    before = [one.is_claimed for one in supervisor.holdings()]

    worker.set_claimed([slot])

    assert before == [False]
    assert [one.is_claimed for one in supervisor.holdings()] == [True]
    worker.remove(slot)
    assert put(worker, "r2") == slot
    assert [one.is_claimed for one in supervisor.holdings()] == [False]


def test_table_forgets_a_message_when_its_slot_is_freed(worker, supervisor):
    slot = put(worker)

    worker.remove(slot)

    assert list(supervisor.holdings()) == []
    assert (worker.used, worker.free) == (0, 4)


def test_table_tells_one_use_of_a_slot_from_the_next(worker, supervisor):
    slot = put(worker, "r1")
    (old,) = supervisor.holdings()
    worker.remove(slot)

    assert put(worker, "a longer receipt than the one before") == slot

    (new,) = supervisor.holdings()
    assert new.sequence != old.sequence
    assert new.sequence == worker.sequence(slot)
    assert new.receipt == "a longer receipt than the one before"
    assert not supervisor.is_held(old)
    assert supervisor.is_held(new)


def test_table_says_that_nothing_is_held_after_a_slot_was_freed(worker, supervisor):
    slot = put(worker)
    (holding,) = supervisor.holdings()

    worker.remove(slot)

    assert not supervisor.is_held(holding)


def test_table_passes_over_a_slot_that_is_half_written(worker, supervisor):
    """As it is left by a kill in the middle of `put`."""
    put(worker, "r1")
    torn = put(worker, "r2")
    at = 256 + torn * 2048
    struct.pack_into("<I", worker._memory, at, worker.sequence(torn) - 1)

    assert [holding.receipt for holding in supervisor.holdings()] == ["r1"]


def test_table_takes_receipts_of_1024_characters(worker, supervisor):
    put(worker, "x" * 1024, token="y" * 32)

    (holding,) = supervisor.holdings()
    assert holding.receipt == "x" * 1024


def test_table_refuses_a_receipt_that_does_not_fit_and_loses_no_slot_by_it(worker):
    with pytest.raises(ValueError, match="a receipt of 3000 characters does not fit"):
        put(worker, "x" * 3000)

    assert (worker.used, worker.free) == (0, 4)


def test_table_raises_when_no_slot_is_free(worker):
    for number in range(4):
        put(worker, f"r{number}")

    with pytest.raises(IndexError):
        put(worker, "r5")

    assert worker.used == 4


def test_table_keeps_receipts_that_are_not_ascii(worker, supervisor):
    put(worker, "récépissé-ü")

    (holding,) = supervisor.holdings()
    assert holding.receipt == "récépissé-ü"


def test_table_shares_counters_and_tick(worker, supervisor):
    worker.counters[Counter.DONE] += 7
    worker.tick(123.5)

    assert supervisor.count(Counter.DONE) == 7
    assert supervisor.count(Counter.FOLDED) == 0
    assert supervisor.ticked_at == 123.5


def test_table_wraps_the_sequence_without_an_error_when_a_slot_was_used_two_thousand_million_times(worker, supervisor):
    slot = put(worker)
    worker.remove(slot)
    worker._sequences[slot] = 0xFFFFFFFE

    put(worker, "r9")

    (holding,) = supervisor.holdings()
    assert holding.sequence == worker.sequence(slot) == 0


def test_table_takes_any_generation_that_a_story_may_carry(worker, supervisor):
    put(worker, generation=0xFFFFFFFF)

    (holding,) = supervisor.holdings()
    assert holding.generation == 0xFFFFFFFF


def test_table_closes_twice_without_an_error():
    table = LeaseTable.create(1)

    table.close()
    table.close()
