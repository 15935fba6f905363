"""Thousands of simulated histories, each of many messages, each held against the promise."""

import pytest

from tests.proof.size import IS_FULL
from tests.simulation import block
from tests.simulation.coverage import covered
from tests.simulation.history import run

BLOCKS = 100 if IS_FULL else 10


@pytest.mark.parametrize("number", range(BLOCKS))
def test_every_message_ends_as_it_should_in_two_hundred_histories(number):
    block.hold(number)


@pytest.mark.parametrize("seed", [3, 10, 41])
def test_history_is_the_same_when_its_seed_is_run_again(seed):
    first = run(seed, is_telling=True)

    second = run(seed, is_telling=True)

    assert first.digest == second.digest
    assert first.story == second.story


def test_histories_run_nine_tenths_of_the_worker():
    result = covered(range(120))

    run_lines, lines = (sum(one[place] for one in result.values()) for place in (0, 1))
    missed = {name: lines for name, (_, _, lines) in result.items() if lines}
    assert run_lines / lines >= 0.9, missed
