"""A host that is gone with all its processes: what it had in flight is taken over by those that are left."""

import signal
import time
from collections import Counter

import pytest

from tests.acceptance.harness.figure import figure
from tests.proof.size import IS_FULL
from tests.support.postgres import running

LEASE_S = 6
IN_FLIGHT = 600 if IS_FULL else 300
TAKES_S = 3.0

CODE = f"""
    class Slow(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                await asyncio.sleep({TAKES_S})
"""


@pytest.fixture
def hosts(app, sqs):
    """One application, started twice as on two hosts: one SQS server, one ledger in PostgreSQL."""
    app.task("work", CODE)
    app.manifest("work Slow")
    sqs.point(app)
    with running() as ledger:
        app.settings |= {
            "LEDGER_URL": ledger.url_of(ledger.new_schema()), "LEASE_S": LEASE_S, "POOL_SIZE": 4, "LOG_LEVEL": "INFO",
            "NO_OF_REQUESTS_CONSUMERS": 4, "NO_OF_REJECTS_CONSUMERS": 4, "CONCURRENCY": IN_FLIGHT // 4,
        }  # fmt: skip
        yield app


@pytest.mark.figure
@pytest.mark.alone
@pytest.mark.timeout(300)
def test_work_of_a_dead_host_is_taken_over_in_twice_the_time_that_it_takes_at_first(hosts, until):
    """300 attempts of 3 s took the four workers that were left more than six minutes: one at a time, alone."""
    first, second = ([f"{name}{number}" for number in range(IN_FLIGHT)] for name in ("a", "b"))
    hosts.send(first)
    dead = hosts.start().until_up()
    until(lambda: hosts.count("Slow", "end") == IN_FLIGHT, "the same work is done as long as nothing goes wrong")
    ends = hosts.effects("Slow")
    usual_s = ends[-1].at - ends[0].at
    hosts.send(second)
    until(lambda: hosts.count("Slow", "start") == 2 * IN_FLIGHT, "all is in flight on one host")
    left = hosts.start().until_up()

    dead.signal_all(signal.SIGKILL)
    died_at = time.monotonic()
    until(lambda: hosts.count("Slow", "end") >= 2 * IN_FLIGHT, "all has ended on the other one")

    begun_at = min(one.at for one in hosts.effects("Slow", "start") if one.at > died_at)
    took_s = hosts.effects("Slow", "end")[-1].at - begun_at
    assert {one.body for one in hosts.effects("Slow", "end")} == {*first, *second}
    assert max(Counter(one.body for one in hosts.effects("Slow", "start")).values()) == 2
    assert "run in isolation" not in left.log()
    assert begun_at < died_at + LEASE_S + 6  # what the promise says in 2 s
    assert took_s < 2 * usual_s
    figure(
        "G5", "sqs",
        f"a host was gone with {IN_FLIGHT} attempts of {TAKES_S:g} s in flight, lease of {LEASE_S} s: the four workers"
        f" left began {begun_at - died_at:.1f} s later and had ended all {took_s:.1f} s after that; the same work takes"
        f" {usual_s:.1f} s at first",
    )  # fmt: skip
