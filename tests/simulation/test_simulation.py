"""Thousands of simulated histories, each of many messages, each held against the promise."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.proof.size import IS_FULL
from tests.simulation.coverage import covered
from tests.simulation.history import run

REPOSITORY = Path(__file__).resolve().parents[2]
BLOCKS = 100 if IS_FULL else 10
SIZE = 200


def simulate(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """`make simulate`, in a process without pytest's threads, so that it may fork."""
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            out, err = process.communicate()
        except BaseException:  # a timeout: what the process has started would go on for ever
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_every_message_ends_as_it_should_in_two_hundred_histories(block):
    done = simulate("--first", str(block * SIZE), "--seeds", str(SIZE), "--processes", "2")

    if done.returncode != 0:
        found = re.search(r"^seed (\d+): ", done.stdout, re.MULTILINE)
        story = simulate("--seed", found[1]).stdout[-20_000:] if found else ""
        pytest.fail(f"{story}\n{done.stdout}{done.stderr}")
    assert f"{SIZE} seeds, " in done.stderr


@pytest.mark.parametrize("seed", [3, 10, 41])
def test_history_is_the_same_when_its_seed_is_run_again(seed):
    first = run(seed, is_telling=True)

    second = run(seed, is_telling=True)

    assert first.digest == second.digest
    assert first.story == second.story


def test_histories_run_nine_tenths_of_the_worker():
    result = covered(range(90))

    run_lines, lines = (sum(one[place] for one in result.values()) for place in (0, 1))
    missed = {name: lines for name, (_, _, lines) in result.items() if lines}
    assert run_lines / lines >= 0.9, missed
