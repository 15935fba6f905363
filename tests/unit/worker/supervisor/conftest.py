"""Parts of a supervisor, wired as it wires them."""

from pathlib import Path

import pytest

from mulligan.brokers.memory import MemoryBroker
from mulligan.ledger.memory import MemoryLedger
from mulligan.settings.model import Settings
from mulligan.worker.background import Background
from mulligan.worker.ipc.channel import Setup
from mulligan.worker.isolation.gate import HostGate
from mulligan.worker.supervisor.lease_keeper import LeaseKeeper
from mulligan.worker.supervisor.run_state import RunState
from mulligan.worker.supervisor.run_stats import StatsCollector
from mulligan.worker.supervisor.worker_handle import WorkerHandle
from mulligan.worker.supervisor.worker_pool import WorkerPool
from mulligan.worker.system_host import SystemHost


@pytest.fixture
async def run_state():
    return RunState()


@pytest.fixture
async def pool(clock, queues, events, failed, run_state):
    """Of one worker."""
    setup = Setup(0, Settings(log_file=None).for_worker(), 1, 1, 4, str(Path.cwd()))
    worker = WorkerHandle(
        setup, SystemHost(clock), run_state, events.append, Background(failed.append), lambda *_: None
    )
    keeper = LeaseKeeper(MemoryBroker(clock), MemoryLedger(clock), queues, clock, events.append, 60.0)
    gate = HostGate(lambda *_: None)
    return WorkerPool([worker], keeper, StatsCollector(clock.now()), gate, run_state, clock, events.append)
