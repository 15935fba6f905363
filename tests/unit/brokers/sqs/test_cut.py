"""Cuts of long polls: those that come at one age, and those of an outage."""

import pytest

from mulligan.brokers.sqs.cut import HOLDS_S, Cuts

ASKED_S = 20.0


def cut_in_a_row(cuts, *ages, at=0.0):
    """Cut one poll after the other; what is said of the last one, and when that was."""
    is_usual = False
    for age in ages:
        at += age
        is_usual = cuts.was_cut(age, ASKED_S, at)
        at += 0.1
    return is_usual, at


def test_cuts_at_one_age_are_recognised_at_the_third_in_a_row():
    cuts = Cuts()

    told = [cuts.was_cut(8.0, ASKED_S, at) for at in (8.0, 16.1, 24.2)]

    assert told == [False, False, True]
    assert cuts.wait_s(ASKED_S, 25.0) == 6.0


@pytest.mark.parametrize(
    ("age_s", "limit_s"), [(1.3, 1.0), (2.0, 1.0), (5.0, 4.0), (10.0, 8.0), (15.1, 12.0), (19.0, 15.0)]
)
def test_polls_become_shorter_than_the_cut(age_s, limit_s):
    cuts = Cuts()

    _, at = cut_in_a_row(cuts, age_s, age_s, age_s)

    assert cuts.wait_s(ASKED_S, at) == limit_s


@pytest.mark.parametrize(
    "ages",
    [
        (8.0, 8.0),
        (8.0, 3.0, 8.0),
        (2.0, 8.0, 14.0),
        (0.5, 0.5, 0.5, 0.5),  # no poll is that short
        (20.5, 20.5, 20.5),  # the poll was over
    ],
)
def test_cuts_of_other_kinds_are_faults(ages):
    cuts = Cuts()

    is_usual, at = cut_in_a_row(cuts, *ages)

    assert not is_usual
    assert cuts.wait_s(ASKED_S, at) == ASKED_S


def test_outage_that_ends_every_poll_at_one_age_is_a_fault_once_polls_are_shorter_than_that():
    """A load balancer whose target is gone answers 504 after 10 s, each time: the system looked idle for hours."""
    cuts = Cuts()
    _, at = cut_in_a_row(cuts, 10.0, 10.0, 10.0)

    wait_s = cuts.wait_s(ASKED_S, at)

    assert wait_s == 8.0
    assert not any(cuts.was_cut(10.0, wait_s, at + 10.1 * n) for n in range(1, 5))


def test_polls_that_one_event_cuts_at_once_are_faults_although_they_have_one_age():
    cuts = Cuts()

    assert [cuts.was_cut(8.0, ASKED_S, 8.0 + n / 1000) for n in range(5)] == [False] * 5


def test_row_begins_anew_when_a_poll_fails_in_another_way():
    cuts = Cuts()
    _, at = cut_in_a_row(cuts, 8.0, 8.0)

    cuts.failed()

    assert not cut_in_a_row(cuts, 8.0, 8.0, at=at)[0]


def test_row_begins_anew_when_a_poll_lives_longer():
    cuts = Cuts()
    _, at = cut_in_a_row(cuts, 8.0, 8.0)

    cuts.lived(20.0)

    assert not cut_in_a_row(cuts, 8.0, 8.0, at=at)[0]


def test_row_goes_on_when_a_poll_brings_messages_before_the_cut():
    cuts = Cuts()
    _, at = cut_in_a_row(cuts, 8.0, 8.0)

    cuts.lived(3.0)

    assert cut_in_a_row(cuts, 8.0, at=at)[0]


def test_cut_of_a_poll_that_was_under_way_is_none_of_a_fault_once_the_age_is_known():
    cuts = Cuts()
    _, at = cut_in_a_row(cuts, 8.0, 8.0, 8.0)

    assert cuts.was_cut(8.1, ASKED_S, at)


def test_long_polls_are_tried_again_after_an_hour_and_stay_when_they_live():
    cuts = Cuts()
    _, at = cut_in_a_row(cuts, 8.0, 8.0, 8.0)

    asked_s = cuts.wait_s(ASKED_S, at + HOLDS_S)
    cuts.lived(20.0)

    assert asked_s == ASKED_S
    assert cuts.wait_s(ASKED_S, at + HOLDS_S + 20) == ASKED_S


def test_polls_are_short_again_after_one_cut_when_long_ones_are_tried_again():
    cuts = Cuts()
    _, at = cut_in_a_row(cuts, 8.0, 8.0, 8.0)
    later = at + HOLDS_S + 8.0

    is_usual = cuts.was_cut(8.0, ASKED_S, later)

    assert is_usual
    assert cuts.wait_s(ASKED_S, later) == 6.0


def test_polls_become_shorter_again_when_the_cut_comes_earlier():
    cuts = Cuts()
    _, at = cut_in_a_row(cuts, 8.0, 8.0, 8.0)

    told = [cuts.was_cut(3.0, 6.0, at + 3.1 * n) for n in (1, 2, 3)]

    assert told == [False, False, True]
    assert cuts.wait_s(ASKED_S, at + 10) == 2.0
