"""Servers that tests of several folders share, started by the first test that asks for them."""

from collections.abc import Iterator

import pytest

from tests import localemu as outside
from tests import rabbitmq as rabbit
from tests.localemu import Localemu
from tests.postgres import Server, running
from tests.rabbitmq import RabbitServer


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server for the whole run. A test makes a schema of its own in it, and leaves the server alone."""
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def localemu() -> Iterator[Localemu]:
    """An SQS server of other people's, for the whole run. A test takes an account of its own."""
    with outside.running() as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitServer]:
    """A RabbitMQ server for the whole run. A test takes a virtual host of its own, and leaves the server alone."""
    with rabbit.running() as server:
        yield server
