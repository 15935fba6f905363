from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan.core.queue_role import PATIENT_S, QueueRole

ROLE = QueueRole(0, False, "t", 60.0)

counts = st.integers(1, 1000)
waits = st.floats(0.0, 1e6)
roles = st.builds(
    QueueRole,
    index=st.sampled_from([0, 1]),
    is_trusted=st.booleans(),
    prefix=st.just("t"),
    lease_s=st.floats(1.0, 3600.0),
    suspects_repeats=st.booleans(),
    holds_groups=st.booleans(),
    holds_deliveries=st.booleans(),
    receives=st.none() | st.integers(1, 1000),
    max_delay_s=st.sampled_from([0.0, 900.0]),
    max_lease_s=st.sampled_from([43_200.0, 900.0]),
)


# -- hands_on


@given(roles, counts, waits)
def test_message_is_never_handed_on_where_its_queue_moves_none_away(role, receive_count, delay_s):
    assert not replace(role, receives=None).hands_on(receive_count, delay_s)


@given(roles, st.integers(1, 1000), st.integers(0, 1000), waits)
def test_message_is_handed_on_when_the_present_receive_is_the_last(role, receives, beyond, delay_s):
    assert replace(role, receives=receives).hands_on(receives + beyond, delay_s)


@given(roles, st.integers(3, 1000), waits)
def test_message_is_given_back_when_two_receives_are_left(role, receives, delay_s):
    assert not replace(role, receives=receives).hands_on(receives - 2, delay_s)


@pytest.mark.parametrize(
    ("delay_s", "max_delay_s", "hands_on"),
    [(0.0, 0.0, True), (0.0, 900.0, True), (5.0, 900.0, True), (5.0, 0.0, False)],
)
def test_last_receive_in_reserve_is_spent_only_on_a_wait_that_a_copy_could_not_have(delay_s, max_delay_s, hands_on):
    role = replace(ROLE, receives=4, max_delay_s=max_delay_s)

    assert role.hands_on(3, delay_s) is hands_on


@given(roles, counts, waits)
def test_message_that_was_handed_on_would_be_after_one_more_receive(role, receive_count, delay_s):
    if role.hands_on(receive_count, delay_s):
        assert role.hands_on(receive_count + 1, delay_s)


# -- patient_s


@given(roles, counts, waits)
def test_patience_is_never_shorter_than_the_wait_or_the_longest_lease(role, receive_count, wait_s):
    assert role.patient_s(receive_count, wait_s) >= min(wait_s, role.max_lease_s)


@pytest.mark.parametrize(
    ("receive_count", "wait_s"), [(1, 60.0), (2, 60.0), (3, PATIENT_S), (4, 43_200.0), (9, 43_200.0)]
)
def test_patience_grows_when_few_receives_are_left(receive_count, wait_s):
    assert replace(ROLE, receives=4).patient_s(receive_count, 60.0) == wait_s


@given(roles, counts, waits)
def test_patience_is_the_wait_where_no_receive_is_counted(role, receive_count, wait_s):
    assert replace(role, receives=None).patient_s(receive_count, wait_s) == wait_s


# -- held_s


@given(roles, st.floats(-1e6, 1e6), st.floats(0.0, 2e9), counts)
def test_copy_waits_for_another_ones_claim_for_a_while_and_never_for_hours(role, lasts_s, now, receive_count):
    held_s = role.held_s(now + lasts_s, now, receive_count)

    assert 0.05 <= held_s <= max(PATIENT_S, role.lease_s)


def test_copy_waits_until_the_end_of_the_claim_when_that_is_near():
    assert ROLE.held_s(1010.0, 1000.0, 1) == 10.0
    assert ROLE.held_s(5000.0, 1000.0, 1) == 60.0
    assert ROLE.held_s(900.0, 1000.0, 1) == 0.05


def test_copy_waits_a_second_at_most_where_the_supervisor_ends_a_dead_workers_claim():
    assert replace(ROLE, holds_deliveries=True).held_s(1010.0, 1000.0, 1) == 1.0


def test_copy_waits_for_long_when_its_queue_would_soon_move_it_away():
    role = replace(ROLE, receives=4)

    assert [role.held_s(1010.0, 1000.0, count) for count in (1, 2, 3, 4)] == [10.0, 10.0, PATIENT_S, PATIENT_S]


# -- repeats


def test_suspect_is_given_back_to_rest_while_more_than_two_receives_are_left():
    role = replace(ROLE, receives=6)

    assert [role.has_receives_for_rest(count) for count in (1, 3, 4, 6)] == [True, True, False, False]
    assert ROLE.has_receives_for_rest(10_000)


@given(counts)
def test_message_that_comes_again_is_a_suspect_only_where_no_ledger_knows(receive_count):
    assert not ROLE.is_repeat(receive_count)
    assert replace(ROLE, suspects_repeats=True).is_repeat(receive_count) is (receive_count > 1)
