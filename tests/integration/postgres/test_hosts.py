"""Several hosts on one ledger: their clocks, their races, their lost answers."""

import asyncio
import subprocess
import sys
import time

import pytest

from mulligan.core.error import LedgerError, LedgerUnavailable
from mulligan.core.message import TaskName, Uid
from mulligan.core.progress import DONE_AT_FIRST_TRY, Progress
from mulligan.ledger.base import Claim, Granted, Held, Record

A, B = Uid("018bcfe56801-0123456789abcdef0123"), Uid("018bcfe56802-0123456789abcdef0123")
ONE = Progress({TaskName("Jira"): DONE_AT_FIRST_TRY})
TWO = Progress({TaskName("Jira"): DONE_AT_FIRST_TRY, TaskName("Trello"): DONE_AT_FIRST_TRY})

WORKER = """
import asyncio, random, sys, time
from mulligan.core.progress import DONE_AT_FIRST_TRY, Progress
from mulligan.ledger.base import Claim, Granted, Record
from mulligan.ledger.postgres.ledger import PostgresLedger

class Clock:
    now, monotonic = staticmethod(time.time), staticmethod(time.monotonic)

async def main(url, name, seed):
    ledger, rand = PostgresLedger(url, Clock()), random.Random(seed)
    await ledger.open()
    print("ready", flush=True)
    sys.stdin.readline()
    uids = [f"018bcfe5{n:04x}-x" for n in range(600)]
    wins = 0
    while uids:
        some = [uids.pop() for _ in range(min(30, len(uids)))]
        rand.shuffle(some)
        now = time.time()
        answers = await ledger.claim([Claim(uid, 0, 0, name + uid, now + 60) for uid in some], now)
        held = [uid for uid, answer in zip(some, answers, strict=True) if isinstance(answer, Granted)]
        wins += len(held)
        tokens = [(uid, 0, name + uid) for uid in held]
        backwards = [(uid, 0, name + uid) for uid in reversed(some)]
        done = Progress({"Task": DONE_AT_FIRST_TRY})
        # what a worker and its supervisor do to the same rows at the same time, in whatever order
        _, extended, saved = await asyncio.gather(
            ledger.give_back([(uid, 0, "nobody") for uid in some]),
            ledger.extend(backwards, now + 90),
            ledger.save([Record(uid, 0, token, done) for uid, _, token in tokens]),
        )
        assert saved == [True] * len(held), saved
        assert sum(extended) == len(held)
    await ledger.close()
    print(wins, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def ask(ledger, clock, uid, token, *, for_s=60.0, hop=0):
    now = clock.now()
    (answer,) = await ledger.claim([Claim(uid, 0, hop, token, now + for_s)], now)
    return answer


async def test_claim_is_held_for_a_host_whose_clock_is_an_hour_ahead(connect, schema_url, host_clock):
    right, ahead = host_clock(), host_clock(3600.0)
    one, other = await connect(schema_url, clock=right), await connect(schema_url, clock=ahead)
    await ask(one, right, A, "first", for_s=60)

    answer = await ask(other, ahead, A, "second")

    assert isinstance(answer, Held)
    assert 50 < answer.until - ahead.now() <= 60


async def test_claim_runs_out_in_time_when_its_hosts_clock_is_an_hour_ahead(connect, schema_url, host_clock):
    right, ahead = host_clock(), host_clock(3600.0)
    one, other = await connect(schema_url, clock=right), await connect(schema_url, clock=ahead)
    await ask(other, ahead, A, "first", for_s=0.2)
    asked_at = time.monotonic()

    while isinstance(answer := await ask(one, right, A, "second"), Held):
        assert time.monotonic() - asked_at < 30, "the claim of 0.2 s does not run out"

    assert answer == Granted(Progress({}, deaths=-1))


async def test_extension_is_as_long_as_the_caller_meant_when_its_clock_is_behind(connect, schema_url, host_clock):
    right, behind = host_clock(), host_clock(-3600.0)
    one, other = await connect(schema_url, clock=right), await connect(schema_url, clock=behind)
    await ask(other, behind, A, "holder", for_s=0.01)

    assert await other.extend([(A, 0, "holder")], behind.now() + 100) == [True]

    answer = await ask(one, right, A, "second")
    assert isinstance(answer, Held)
    assert 90 < answer.until - right.now() <= 100


async def test_final_record_that_is_repeated_after_a_lost_answer_is_not_taken_for_a_lost_claim(ledger, host_clock):
    await ask(ledger, host_clock(), A, "a")
    record = Record(A, 0, "a", ONE, 1, is_final=True)
    await ledger.save([record])

    assert await ledger.save([record]) == [True]


async def test_final_record_that_says_something_else_is_refused_after_the_claim_has_ended(ledger, host_clock):
    await ask(ledger, host_clock(), A, "a")
    await ledger.save([Record(A, 0, "a", ONE, None, is_final=True)])

    assert await ledger.save([Record(A, 0, "a", TWO, None, is_final=True)]) == [False]
    assert await ask(ledger, host_clock(), A, "next") == Granted(ONE)


async def test_final_record_is_refused_when_it_is_repeated_after_somebody_else_took_over(ledger, host_clock):
    await ask(ledger, host_clock(), A, "a")
    record = Record(A, 0, "a", ONE, None, is_final=True)
    await ledger.save([record])
    await ask(ledger, host_clock(), A, "heir")

    assert await ledger.save([record]) == [False]


async def test_claim_of_a_damaged_row_names_it_and_leaves_nothing_of_its_batch_claimed(ledger, postgres, schema_url):
    schema = schema_url.rpartition("=")[2]
    now = time.time()
    await ledger.claim([Claim(A, 0, 0, "a", now + 60)], now)
    await ledger.save([Record(A, 0, "a", ONE, None, is_final=True)])
    postgres.sql(f"UPDATE {schema}.mulligan_record SET progress = '{{\"tasks\": 7' WHERE uid = '{A}'")

    with pytest.raises(LedgerError, match=A) as caught:
        await ledger.claim([Claim(B, 0, 0, "b", now + 60), Claim(A, 0, 0, "a2", now + 60)], now)

    assert not isinstance(caught.value, LedgerUnavailable)
    assert await ledger.claim([Claim(B, 0, 0, "b2", now + 60)], now) == [Granted(None)]


async def test_callers_that_come_together_are_served_by_few_commits(ledger, postgres, schema_url):
    schema = schema_url.rpartition("=")[2]
    now = time.time()

    answers = await asyncio.gather(
        *(ledger.claim([Claim(Uid(f"018bcfe5{n:04x}-x"), 0, 0, f"t{n}", now + 60)], now) for n in range(300))
    )

    assert answers == [[Granted(None)]] * 300
    commits = postgres.sql(f"SELECT count(DISTINCT xmin::text) FROM {schema}.mulligan_record")
    assert int(commits[0]) <= 3


@pytest.mark.parametrize("processes", [4])
def test_processes_that_work_on_the_same_rows_neither_block_nor_grant_one_twice(schema_url, processes):
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, schema_url, f"host{number}-", str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    for process in started:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [process.communicate(timeout=120) for process in started]

    assert [errors for _, errors in told] == [""] * processes
    assert sum(int(out) for out, _ in told) == 600


@pytest.mark.parametrize("offset_s", [3600.0, -3600.0, 0.0])
async def test_lead_tells_how_far_a_hosts_clock_is_off(connect, schema_url, host_clock, offset_s):
    ledger = await connect(schema_url, clock=host_clock(offset_s))

    found = await ledger.lead()

    assert found.ahead_s == pytest.approx(offset_s, abs=2.0)
    assert found.matters is bool(offset_s)
