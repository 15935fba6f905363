"""A row of the ledger that can't be read: its message waits, and is told of where the row is."""

import sqlite3
import sys
from contextlib import closing

import pytest

UID = "018bcfe56800-0b090fd81c3e1612c0f0"
PUT = """
import asyncio, sys
from pathlib import Path
from mulligan.brokers.open import open_broker
from mulligan.clock import SystemClock
from mulligan.core import retry_state
from mulligan.core.delivery import Outgoing
from mulligan.settings.model import Settings

async def main():
    settings = Settings()
    clock = SystemClock()
    broker = open_broker(settings.broker_url, clock=clock, emit=print, base_dir=Path.cwd())
    await broker.declare(settings.queues, create=True)
    if sys.argv[1] == "rejects":
        state = '{"v":1,"uid":"UID","gen":0,"hop":1,"seen":1700000000.0,"tasks":{"Work":["p",1]}}'
        await broker.send(settings.queues.rejects, [Outgoing(b"again", {"mulligan": state})])
        print("UID")
    else:
        await broker.send(settings.queues.requests, [Outgoing(b"again", {})])
        (one,) = await broker.receive(settings.queues.requests, 1, wait_s=0.0, lease_s=30.0)
        print(retry_state.read(one, settings.queues.prefix, is_trusted=False)[0].uid)
        await broker.release(settings.queues.requests, [(one.receipt, 0.0)])
    await broker.close()

asyncio.run(main())
""".replace("UID", UID)


@pytest.fixture
def work(app):
    app.task(
        "work",
        """
        class Work(Task):
            def run(self, data, context: TaskContext):
                with effect(data, context):
                    pass
    """,
    )
    app.manifest("work Work")
    return app


@pytest.mark.parametrize("queue", ["requests", "rejects"])
def test_drain_ends_with_code_3_and_names_the_row_when_the_ledger_has_a_damaged_one(work, queue):
    """It went on for ever: the message came back every minute, and counted as one that is worked on."""
    assert work.drain().popen.returncode == 0
    uid = work.run(sys.executable, "-c", PUT, queue).stdout.strip()
    with closing(sqlite3.connect(work.folder / "var/ledger.db")) as ledger, ledger:
        ledger.execute("INSERT INTO record VALUES (?, 0, 0, NULL, NULL, '{damaged', 0, 2e9)", (uid,))
    work.publish("mine")

    system = work.start("--drain")

    assert system.wait() == 3
    assert [effect.body for effect in work.effects("Work", "end")] == ["mine"]
    log = system.log()
    assert f"the row of message {uid}, generation 0, can't be read" in log
    assert f"{work.folder}/var/ledger.db" in log
    assert "1 whose row in the ledger can't be read" in log
    assert "mulligan peek" not in log
    assert "at the broker" not in log
    assert work.left()[queue] == 1
