"""One entry of SERVICES is one implementation: add a class with the same methods, and the whole suite runs on it."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from mulligan.brokers.base import Broker, Queues
from mulligan.brokers.memory import MemoryBroker, MemoryQueues
from mulligan.brokers.rabbitmq.broker import RabbitBroker
from mulligan.brokers.sqlite import SqliteBroker
from mulligan.brokers.sqs.broker import SqsBroker
from mulligan.core.message import QueueName
from mulligan.servers.sqs.server import Server, serve
from tests.conformance.broker.via_boto3 import BrokerViaBoto3

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
QUEUES = Queues("test", QueueName("test-requests-q"), QueueName("test-rejects-q"), QueueName("test-dead-q"))


class LocalService:
    """A service that needs no starting and takes everything.

    is_exact: order, depth, and what happens at the edges are promised, not only likely.
    is_text: it carries text that is not empty, and nothing else; of attributes bytes too.
    type_bytes: what it counts for the type of a text attribute.
    key: the access key, where there is one; its secret is the same.
    has_own_clock: time passes there for real only.
    """

    is_exact = True
    has_own_clock = False
    is_text = False
    type_bytes = 0
    key = "mulligan"

    async def start(self) -> None:
        """Before the first `connect`."""

    async def stop(self) -> None:
        """After the last broker is closed."""


class MemoryService(LocalService):
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


class SqliteService(LocalService):
    is_durable = True

    def __init__(self, clock, folder) -> None:
        self._clock = clock
        self._path = folder / "var" / "queue.db"

    def connect(self) -> Broker:
        return SqliteBroker(self._path, self._clock)

    async def pass_time(self, seconds: float) -> None:
        self._clock.shift_s += seconds


class NewerSqliteService(SqliteService):
    """A file as a newer version of the program may have made it, for this one to use: with more columns and tables."""

    def __init__(self, clock, folder) -> None:
        super().__init__(clock, folder)
        self._path.parent.mkdir()
        shutil.copy(GOLDEN / "queue-1.db", self._path)
        with closing(sqlite3.connect(self._path)) as connection:
            tables = ("anchor", "queue", "message", "content")
            added = ";".join(f"ALTER TABLE {name} ADD COLUMN added TEXT NOT NULL DEFAULT 'x'" for name in tables)
            emptied = ";".join(f"DELETE FROM {name}" for name in tables)
            connection.executescript(f"{added};{emptied};CREATE TABLE more (a); PRAGMA user_version=1003")


class SqsService(LocalService):
    """The adapter on the project's own server, in the same loop and on the same clock."""

    is_exact = False
    is_durable = True
    is_text = True
    type_bytes = len("String")

    def __init__(self, clock, folder) -> None:
        self._clock = clock
        self._server: Server | None = None

    async def start(self) -> None:
        self._server = await serve(clock=self._clock)

    async def stop(self) -> None:
        await self._server.close()

    def connect(self) -> Broker:
        url = f"sqs://eu-west-1?endpoint={self._server.url}"
        return SqsBroker(url, clock=self._clock, emit=lambda event: None)

    async def pass_time(self, seconds: float) -> None:
        self._clock.shift_s += seconds


class SqsServerService(SqsService):
    """The project's own server, as AWS's client sees it."""

    def connect(self) -> Broker:
        return BrokerViaBoto3(self._server.url, self.key)


class LocalemuService(SqsService):
    """The adapter on an SQS server of other people's, which has no clock but the real one."""

    has_own_clock = True

    def __init__(self, clock, folder, localemu) -> None:
        self._url = localemu.url
        self._clock = clock
        self.key = localemu.new_account()

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def connect(self) -> Broker:
        return SqsBroker(f"sqs://eu-west-1?endpoint={self._url}", clock=self._clock, emit=lambda event: None)

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds + 0.2)  # it looks ten times a second what has come due


class RabbitService(LocalService):
    """The adapter on a real RabbitMQ, on a virtual host of its own. It has no clock but the real one."""

    is_exact = False
    is_durable = True
    has_own_clock = True

    def __init__(self, clock, folder, rabbitmq) -> None:
        self._clock = clock
        self._url = rabbitmq.url(rabbitmq.new_vhost())

    def connect(self) -> Broker:
        return RabbitBroker(self._url, clock=self._clock, emit=lambda event: None)

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


SERVICES = {
    "memory": MemoryService,
    "sqlite": SqliteService,
    "sqlite of a newer version": NewerSqliteService,
    "sqs": SqsService,
    "sqs server by boto3": SqsServerService,
    "localemu": LocalemuService,
    "rabbitmq": RabbitService,
}


@pytest.fixture(params=list(SERVICES))
async def service(request, clock, tmp_path, monkeypatch):
    kind = SERVICES[request.param]
    more = [request.getfixturevalue("localemu")] if issubclass(kind, LocalemuService) else []
    more += [request.getfixturevalue("rabbitmq")] if issubclass(kind, RabbitService) else []
    made = kind(clock, tmp_path, *more)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", made.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", made.key)
    await made.start()
    yield made
    await made.stop()


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
