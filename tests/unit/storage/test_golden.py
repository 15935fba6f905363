"""Files of earlier versions are used as they are, and left so that those versions can go on using them."""

import hashlib
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mulligan.brokers.sqlite import SqliteBroker
from mulligan.core import retry_state
from mulligan.core.delivery import Outgoing, Queues
from mulligan.core.message import QueueName, TaskName, Uid
from mulligan.core.progress import Mark, Progress, State
from mulligan.ledger.base import Claim, Granted, Record
from mulligan.ledger.sqlite import SqliteLedger

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
DIGESTS = {
    "ledger-1.db": "cc7617b7a42b2cb2e2a79aeb15b2cf05c7bfb285b979621f8fa46cb165f4d57f",
    "queue-1.db": "7fefe8e6436c816d20335c3410bcfffaf8ead6444a912a6c805e2a7a955164ba",
}
NOW = 1_700_000_100.0
UID, CLAIMED = Uid("018bcfe56800-00000000000000000001"), Uid("018bcfe56801-00000000000000000002")
PROGRESS = Progress(
    {
        TaskName("Task1"): Mark(State.DONE, 1),
        TaskName("Task2"): Mark(State.PENDING, 1, 1_700_000_030.0, "ValueError: no", 1_700_000_000.0),
    }
)
QUEUES = Queues("shop", QueueName("shop-requests"), QueueName("shop-rejects"), QueueName("shop-dead"))


class Clock:
    """Later than every golden file."""

    def now(self):
        return NOW

    def monotonic(self):
        return 1e9


@pytest.fixture
def copied(tmp_path):
    def make(name):
        return Path(shutil.copy(GOLDEN / name, tmp_path))

    return make


def looks(path):
    """What a program of layout 1 looks at when it opens the file, and the tables it has."""
    with closing(sqlite3.connect(path)) as connection:
        marks = tuple(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        return *marks, connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()


@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_golden_file_is_as_it_was_written(name):
    assert hashlib.sha256((GOLDEN / name).read_bytes()).hexdigest() == DIGESTS[name]


def test_every_golden_file_has_its_digest():
    assert sorted(path.name for path in GOLDEN.glob("*.db")) == sorted(DIGESTS)


async def test_ledger_of_layout_1_is_read_written_and_left_for_its_own_version(copied):
    path = copied("ledger-1.db")
    before = looks(path)
    ledger = SqliteLedger(path, Clock())
    await ledger.open()

    known, over = await ledger.claim([Claim(UID, 0, 1, "t3", NOW + 60), Claim(CLAIMED, 0, 0, "t4", NOW + 60)], NOW)
    kept = await ledger.save([Record(UID, 0, "t3", PROGRESS, 2, True)])
    await ledger.close()

    assert known == Granted(PROGRESS)
    assert over == Granted(Progress({}, deaths=-1))  # a claim that had run out
    assert kept == [True]
    assert looks(path) == before
    assert before[:2] == (0x4D4C474C, 1)


async def test_queue_of_layout_1_is_read_written_and_left_for_its_own_version(copied):
    path = copied("queue-1.db")
    before = looks(path)
    broker = SqliteBroker(path, Clock())

    declared = await broker.declare(QUEUES, create=True)
    (request,) = await broker.receive(QUEUES.requests, 10, wait_s=0.0, lease_s=60.0)
    (reject,) = await broker.receive(QUEUES.rejects, 10, wait_s=0.0, lease_s=60.0)
    await broker.send(QUEUES.dead, [Outgoing(b"new", {})])
    await broker.close()

    assert declared.created == ()
    assert (request.body, dict(request.attributes)) == (b"hello", {"color": "red"})
    _, told, unread = retry_state.read(reject, "shop", is_trusted=True)
    assert unread is None
    assert told is not None
    assert (told.uid, told.hop, told.progress) == (UID, 1, PROGRESS)
    assert looks(path) == before
    assert before[:2] == (0x4D4C4751, 1)


@pytest.mark.parametrize(("name", "make"), [("ledger-1.db", SqliteLedger), ("queue-1.db", SqliteBroker)])
async def test_file_that_this_version_makes_can_be_used_by_layout_1(tmp_path, name, make):
    made = make(tmp_path / "new.db", Clock())

    await (made.open() if isinstance(made, SqliteLedger) else made.declare(QUEUES, create=True))
    await made.close()

    assert looks(tmp_path / "new.db") == looks(GOLDEN / name)
