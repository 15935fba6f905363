"""Some simulated histories in a process of their own, held against the promise."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

__all__ = ["SIZE", "hold", "simulate"]

REPOSITORY = Path(__file__).resolve().parents[2]
SIZE = 200
"""Histories of a block."""
_SHOWN = 20_000


def simulate(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """`make simulate`, in a process without pytest's threads, so that it may fork."""
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            out, err = process.communicate()
        except BaseException:  # a timeout: what the process has started would run for ever
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def hold(block: int) -> None:
    """Run a block, 0 for the first; a violation fails the test, with the story of its seed."""
    done = simulate("--first", str(block * SIZE), "--seeds", str(SIZE), "--processes", "2")

    if done.returncode != 0:
        found = re.search(r"^seed (\d+): ", done.stdout, re.MULTILINE)
        story = simulate("--seed", found[1]).stdout[-_SHOWN:] if found else ""
        pytest.fail(f"{story}\n{done.stdout}{done.stderr}")
    assert f"{SIZE} seeds, " in done.stderr
