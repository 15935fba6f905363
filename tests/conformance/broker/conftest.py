"""One entry of SERVICES is one implementation: add a class with the same methods, and the whole suite runs on it."""

from collections.abc import AsyncIterator

import pytest

from mulligan.brokers.base import Broker, Queues
from mulligan.brokers.memory import MemoryBroker, MemoryQueues
from mulligan.brokers.sqlite import SqliteBroker
from mulligan.core.message import QueueName

QUEUES = Queues("test", QueueName("test-requests-q"), QueueName("test-rejects-q"), QueueName("test-dead-q"))


class MemoryService:
    """is_exact: order, depth, and what happens at the edges are promised, not only likely."""

    is_exact = True
    is_durable = False

    def __init__(self, clock, folder) -> None:
        self._clock = clock
        self._queues = MemoryQueues()

    def connect(self) -> Broker:
        """A broker object of its own on the same queues: another worker."""
        return MemoryBroker(self._clock, self._queues)

    async def pass_time(self, seconds: float) -> None:
        """Let that much time go by. A service with a clock of its own waits for real."""
        self._clock.shift_s += seconds


class SqliteService:
    is_exact = True
    is_durable = True

    def __init__(self, clock, folder) -> None:
        self._clock = clock
        self._path = folder / "var" / "queue.db"

    def connect(self) -> Broker:
        return SqliteBroker(self._path, self._clock)

    async def pass_time(self, seconds: float) -> None:
        self._clock.shift_s += seconds


SERVICES = {"memory": MemoryService, "sqlite": SqliteService}


@pytest.fixture(params=list(SERVICES))
def service(request, clock, tmp_path):
    return SERVICES[request.param](clock, tmp_path)


@pytest.fixture
def queues() -> Queues:
    return QUEUES


@pytest.fixture
async def connect(service) -> AsyncIterator:
    """Makes declared brokers, and closes them at the end."""
    made: list[Broker] = []

    async def make() -> Broker:
        broker = service.connect()
        made.append(broker)
        await broker.declare(QUEUES, create=True)
        return broker

    yield make
    for broker in made:
        await broker.close()


@pytest.fixture
async def broker(connect) -> Broker:
    return await connect()


@pytest.fixture
def pass_time(service):
    return service.pass_time
