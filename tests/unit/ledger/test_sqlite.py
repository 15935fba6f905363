import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import mulligan
from mulligan.brokers.sqlite import SqliteBroker
from mulligan.core.error import ConfigurationError, LedgerError, LedgerUnavailable
from mulligan.core.message import TaskName, Uid
from mulligan.core.progress import DONE_AT_FIRST_TRY, Progress
from mulligan.ledger.base import Claim, Granted, Record
from mulligan.ledger.sqlite import SqliteLedger

NOW = 1_700_000_000.0
A, B = Uid("018bcfe56801-0123456789abcdef0123"), Uid("018bcfe56802-0123456789abcdef0123")
DONE = Progress({TaskName("Jira"): DONE_AT_FIRST_TRY})

RACE = """
import asyncio, sys
from pathlib import Path
from mulligan.ledger.base import Claim, Granted
from mulligan.ledger.sqlite import SqliteLedger

class Clock:
    now = monotonic = staticmethod(lambda: 1_700_000_000.0)

async def main():
    ledger = SqliteLedger(Path(sys.argv[1]), Clock())
    await ledger.open()
    print("ready", flush=True)
    sys.stdin.readline()
    granted = []
    for start in range(0, 1000, 20):
        numbers = range(start, start + 20)
        claims = [Claim(f"018bcfe5{n:04x}-x", 0, 0, f"{sys.argv[2]}-{n}", 1_700_000_060.0) for n in numbers]
        answers = await ledger.claim(claims, 1_700_000_000.0)
        granted += [str(start + k) for k, answer in enumerate(answers) if isinstance(answer, Granted)]
    await ledger.close()
    print(" ".join(granted), flush=True)
asyncio.run(main())
"""


class Clock:
    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return NOW


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


@pytest.fixture
async def ledger(path):
    ledger = SqliteLedger(path, Clock())
    await ledger.open()
    yield ledger
    await ledger.close()


def test_two_processes_that_claim_the_same_messages_are_each_granted_other_ones(path):
    env = {**os.environ, "PYTHONPATH": str(Path(mulligan.__file__).parents[1])}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )
        for name in ("one", "two")
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    granted = [process.communicate(timeout=60)[0].split() for process in processes]

    assert sorted(map(int, granted[0] + granted[1])) == list(range(1000))


async def test_claim_of_a_damaged_row_names_it_and_claims_nothing_of_its_batch(ledger, path):
    await ledger.claim([Claim(A, 0, 0, "a", NOW + 60)], NOW)
    await ledger.save([Record(A, 0, "a", DONE, None, is_final=True)])
    connection = sqlite3.connect(path)
    connection.execute("UPDATE record SET progress = '{\"tasks\": 7' WHERE uid = ?", (A,))
    connection.commit()
    connection.close()

    with pytest.raises(LedgerError, match=A) as caught:
        await ledger.claim([Claim(B, 0, 0, "b", NOW + 60), Claim(A, 0, 0, "a2", NOW + 60)], NOW)

    assert not isinstance(caught.value, LedgerUnavailable)
    assert await ledger.claim([Claim(B, 0, 0, "b2", NOW + 60)], NOW) == [Granted(None)]


async def test_queue_database_is_refused_as_a_ledger_and_the_other_way_round(ledger, path, tmp_path):
    from mulligan.brokers.base import Queues

    queues = Queues("t", "requests", "rejects", "dead")
    broker = SqliteBroker(tmp_path / "queue.db", Clock())
    await broker.declare(queues, create=True)
    wrong_broker, wrong_ledger = SqliteBroker(path, Clock()), SqliteLedger(tmp_path / "queue.db", Clock())

    with pytest.raises(ConfigurationError, match="is not a queue database"):
        await wrong_broker.declare(queues, create=True)
    with pytest.raises(ConfigurationError, match="is not a ledger database"):
        await wrong_ledger.open()
    await broker.close()


async def limit(ledger, pages):
    """The end of the disk, for both connections."""
    for is_quick in (False, True):
        await ledger._database.run(
            lambda c: c.execute(f"PRAGMA max_page_count={pages}").fetchone(), is_synced=False, is_quick=is_quick
        )


async def test_disk_that_is_full_makes_the_ledger_unavailable_until_there_is_room(ledger):
    await limit(ledger, 1)
    claims = [Claim(Uid(f"018bcfe5{n:04x}-{'x' * 100}"), 0, 0, "t" * 100, NOW + 60) for n in range(1000)]
    with pytest.raises(LedgerUnavailable, match="disk is full"):
        await ledger.claim(claims, NOW)

    await limit(ledger, 100_000)

    assert await ledger.claim(claims, NOW) == [Granted(None)] * 1000
