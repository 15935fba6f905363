"""What the supervisor repeats: when, and what a fault does to it."""

import asyncio

import pytest

from mulligan.brokers.memory import MemoryBroker
from mulligan.core.error import LedgerUnavailable, StorageBroken
from mulligan.ledger.memory import MemoryLedger
from mulligan.telemetry.hub import Hub
from mulligan.worker.ipc.channel import ClaimsLost
from mulligan.worker.supervisor.lease_keeper import LeaseKeeper
from mulligan.worker.supervisor.periodic_jobs import PeriodicJobs
from mulligan.worker.system_host import SystemHost
from tests.integration.worker.service import Network

LEASE_S = 60.0
HOUR_S = 3600.0
DAY_S = 86_400.0


class Heard(list):
    """The end of a channel: what was sent."""

    send = list.append


@pytest.fixture
async def ledger(clock):
    return Network(MemoryLedger(clock))


@pytest.fixture
async def broker(clock, queues):
    made = Network(MemoryBroker(clock))
    await made.declare(queues, create=True)
    return made


@pytest.fixture
async def jobs(clock, queues, events, pool, run_state, broker, ledger):
    keeper = LeaseKeeper(broker, ledger, queues, clock, events.append, LEASE_S)
    return PeriodicJobs(pool, keeper, run_state, SystemHost(clock), Hub([]))


@pytest.fixture
def heard(pool, table, clock):
    """What the only worker is sent; it holds one message, of whose claim the ledger knows nothing."""
    (worker,) = pool.workers
    worker.table, worker._channel = table, Heard()
    slot = table.put(0, "a-receipt", "018bcfe56800-00000000000000000000", 0, "token", clock.monotonic() + LEASE_S)
    table.set_claimed([slot])
    return worker._channel


async def run_for(seconds, job):
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(job, seconds)


async def test_ledger_is_pruned_at_the_start_and_once_per_hour_also_when_it_was_away(jobs, clock, ledger):
    began_at = clock.now()
    ledger.faults["forget"] = [LedgerUnavailable("the disk is full")]

    await run_for(2.5 * HOUR_S, jobs.prune_ledger(ledger, keep_days=2.0))

    asked = [before - began_at + 2 * DAY_S for method, (before,) in ledger.calls if method == "forget"]
    assert asked == pytest.approx([0.0, HOUR_S, 2 * HOUR_S])


async def test_worker_is_told_of_a_claim_that_is_lost_and_since_when(jobs, heard, table, clock):
    (holding,) = table.holdings()
    began_at = clock.monotonic()

    await run_for(LEASE_S, jobs.extend_claims())

    assert isinstance(heard[0], ClaimsLost)
    assert heard[0].slots == [(holding.slot, holding.sequence)]
    assert LEASE_S / 2 <= heard[0].asked_at - began_at <= LEASE_S / 2 + 5.0


async def test_storage_that_is_broken_when_claims_are_extended_stops_the_run(jobs, heard, ledger, run_state):
    broken = StorageBroken("the disk failed a write")
    ledger.cut["extend"] = broken

    await run_for(LEASE_S, jobs.extend_claims())

    assert run_state.is_stopping
    assert run_state.error is broken
    assert heard == []
