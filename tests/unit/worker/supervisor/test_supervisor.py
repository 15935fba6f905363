"""A start that comes to nothing. Runs with workers are those of the simulation, and of tests/acceptance."""

import asyncio
from pathlib import Path

import pytest

from mulligan.brokers.memory import MemoryBroker
from mulligan.core.error import LedgerUnavailable
from mulligan.core.event import Stopped, Stopping
from mulligan.ledger.memory import MemoryLedger
from mulligan.settings.model import Settings
from mulligan.telemetry.hub import Hub
from mulligan.worker.supervisor.supervisor import Supervisor
from mulligan.worker.system_host import SystemHost


class Away(MemoryLedger):
    """Can't be opened."""

    async def open(self):
        raise LedgerUnavailable("nobody listens on the port")


@pytest.fixture
async def supervisor(clock, events):
    settings = Settings(pool_size=1, start_wait_s=60.0)
    return Supervisor(settings, MemoryBroker(clock), Away(clock), Hub([events.append]), SystemHost(clock), Path.cwd())


def ends(events):
    return [event for event in events if isinstance(event, Stopping | Stopped)]


async def test_run_raises_what_keeps_its_ledger_away_once_the_start_has_waited_long_enough(supervisor, clock, events):
    began_at = clock.monotonic()

    with pytest.raises(LedgerUnavailable, match="nobody listens"):
        await supervisor.run(drains=False, for_s=None)

    assert clock.monotonic() - began_at == pytest.approx(60.0, abs=2.0)
    assert ends(events) == []


async def test_run_that_is_stopped_while_it_waits_for_its_ledger_ends_in_order(supervisor, clock, events):
    began_at = clock.monotonic()
    asyncio.get_running_loop().call_later(5.0, supervisor.stop, "SIGTERM")

    await supervisor.run(drains=True, for_s=None)

    assert clock.monotonic() - began_at == pytest.approx(5.0, abs=1.0)
    stopping, stopped = ends(events)
    assert (stopping.reason, stopping.running) == ("SIGTERM", 0)
    assert stopped == Stopped(0, 0, 0)
