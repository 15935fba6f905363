"""Ledgers on a real PostgreSQL server."""

import time

import pytest

from mulligan.ledger.postgres.ledger import PostgresLedger
from tests.support.postgres import Server, running


class HostClock:
    """The clock of one host, which may be wrong."""

    def __init__(self, is_off_by_s: float = 0.0) -> None:
        self.is_off_by_s = is_off_by_s

    def now(self) -> float:
        return time.time() + self.is_off_by_s

    def monotonic(self) -> float:
        return time.monotonic()


@pytest.fixture
def host_clock():
    return HostClock


@pytest.fixture(scope="module")
def breakable():
    """A server for tests that stop it or change its ways; each leaves it running as it found it."""
    with running() as server:
        yield server


@pytest.fixture
async def connect():
    """Makes opened ledgers, and closes them at the end."""
    made = []

    async def make(url: str, *, clock=None, **more) -> PostgresLedger:
        ledger = PostgresLedger(url, clock or HostClock(), **more)
        made.append(ledger)
        await ledger.open()
        return ledger

    yield make
    for ledger in made:
        await ledger.close()


@pytest.fixture
def schema_url(postgres: Server) -> str:
    return postgres.url_of(postgres.new_schema())


@pytest.fixture
async def ledger(connect, schema_url):
    return await connect(schema_url)
