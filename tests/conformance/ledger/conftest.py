"""One entry of LEDGERS is one implementation."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mulligan.ledger.memory import MemoryLedger
from mulligan.ledger.postgres.ledger import PostgresLedger
from mulligan.ledger.postgres.schema import MIGRATIONS
from mulligan.ledger.sqlite import SqliteLedger

GOLDEN = Path(__file__).resolve().parents[2] / "golden"


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


class NewerSqliteFile(SqliteFile):
    """As a newer version of the program may have made it, for this one to use: with more columns and tables."""

    def __init__(self, clock, folder) -> None:
        super().__init__(clock, folder)
        self._path.parent.mkdir()
        shutil.copy(GOLDEN / "ledger-1.db", self._path)
        with closing(sqlite3.connect(self._path)) as connection:
            connection.executescript(
                "DELETE FROM record; ALTER TABLE record ADD COLUMN added TEXT NOT NULL DEFAULT 'x';"
                "CREATE TABLE more (a); PRAGMA user_version=1003"
            )


class PostgresSchema:
    """A schema of its own on the run's server. The suite's clock stands still, so it is taken for the server's, too."""

    is_durable = True

    def __init__(self, clock, folder, server) -> None:
        self._clock = clock
        self._url = server.url_of(server.new_schema())

    def connect(self):
        return PostgresLedger(self._url, self._clock, has_server_clock=False)


class NewerPostgresSchema(PostgresSchema):
    """As `NewerSqliteFile`."""

    def __init__(self, clock, folder, server) -> None:
        schema = server.new_schema()
        tables = ";".join(statement for step in MIGRATIONS for statement in step)
        server.sql(
            f"SET search_path TO {schema}; {tables};"
            "ALTER TABLE mulligan_record ADD COLUMN added text NOT NULL DEFAULT 'x';"
            "CREATE TABLE mulligan_more (a int);"
            "CREATE TABLE mulligan_version (version integer NOT NULL, oldest_reader integer, added text DEFAULT 'x');"
            "INSERT INTO mulligan_version VALUES (3, 1)"
        )
        self._clock = clock
        self._url = server.url_of(schema)


LEDGERS = {
    "memory": OneMemory,
    "sqlite": SqliteFile,
    "sqlite of a newer version": NewerSqliteFile,
    "postgres": PostgresSchema,
    "postgres of a newer version": NewerPostgresSchema,
}
SERVERS = {"postgres": "postgres", "postgres of a newer version": "postgres"}
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
