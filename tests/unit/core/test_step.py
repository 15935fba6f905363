from typing import get_args

from mulligan.core.step import ACK, BURY, Ack, Bury, Reject, Release, Run, Settlement, Step


def test_steps_are_a_closed_union_of_five():
    assert set(get_args(Step)) == {Run, Bury, Ack, Release, Reject}


def test_settlements_are_the_three_ends_of_a_delivery():
    assert set(get_args(Settlement)) == {Ack, Release, Reject}


def test_release_and_reject_of_the_same_delay_are_not_the_same():
    assert Release(5.0) != Reject(5.0)
    assert ACK != BURY
