import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan.core.policy import Backoff, Policy, again_in_s, delay_s


def test_policy_tries_twice_as_was_asked_unless_told():
    assert Policy() == Policy(max_attempts=2, backoff=Backoff(10.0, 2.0, 3600.0), timeout_s=60.0)


@pytest.mark.parametrize(
    ("attempts", "shortest_s", "longest_s"),
    [
        (1, 5.0, 10.0),
        (2, 10.0, 20.0),
        (3, 20.0, 40.0),
        (9, 1280.0, 2560.0),
        (10, 1800.0, 3600.0),
        (1000, 1800.0, 3600.0),
    ],
)
def test_delay_doubles_with_half_jitter_up_to_the_cap(attempts: int, shortest_s: float, longest_s: float):
    assert delay_s(Backoff(), attempts, rand=0.0) == shortest_s
    assert delay_s(Backoff(), attempts, rand=1.0) == longest_s


def test_delay_is_always_the_same_without_growth():
    assert delay_s(Backoff(first_s=4.0, factor=1.0), 50, rand=0.5) == 3.0


def test_delay_is_none_at_all_when_the_first_wait_is_zero():
    assert delay_s(Backoff(first_s=0.0), 7, rand=0.9) == 0.0


@given(attempts=st.integers(1, 10_000), rand=st.floats(0, 1), max_s=st.floats(0, 1e6), factor=st.floats(1, 100))
def test_delay_stays_between_zero_and_the_cap(attempts: int, rand: float, max_s: float, factor: float):
    assert 0 <= delay_s(Backoff(10.0, factor, max_s), attempts, rand) <= max_s


def test_look_at_a_copy_that_nothing_can_be_done_for_waits_twice_as_long_each_time_up_to_the_longest():
    waits = [again_in_s(60.0, 900.0, count, None) for count in (1, 2, 3, 4, 5, 6, 1000)]

    assert waits == [60.0, 120.0, 240.0, 480.0, 900.0, 900.0, 900.0]


def test_look_at_a_copy_waits_as_long_as_it_has_waited_where_nobody_counts_looks():
    waits, age_s = [], 0.0
    for _ in range(7):
        waits.append(again_in_s(60.0, 900.0, 1, age_s))
        age_s += waits[-1]

    assert waits == [60.0, 60.0, 120.0, 240.0, 480.0, 900.0, 900.0]
    assert again_in_s(60.0, 900.0, 1, -3600.0) == 60.0
