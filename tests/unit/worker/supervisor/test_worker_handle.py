"""Workers that a task holds, with real processes, on a clock that the test moves."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from mulligan.core.event import WorkerBlocked
from mulligan.settings.model import Settings
from mulligan.telemetry.messages import sentence_of
from mulligan.worker.background import Background
from mulligan.worker.ipc.channel import Setup
from mulligan.worker.ipc.child import Child
from mulligan.worker.ipc.lease_table import LeaseTable, SlotState
from mulligan.worker.supervisor.worker_handle import WorkerHandle
from mulligan.worker.system_host import SystemHost

REAL_TIME = True


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


@pytest.fixture
async def worker_of(events, failed, run_state):
    """A worker with a living process that has not said anything for `silent_s` seconds."""
    clock, popens = Hands(), []

    def make(silent_s: float):
        setup = Setup(0, Settings(log_file=None).for_worker(), 1, 1, 4, str(Path.cwd()))
        background = Background(failed.append)
        worker = WorkerHandle(setup, SystemHost(clock), run_state, events.append, background, lambda *_: None)
        ignoring = (
            "import signal, time; signal.signal(signal.SIGUSR1, signal.SIG_IGN); print(flush=True); time.sleep(600)"
        )
        popens.append(subprocess.Popen([sys.executable, "-c", ignoring], stdout=subprocess.PIPE))
        popens[-1].stdout.readline()
        popens[-1].stdout.close()
        worker.process = Child(popens[-1], "mark")
        worker.table = LeaseTable.create(4)
        worker.table.tick(clock.at)
        clock.at += silent_s
        return worker

    yield make
    for popen in popens:
        if popen.returncode is None:
            popen.kill()
            popen.wait()


def hold(worker, standing, deadline=0.0):
    slot = worker.table.put(0, "receipt", "uid", 0, "token", 5000.0)
    worker.table.set_standing(slot, standing, deadline)
    return slot


async def test_worker_whose_loop_was_blocked_by_what_a_task_had_left_behind_is_replaced(worker_of, events):
    """Its seat was lost for ever, without a line: `asyncio.create_task` of something that never waits, and return."""
    worker = worker_of(silent_s=61.0)

    await worker.look_after()

    assert await worker.process.wait() == -9
    (blocked,) = [event for event in events if isinstance(event, WorkerBlocked)]
    assert sentence_of(blocked).endswith("no task runs in it, and its event loop has not turned for 61 s")
    assert worker.blamed == set()


async def test_messages_that_wait_in_a_blocked_worker_are_suspects(worker_of):
    """`accepts` of one of them may hold the loop; killed without blame, it would come back for ever."""
    worker = worker_of(silent_s=61.0)
    held, isolated = hold(worker, SlotState.HELD), hold(worker, SlotState.ISOLATED)

    await worker.look_after()

    assert held != isolated
    assert worker.blamed == {held}


@pytest.mark.parametrize(
    ("silent_s", "standing"), [(59.0, SlotState.HELD), (300.0, SlotState.RUNNING)], ids=["not long", "a task runs"]
)
async def test_worker_is_left_alone_while_it_may_be_at_work(worker_of, silent_s, standing):
    worker = worker_of(silent_s)
    hold(worker, standing, deadline=5000.0)

    await worker.look_after()

    assert (worker.blamed, worker.process.returncode) == (None, None)


async def test_blocked_worker_does_not_hold_up_a_stop_and_nobody_is_blamed(worker_of, run_state):
    worker = worker_of(silent_s=6.0)
    hold(worker, SlotState.HELD)
    run_state.stop("SIGTERM")

    await worker.look_after()

    assert await asyncio.wait_for(worker.process.wait(), 30) == -9
    assert worker.blamed == set()
