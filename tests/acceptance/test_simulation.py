"""Four hundred simulated histories, the first of those that the long proofs run."""

import pytest

from tests.simulation import block


@pytest.mark.parametrize("number", range(2))
def test_every_message_ends_as_it_should_in_two_hundred_histories(number):
    block.hold(number)
