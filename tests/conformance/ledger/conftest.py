"""One entry of LEDGERS is one implementation."""

import pytest

from mulligan.ledger.memory import MemoryLedger
from mulligan.ledger.postgres.ledger import PostgresLedger
from mulligan.ledger.sqlite import SqliteLedger


class OneMemory:
    """A ledger in memory is shared as an object: its second opening is itself."""

    is_durable = False

    def __init__(self, clock, folder) -> None:
        self._ledger = MemoryLedger(clock)

    def connect(self):
        return self._ledger


class SqliteFile:
    is_durable = True

    def __init__(self, clock, folder) -> None:
        self._clock = clock
        self._path = folder / "var" / "ledger.db"

    def connect(self):
        return SqliteLedger(self._path, self._clock)


class PostgresSchema:
    """A schema of its own on the run's server. The suite's clock stands still, so it is taken for the server's, too."""

    is_durable = True

    def __init__(self, clock, folder, server) -> None:
        self._clock = clock
        self._url = server.url_of(server.new_schema())

    def connect(self):
        return PostgresLedger(self._url, self._clock, has_server_clock=False)


LEDGERS = {"memory": OneMemory, "sqlite": SqliteFile, "postgres": PostgresSchema}
SERVERS = {"postgres": "postgres"}
"""The fixture of the server that an implementation needs, which it is handed."""


class FixedClock:
    def __init__(self) -> None:
        self.at = 1_700_000_000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


@pytest.fixture
def clock():
    return FixedClock()


@pytest.fixture(params=list(LEDGERS))
def store(request, clock, tmp_path):
    servers = [request.getfixturevalue(SERVERS[request.param])] if request.param in SERVERS else []
    return LEDGERS[request.param](clock, tmp_path, *servers)


@pytest.fixture
async def connect(store):
    """Makes opened ledgers on the same record, and closes them at the end."""
    made = []

    async def make():
        ledger = store.connect()
        made.append(ledger)
        await ledger.open()
        return ledger

    yield make
    for ledger in made:
        await ledger.close()


@pytest.fixture
async def ledger(connect):
    return await connect()
