"""The broker on the project's own strict SQS server, in the same loop, with a clock that a test can push forward."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mulligan.brokers.sqs.broker import SqsBroker
from mulligan.brokers.sqs.credentials import Source
from mulligan.brokers.sqs.environment import Address, EndpointConfig
from mulligan.brokers.sqs.http import Endpoint
from mulligan.brokers.sqs.sign import Keys
from mulligan.cli.app import main
from mulligan.core.delivery import Queues
from mulligan.core.message import QueueName
from mulligan.servers.sqs.faults.script import Rule, Script
from mulligan.servers.sqs.server import Server, serve

REGION = "eu-west-1"
KEYS = Keys("mulligan", "mulligan")


class ShiftedClock:
    """Real time that a test can push forward."""

    def __init__(self) -> None:
        self.shift_s = 0.0

    def now(self) -> float:
        return time.time() + self.shift_s

    def monotonic(self) -> float:
        return time.monotonic() + self.shift_s


class FixedKeys:
    """Fills `Source`; the next ones when they are searched with force."""

    def __init__(self, *keys: Keys) -> None:
        self._keys = list(keys)

    def load(self, *, force: bool) -> tuple[Keys, bool]:
        if force and len(self._keys) > 1:
            self._keys.pop(0)
        return self._keys[0], False


@pytest.fixture
def clock() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
async def start(clock) -> AsyncIterator[Any]:
    """Start a server: `await start(keys=..., ...)`, as `servers.sqs.server.serve`."""
    servers: list[Server] = []

    async def make(**more: Any) -> Server:
        server = await serve(clock=clock, **more)
        servers.append(server)
        return server

    yield make
    for server in servers:
        await server.close()


@pytest.fixture
async def server(start) -> Server:
    return await start()


@pytest.fixture
def events() -> list[Any]:
    """What brokers emitted."""
    return []


@pytest.fixture
async def broker_of(clock, events) -> AsyncIterator[Any]:
    """Makes brokers: `broker_of(server, keys...)`. Waits between tries are 0 s long. source: of keys, for a config.

    more: of the URL. config: another way to the server.
    """
    brokers: list[SqsBroker] = []

    def make(server: Server, *keys: Keys, clock=clock, source=None, config=None, more="") -> SqsBroker:
        def find(address: Address) -> tuple[EndpointConfig, Source]:
            found = config or EndpointConfig(REGION, server.url, Endpoint(server.host, server.port, False))
            return found, FixedKeys(*(keys or (KEYS,))) if source is None else source(found)

        url = f"sqs://{REGION}?endpoint={server.url}{more}"
        broker = SqsBroker(url, clock=clock, emit=events.append, rand=lambda: 0.0, find=find)
        brokers.append(broker)
        return broker

    yield make
    for broker in brokers:
        await broker.close()


@pytest.fixture
def queues() -> Queues:
    return Queues("app", QueueName("app-requests-q"), QueueName("app-rejects-q"), QueueName("app-dead-q"))


@pytest.fixture
def fifo_queues() -> Queues:
    return Queues("app", QueueName("app-requests.fifo"), QueueName("app-rejects.fifo"), QueueName("app-dead.fifo"))


@pytest.fixture
async def broker(server, broker_of, queues) -> SqsBroker:
    """On fresh queues."""
    made = broker_of(server)
    await made.declare(queues, create=True)
    return made


@pytest.fixture
async def fifo(server, broker_of, fifo_queues) -> SqsBroker:
    made = broker_of(server)
    await made.declare(fifo_queues, create=True)
    return made


@pytest.fixture
def play(server) -> Any:
    """Let the server do wrong: `play(action, fault, times=..., calls=..., chance=...)`."""

    def start(action: str, fault: Any, **when: Any) -> None:
        server.faults.play(Script(rules=(Rule(fault=fault, action=action, **when),), seed=7))

    return start


@pytest.fixture
def mulligan(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Awaitable[tuple[int, str]]]:
    """Runs a command in an application with one task on that server: exit code, and what it printed."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "one.py").write_text(
        "from mulligan import Task\n\n\nclass One(Task):\n    async def run(self, data: str) -> None: ...\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MULLIGAN_BROKER_URL", f"sqs://{REGION}?endpoint={server.url}")

    async def ran(*arguments: str) -> tuple[int, str]:
        code = await asyncio.to_thread(main, arguments)  # the server lives in this loop
        return code, "".join(capsys.readouterr())

    return ran
