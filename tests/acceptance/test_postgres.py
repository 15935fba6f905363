"""The system with its ledger in PostgreSQL, as several hosts share it."""

import os
import signal
from collections import Counter

import pytest

from tests.postgres import running

CODE = """
    class First(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                await asyncio.sleep(0.02)

    class Second(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                if data.startswith("once") and context.attempt == 1:
                    raise RuntimeError("as its name says")
"""


@pytest.fixture
def server():
    with running() as server:
        yield server


def test_nothing_is_lost_when_the_server_restarts_and_workers_are_killed(app, until, server):
    app.task("all", CODE)
    app.manifest("all First", "all Second")
    app.settings |= {
        "LEDGER_URL": server.url_of(server.new_schema()), "LEASE_S": 5, "POOL_SIZE": 2, "CONCURRENCY": 4,
    }  # fmt: skip
    bodies = [f"{'once' if number % 10 == 0 else 'ok'}-{number}" for number in range(600)]
    app.send(bodies)

    system = app.start("--drain")
    until(lambda: app.count("First", "end") > 100, "a sixth is done")
    server.stop(signal.SIGQUIT)
    until(lambda: "ledger" in system.log(), "the outage is told")
    server.start()
    until(lambda: app.count("First", "end") > 300, "half is done")
    os.kill(system.workers()[0], signal.SIGKILL)

    assert system.wait() == 0, system.log()[-3000:]
    ends = Counter((one.body, one.task) for one in app.effects() if one.what == "end")
    assert ends.keys() == {(body, task) for body in bodies for task in ("First", "Second")}
    # one kill of a worker with at most 3 consumers x 4 messages x 2 tasks in flight; the outage repeats nothing
    assert sum(ends.values()) - len(ends) <= 24
    assert app.waiting("requests") == app.waiting("rejects") == app.waiting("dead") == 0
    assert "s3cret" not in system.log()
