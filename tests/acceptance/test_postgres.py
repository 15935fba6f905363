"""The system with its ledger in PostgreSQL, as several hosts share it."""

import os
import signal
import socket
import time
from collections import Counter

import pytest

from tests.support.black_hole import black_hole
from tests.support.postgres import running

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


@pytest.mark.parametrize("away_s", [2.0, 4.0, 7.0])
def test_an_outage_of_the_ledger_repeats_nothing_when_messages_wait_for_their_claim(app, until, server, away_s):
    """Half a lease and more: the supervisor took claims that were never made for those of somebody else."""
    app.task("all", CODE)
    app.manifest("all First", "all Second")
    app.settings |= {
        "LEDGER_URL": server.url_of(server.new_schema()), "LEASE_S": 3, "POOL_SIZE": 2, "CONCURRENCY": 10,
    }  # fmt: skip
    bodies = [f"ok-{number}" for number in range(1500)]
    app.send(bodies)

    system = app.start("--drain")
    until(lambda: app.count("First", "end") > 100, "some are done")
    server.stop(signal.SIGQUIT)
    back_at = time.monotonic() + away_s
    until(lambda: time.monotonic() > back_at, "the outage has lasted")
    server.start()

    assert system.wait() == 0, system.log()[-3000:]
    ends = Counter((one.body, one.task) for one in app.effects() if one.what == "end")
    starts = Counter((one.body, one.task) for one in app.effects() if one.what == "start")
    assert ends.keys() == {(body, task) for body in bodies for task in ("First", "Second")}
    assert sum(ends.values()) == sum(starts.values()) == len(ends)
    assert "lost its lease" not in system.log()


def test_start_waits_for_a_ledger_that_is_away_and_goes_on_once_it_is_back(app, until, server):
    app.task("all", CODE)
    app.manifest("all First")
    app.settings |= {"LEDGER_URL": server.url_of(server.new_schema()), "POOL_SIZE": 1}
    app.send(["one"])
    server.stop()

    system = app.start("--drain")
    until(lambda: "the start waits for the ledger, up to 60 s" in system.log(), "the wait is told")
    server.start()

    assert system.wait() == 0, system.log()[-3000:]
    assert [one.body for one in app.effects() if one.what == "end"] == ["one"]
    assert "the start continues" in system.log()


def test_start_ends_with_an_exit_code_of_its_own_when_it_has_waited_for_the_ledger_long_enough(app):
    app.task("all", CODE)
    app.manifest("all First")
    with black_hole("127.0.0.1") as port:
        app.settings |= {"LEDGER_URL": f"postgresql://me:s3cret@127.0.0.1:{port}/db"}

        system = app.start("--drain", START_WAIT_S=0.5)
        code = system.wait()
        checked = app.cli("check")  # it looks once, and waits for nothing

    assert code == 5, system.log()[-3000:]
    assert "the start waits for the ledger, up to 500 ms (START_WAIT_S): no answer yet" in system.log()
    assert "error: ledger postgresql://me:***@127.0.0.1" in system.log()
    assert checked.returncode == 5
    assert "problem  ledger" in checked.stdout
    assert "s3cret" not in system.log() + checked.stdout


def test_ctrl_c_ends_a_start_that_waits_for_the_ledger_at_once(app, until):
    app.task("all", CODE)
    app.manifest("all First")
    with black_hole("127.0.0.1") as port:
        system = app.start(LEDGER_URL=f"postgresql://me@127.0.0.1:{port},127.0.0.1:{port}/db")
        until(lambda: "the start waits for the ledger" in system.log(), "the wait is told")

        began_at = time.monotonic()
        system.interrupt()
        code = system.wait()

    assert code == 0, system.log()[-3000:]
    assert time.monotonic() - began_at < 3.0
    assert "Traceback" not in system.log()


def test_start_waits_for_a_broker_that_is_away_and_then_ends_with_its_exit_code(app):
    app.task("all", CODE)
    app.manifest("all First")
    with socket.socket() as bound:  # bound and not listening: nobody else can be there
        bound.bind(("127.0.0.1", 0))

        system = app.start(BROKER_URL=f"amqp://guest:guest@127.0.0.1:{bound.getsockname()[1]}/", START_WAIT_S=0.5)
        code = system.wait()

    assert code == 4, system.log()[-3000:]
    assert "the start waits for the broker" in system.log()
