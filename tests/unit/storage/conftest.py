import pytest

from mulligan.core.error import BrokerRefused, BrokerUnavailable
from mulligan.storage.fault import ErrorTypes
from mulligan.storage.schema import Schema
from mulligan.storage.sqlite import Database

LAYOUT = Schema("test database", 0x54455354, (("CREATE TABLE item (name TEXT PRIMARY KEY, body BLOB)",),))


@pytest.fixture
def layout():
    return LAYOUT


@pytest.fixture
def path(tmp_path):
    return tmp_path / "var" / "test.db"


@pytest.fixture
async def make(path):
    """Makes databases, not open yet, on one file; closes them at the end."""
    made = []

    def _make(layout=LAYOUT, at=path, **options):
        made.append(Database(at, layout, ErrorTypes(BrokerUnavailable, BrokerRefused), **options))
        return made[-1]

    yield _make
    for database in made:
        await database.close()


@pytest.fixture
async def database(make):
    database = make()
    await database.open()
    return database


@pytest.fixture
async def quick(make):
    """A database whose quick jobs the event loop commits itself."""
    database = make(has_shortcut=True)
    await database.open()
    return database
