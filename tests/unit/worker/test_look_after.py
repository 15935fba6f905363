"""Workers that a task holds, with real processes, on a clock that the test moves."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from mulligan.brokers.memory import MemoryBroker
from mulligan.core.event import WorkerBlocked
from mulligan.ledger.memory import MemoryLedger
from mulligan.settings.model import Settings
from mulligan.telemetry.hub import Hub
from mulligan.telemetry.messages import sentence_of
from mulligan.worker.ipc.child import Child
from mulligan.worker.ipc.lease_table import LeaseTable, SlotState
from mulligan.worker.supervisor.supervisor import Supervisor
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
async def seated(events):
    """A supervisor, and its first seat with a living process that has not said anything for `silent_s` seconds."""
    clock, popens = Hands(), []

    def make(silent_s: float):
        supervisor = Supervisor(
            Settings(pool_size=1),
            MemoryBroker(clock),
            MemoryLedger(clock),
            Hub([events.append]),
            SystemHost(clock),
            Path.cwd(),
        )
        seat = supervisor._seats[0]
        ignoring = (
            "import signal, time; signal.signal(signal.SIGUSR1, signal.SIG_IGN); print(flush=True); time.sleep(600)"
        )
        popens.append(subprocess.Popen([sys.executable, "-c", ignoring], stdout=subprocess.PIPE))
        popens[-1].stdout.readline()
        popens[-1].stdout.close()
        seat.process = Child(popens[-1], "mark")
        seat.table = LeaseTable.create(4)
        seat.table.tick(clock.at)
        clock.at += silent_s
        return supervisor, seat

    yield make
    for popen in popens:
        if popen.returncode is None:
            popen.kill()
            popen.wait()


def hold(seat, standing, deadline=0.0):
    slot = seat.table.put(0, "receipt", "uid", 0, "token", 5000.0)
    seat.table.set_standing(slot, standing, deadline)
    return slot


async def test_worker_whose_loop_was_blocked_by_what_a_task_had_left_behind_is_replaced(seated, events):
    """Its seat was lost for ever, without a line: `asyncio.create_task` of something that never waits, and return."""
    supervisor, seat = seated(silent_s=61.0)

    await supervisor._look_after(seat)

    assert await seat.process.wait() == -9
    (blocked,) = [event for event in events if isinstance(event, WorkerBlocked)]
    assert sentence_of(blocked).endswith("no task runs in it, and its event loop has not turned for 61 s")
    assert seat.guilty == set()


async def test_messages_that_wait_in_a_blocked_worker_are_suspects(seated):
    """`accepts` of one of them may hold the loop; killed without blame, it would come back for ever."""
    supervisor, seat = seated(silent_s=61.0)
    held, isolated = hold(seat, SlotState.HELD), hold(seat, SlotState.ISOLATED)

    await supervisor._look_after(seat)

    assert held != isolated
    assert seat.guilty == {held}


@pytest.mark.parametrize(
    ("silent_s", "standing"), [(59.0, SlotState.HELD), (300.0, SlotState.RUNNING)], ids=["not long", "a task runs"]
)
async def test_worker_is_left_alone_while_it_may_be_at_work(seated, silent_s, standing):
    supervisor, seat = seated(silent_s)
    hold(seat, standing, deadline=5000.0)

    await supervisor._look_after(seat)

    assert (seat.guilty, seat.process.returncode) == (None, None)


async def test_blocked_worker_does_not_hold_up_a_stop_and_nobody_is_blamed(seated):
    supervisor, seat = seated(silent_s=6.0)
    hold(seat, SlotState.HELD)
    supervisor.stop("SIGTERM")

    await supervisor._look_after(seat)

    assert await asyncio.wait_for(seat.process.wait(), 30) == -9
    assert seat.guilty == set()
