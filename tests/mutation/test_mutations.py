"""A harness that can't fail proves nothing: each safety line is taken away, and something has to notice."""

from pathlib import Path

import pytest

from tests.mutation.choice import hold
from tests.mutation.mutation import Change, Mutation, MutationError, apply, load, renew, table

DOCS = Path(__file__).resolve().parents[2] / "docs" / "simulation.md"
MUTATIONS = load()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[one.name for one in MUTATIONS])
def test_safety_that_is_taken_away_is_noticed(mutation, tmp_path):
    hold(mutation, tmp_path)


def test_mutation_that_does_not_apply_any_more_is_told_by_its_name(tmp_path):
    (tmp_path / "mulligan").mkdir()
    (tmp_path / "mulligan" / "a.py").write_text("x = 1\n")
    mutation = Mutation("gone", "x is 2", (0,), (), (Change("a.py", "x = 2", "x = 3"),))

    with pytest.raises(MutationError, match="mutation gone does not apply any more"):
        apply(mutation, tmp_path)


def test_seed_that_notices_is_written_in_place_of_those_that_do_not(tmp_path):
    (tmp_path / "one.toml").write_text('safety = "seeds = 1"\nseeds = [3, 4]\n\n[[change]]\nfile = "a.py"\n')

    renew("one", 17, tmp_path)

    assert (tmp_path / "one.toml").read_text() == ('safety = "seeds = 1"\nseeds = [17]\n\n[[change]]\nfile = "a.py"\n')


def test_page_lists_every_mutation_and_what_notices_it():
    assert table(MUTATIONS) in DOCS.read_text("utf-8"), "put there what `python -m tests.mutation --table` prints"
