"""A virtual host a test on the run's RabbitMQ server, and brokers on it."""

import time
from collections.abc import AsyncIterator, Callable

import pytest

from mulligan.brokers.rabbitmq.broker import RabbitBroker
from mulligan.core.delivery import Queues
from mulligan.core.event import Event
from mulligan.core.message import QueueName

QUEUES = Queues(
    "msgparser",
    QueueName("msgparser-requests-q"),
    QueueName("msgparser-rejects-q"),
    QueueName("msgparser-dead-q"),
)


class RealClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


@pytest.fixture
def queues() -> Queues:
    return QUEUES


@pytest.fixture
def vhost(rabbitmq) -> str:
    return rabbitmq.new_vhost()


@pytest.fixture
def url(rabbitmq, vhost) -> str:
    return rabbitmq.url(vhost)


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
async def make(url, events) -> AsyncIterator[Callable[..., RabbitBroker]]:
    """Makes brokers that are not declared; at `address`, else on the test's virtual host."""
    made: list[RabbitBroker] = []

    def build(address: str = url) -> RabbitBroker:
        made.append(RabbitBroker(address, clock=RealClock(), emit=events.append))
        return made[-1]

    yield build
    for broker in made:
        await broker.close()


@pytest.fixture
async def broker(make) -> RabbitBroker:
    made = make()
    await made.declare(QUEUES, create=True)
    return made
