"""Applications, servers and brokers of the acceptance tests; whatever a test started is ended with it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.harness.app import App, System, until
from tests.acceptance.harness.sqs import SqsProgram, start_server
from tests.fakes import all as stand_ins
from tests.soak.broker import RabbitBroker, SqliteBroker, SqsBroker


@pytest.fixture
def make_app(tmp_path: Path) -> Iterator[Callable[[str], App]]:
    """Makes applications; whatever they started is ended with the test."""
    systems: list[System] = []
    yield lambda name: App(tmp_path / name, systems)
    for system in systems:
        system.end()


@pytest.fixture
def app(make_app: Callable[[str], App]) -> App:
    """An application without a task."""
    return make_app("app").lay_out()


@pytest.fixture
def samples(make_app: Callable[[str], App]) -> App:
    """The repository's own application."""
    return make_app("app").lay_out_samples()


@pytest.fixture
def services() -> Iterator[stand_ins.All]:
    """Stand-ins of Jira, Trello, Slack and the others."""
    with stand_ins.running() as found:
        yield found


@pytest.fixture
def whole(samples: App, services: stand_ins.All) -> App:
    """The repository's own application, with the stand-ins in place of what its tasks talk to."""
    samples.environment |= services.environment
    return samples


@pytest.fixture
def start_sqs() -> Iterator[Callable[..., SqsProgram]]:
    """Starts SQS servers; those that run are ended with the test."""
    servers: list[SqsProgram] = []

    def start(*options: str, **more: Any) -> SqsProgram:
        server = start_server(*options, **more)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.end()


@pytest.fixture
def sqs(start_sqs: Callable[..., SqsProgram]) -> SqsProgram:
    """The project's SQS server, with queues in memory, as a process of its own."""
    return start_sqs()


@pytest.fixture(params=["sqlite", "sqs", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> SqliteBroker:
    """Each of the brokers in turn; `point` lets an application use it."""
    match request.param:
        case "sqs":
            return SqsBroker(request.getfixturevalue("sqs"), shutdown_s=6)
        case "rabbitmq":
            return RabbitBroker(request.getfixturevalue("rabbitmq"))
    return SqliteBroker()


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Any]:
    """`until(condition, what)` waits for a condition, up to a deadline."""
    return until


@pytest.fixture(scope="session")
def app_class() -> type[App]:
    """For fixtures that share started applications between tests; whoever makes one ends its systems."""
    return App
