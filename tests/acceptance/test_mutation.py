"""Some safety lines are taken away: ten of the main ones, and those in files that differ from the branch main."""

import pytest

from tests.mutation.choice import changed_files, few, hold
from tests.mutation.mutation import load

MUTATIONS = few(load(), changed_files())


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[one.name for one in MUTATIONS])
def test_safety_that_is_taken_away_is_noticed(mutation, tmp_path):
    hold(mutation, tmp_path)
