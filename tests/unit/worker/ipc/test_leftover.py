"""Processes that one that has ended left behind: which are found, and how they are ended."""

import os
import signal
import subprocess
import sys
import uuid

import pytest

from mulligan.worker.ipc.leftover import WORKER_VARIABLE, Leftovers, end_leftovers

NO_PROCESS = 2**22 + 1  # above the highest number of a process
STUBBORN = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); input()"


@pytest.fixture
def start():
    """Start a process and wait until it is up; those that live are killed with the test."""
    started = []

    def start(code: str = "print('up', flush=True); input()", **more) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **more
        )
        started.append(process)
        assert process.stdout.readline() == "up\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_leftovers_of_the_session_are_ended_by_sigterm(start):
    one = start(start_new_session=True)

    left = end_leftovers(one.pid, "nobody's", patience_s=20.0)

    assert left.stayed == ()
    assert [text.rpartition(" ")[2] for text in left.ended] == [f"({one.pid})"]
    assert one.wait() == -signal.SIGTERM


def test_leftovers_that_ignore_sigterm_are_killed_when_their_time_is_over(start):
    one = start(STUBBORN, start_new_session=True)

    left = end_leftovers(one.pid, "nobody's", patience_s=0.1)

    assert len(left.ended) == 1
    assert one.wait() == -signal.SIGKILL


@pytest.mark.parametrize(("rest", "is_found"), [("", True), (".7", True), ("2", False)])
def test_leftovers_are_found_by_their_mark_and_those_of_their_own_children(start, rest, is_found):
    mark = uuid.uuid4().hex  # the whole machine is looked through, and a test beside this one has processes, too
    one = start(start_new_session=True, env=os.environ | {WORKER_VARIABLE: mark + rest})

    left = end_leftovers(NO_PROCESS, mark, patience_s=0.0)

    assert (one.poll() is None) is not is_found
    assert len(left.ended) == is_found


def test_nothing_left_is_told_as_nothing():
    assert end_leftovers(NO_PROCESS, "nobody's", patience_s=0.0) == Leftovers()
