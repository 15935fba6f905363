"""What a start, `mulligan check` and `mulligan setup` do about a rejects queue that seems to be somebody else's."""

import pytest

from mulligan.brokers.base import Broker
from mulligan.core.delivery import Outgoing, Queues
from mulligan.core.error import ConfigurationError
from mulligan.core.event import BrokerWarning
from mulligan.core.message import QueueName
from mulligan.ledger.memory import MemoryLedger
from mulligan.settings.model import Settings
from mulligan.worker.supervisor.preparation import Preparation
from mulligan.worker.supervisor.run_state import RunState

THEIRS = QueueName("orders-dlq")
REFUSAL = "Queue orders-dlq: REJECTS_QUEUE names it, and its tag mulligan-prefix says that it belongs to 'till'"


@pytest.fixture
async def names(server, broker_of) -> dict[str, str]:
    """Settings that name another application's rejects queue, with a message on it, for the retries."""
    till = broker_of(server)
    await till.declare(Queues("till", QueueName("till-q"), THEIRS, QueueName("till-dead-q")), create=True)
    await till.send(THEIRS, [Outgoing(b"theirs", {})])
    return {"BROKER_URL": f"sqs://eu-west-1?endpoint={server.url}", "REJECTS_QUEUE": THEIRS, "COMMON_PREFIX": "shop"}


LET_PASS = "ADOPT_REJECTS is true, and this is let pass. " + REFUSAL


async def looked(names: dict[str, str], broker: Broker, clock, events=None, **more: bool) -> RunState:
    """The state of a run that has looked at its queues. events: gets what it reports."""
    settings = Settings(**{name.lower(): given for name, given in (names | more).items()})
    run, emit = RunState(), (lambda _: None) if events is None else events.append
    await Preparation(settings, broker, MemoryLedger(clock), run, clock, emit).declare_queues()
    return run


async def test_start_is_refused_when_the_rejects_queue_is_another_applications(names, server, broker_of, clock):
    run = await looked(names, broker_of(server), clock)

    assert isinstance(run.error, ConfigurationError)
    assert REFUSAL in str(run.error)


async def test_start_takes_and_tells_the_rejects_queue_of_another_application_when_that_is_meant(
    names, server, broker_of, clock
):
    events = []

    run = await looked(names, broker_of(server), clock, events, ADOPT_REJECTS=True)

    (told,) = [one.text for one in events if isinstance(one, BrokerWarning) and LET_PASS in one.text]
    assert "set ADOPT_REJECTS=true" not in told
    assert run.error is None
    assert not run.is_stopping


@pytest.fixture
def application(names, mulligan, monkeypatch):
    """Runs a command in an application of those settings."""
    for name, given in names.items():
        monkeypatch.setenv(f"MULLIGAN_{name}", given)
    return mulligan


@pytest.mark.parametrize("command", ["check", "setup"])
async def test_command_refuses_the_rejects_queue_of_another_application(application, command):
    code, told = await application(command)

    assert code == 2
    assert REFUSAL in told


@pytest.mark.parametrize("command", ["check", "setup"])
async def test_command_takes_and_tells_the_rejects_queue_of_another_application_when_that_is_meant(
    application, monkeypatch, command
):
    monkeypatch.setenv("MULLIGAN_ADOPT_REJECTS", "true")

    code, told = await application(command)

    assert code == 0
    assert LET_PASS in told
