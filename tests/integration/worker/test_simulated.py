"""The simulation in small: some histories are clean, and what takes a safety line away is noticed by them."""

import pytest

from tests.mutation.mutation import load, noticed
from tests.simulation.history import run

SEEDS = range(40)
MUTATIONS = [one for one in load() if one.name in {"no_ack_while_pending", "record_before_settle", "sweep_releases"}]


def test_every_message_ends_as_it_should_in_forty_histories():
    found = {seed: violations for seed in SEEDS if (violations := run(seed).violations)}

    assert found == {}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[one.name for one in MUTATIONS])
def test_safety_that_is_taken_away_is_noticed(mutation, tmp_path):
    found = noticed(mutation, tmp_path)

    assert found is not None, f"nothing notices when this is taken away: {mutation.safety}"


def test_three_mutations_are_tried():
    assert len(MUTATIONS) == 3
