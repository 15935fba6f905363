import pytest

from mulligan.core.clock import Lead, lead


def test_lead_is_told_with_half_of_the_round_trip_as_its_error():
    assert lead(1000.0, 1004.0, 992.0) == Lead(ahead_s=10.0, error_s=2.0)


def test_lead_knows_that_what_is_told_was_cut_to_whole_seconds():
    assert lead(1000.0, 1001.0, 1000.0, 1.0) == Lead(ahead_s=0.0, error_s=1.0)


@pytest.mark.parametrize(
    ("found", "matters"),
    [
        (Lead(3600.0, 0.5), True),
        (Lead(-5.6, 0.5), True),
        (Lead(5.4, 0.5), False),  # it may be less than five
        (Lead(-60.0, 58.0), False),  # the answer was long on its way
        (Lead(0.0, 0.0), False),
    ],
)
def test_lead_matters_when_it_is_surely_more_than_a_few_seconds(found, matters):
    assert found.matters is matters
