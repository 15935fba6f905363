"""The steps of a start: what each waits for, reports, and stops the run with."""

import pytest

from mulligan.brokers.base import Declared
from mulligan.brokers.memory import MemoryBroker
from mulligan.core.clock import Lead
from mulligan.core.error import BrokerUnavailable, ConfigurationError, LedgerUnavailable
from mulligan.core.event import BrokerWarning, ClockDiffers, QueuesDeclared
from mulligan.ledger.memory import MemoryLedger
from mulligan.settings.model import Settings
from mulligan.worker.supervisor.preparation import Preparation
from tests.integration.worker.service import Network

SETTINGS = Settings(start_wait_s=30.0, log_file=None)


class Noting(MemoryBroker):
    """Whose queues have a problem, or something to note."""

    declared: Declared

    async def declare(self, queues, *, create):
        return self.declared


class Timed(MemoryLedger):
    """With a clock of its own."""

    told: Lead | None = None

    async def lead(self):
        return self.told


@pytest.fixture
async def broker(clock):
    made = Noting(clock)
    made.declared = Declared(())
    return Network(made)


@pytest.fixture
async def ledger(clock):
    return Network(Timed(clock))


@pytest.fixture
async def preparation(broker, ledger, run_state, clock, events):
    return Preparation(SETTINGS, broker, ledger, run_state, clock, events.append)


async def test_start_waits_for_a_ledger_that_is_away_for_a_while(preparation, ledger, run_state):
    ledger.faults["open"] = [LedgerUnavailable("it starts")] * 3

    await preparation.open_ledger()

    assert [method for method, _ in ledger.calls] == ["open"] * 4
    assert not run_state.is_stopping


async def test_start_ends_with_the_error_of_a_ledger_that_stays_away(preparation, ledger, run_state, clock):
    began_at = clock.monotonic()
    ledger.cut["open"] = LedgerUnavailable("it is gone")

    await preparation.open_ledger()

    assert run_state.reason == "the ledger can't be used"
    assert isinstance(run_state.error, LedgerUnavailable)
    assert SETTINGS.start_wait_s <= clock.monotonic() - began_at < 2 * SETTINGS.start_wait_s


async def test_clock_that_differs_from_the_ledgers_is_reported(preparation, ledger, events):
    ledger._real.told = Lead(12.0, 0.5)

    await preparation.compare_clocks()

    assert events == [ClockDiffers(SETTINGS.ledger_url, 12.0)]


async def test_ledger_that_can_not_tell_its_time_keeps_no_start_from_going_on(preparation, ledger, run_state, events):
    ledger.cut["lead"] = LedgerUnavailable("it is gone")

    await preparation.compare_clocks()

    assert events == []
    assert not run_state.is_stopping


async def test_queues_that_were_made_and_what_is_to_be_noted_of_them_are_reported(preparation, broker, events):
    broker._real.declared = Declared(("t-dead-q",), notes=("it keeps messages for a day",))

    await preparation.declare_queues()

    assert [type(event) for event in events] == [QueuesDeclared, BrokerWarning]
    assert events[0].created == ("t-dead-q",)
    assert events[1].text == "it keeps messages for a day"


async def test_problem_of_a_queue_ends_the_start(preparation, broker, run_state, events):
    broker._real.declared = Declared((), problems=("t-dead-q is a FIFO queue",))

    await preparation.declare_queues()

    assert isinstance(run_state.error, ConfigurationError)
    assert run_state.error.problems == ("t-dead-q is a FIFO queue",)
    assert events == []


async def test_broker_that_stays_away_ends_the_start(preparation, broker, run_state):
    broker.cut["declare"] = BrokerUnavailable("nobody answers")

    await preparation.declare_queues()

    assert run_state.reason == "the broker can't be used"
