"""A server that is restarted, crashes, cuts its sessions, only reads, or is too slow."""

import asyncio
import signal
import socket
import time

import asyncpg
import pytest

from mulligan.core.error import LedgerUnavailable
from mulligan.core.message import TaskName, Uid
from mulligan.core.progress import DONE_AT_FIRST_TRY, Progress
from mulligan.ledger.base import Claim, Granted, Held, Record
from mulligan.ledger.postgres.session import Limits
from tests.support.black_hole import resolve

A, B = Uid("018bcfe56801-0123456789abcdef0123"), Uid("018bcfe56802-0123456789abcdef0123")
DONE = Progress({TaskName("Jira"): DONE_AT_FIRST_TRY})
QUICK = Limits(connect_s=1.0, call_s=1.0)


async def ask(ledger, uid, token, *, for_s=60.0):
    now = time.time()
    (answer,) = await ledger.claim([Claim(uid, 0, 0, token, now + for_s)], now)
    return answer


async def insist(action):
    """What a caller does that is told to try again."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return await action()
        except LedgerUnavailable:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["restart", "crash"])
async def test_record_survives_a_server_that_ends_and_the_ledger_goes_on_when_it_is_back(breakable, connect, number):
    ledger = await connect(breakable.url_of(breakable.new_schema()))
    await ask(ledger, A, "a")
    await ask(ledger, B, "b")
    await ledger.save([Record(A, 0, "a", DONE, 1, is_final=True)])

    breakable.stop(number)
    with pytest.raises(LedgerUnavailable, match=r"tried again|work then resumes"):
        await ask(ledger, A, "during")
    breakable.start()

    assert await insist(lambda: ask(ledger, A, "after")) is not None
    assert isinstance(await insist(lambda: ask(ledger, B, "other")), Held)
    assert await insist(lambda: ledger.save([Record(B, 0, "b", DONE)])) == [True]


async def test_session_that_the_server_cuts_is_made_again(connect, postgres):
    schema = postgres.new_schema()
    ledger = await connect(postgres.url_of(schema, f"application_name={schema}"))
    await ask(ledger, A, "a")
    await ledger.save([Record(A, 0, "a", DONE)])

    cut = postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{schema}'")

    assert len(cut) == 3  # one a kind of call: opening and changes, claims, records
    assert await insist(lambda: ledger.save([Record(A, 0, "a", DONE, None, is_final=True)])) == [True]
    assert await insist(lambda: ask(ledger, A, "next")) == Granted(DONE)
    assert await insist(lambda: ledger.extend([(A, 0, "next")], time.time() + 60)) == [True]


async def test_server_that_only_reads_is_waited_for(breakable, connect):
    ledger = await connect(breakable.url_of(breakable.new_schema()))
    await ask(ledger, A, "a")
    breakable.stop()
    breakable.start("default_transaction_read_only=on")

    with pytest.raises(LedgerUnavailable):  # the session that the stop has cut
        await ledger.save([Record(A, 0, "a", DONE)])
    with pytest.raises(LedgerUnavailable, match="read-only"):
        await ledger.save([Record(A, 0, "a", DONE)])
    breakable.stop()
    breakable.start()

    assert await insist(lambda: ledger.save([Record(A, 0, "a", DONE)])) == [True]


async def test_name_is_asked_for_again_when_the_server_turned_read_only(breakable, connect, monkeypatch):
    """The name had moved to the new primary, and every host stayed on the old one, which had become its standby."""
    asked = []
    resolve(monkeypatch, "ledger.test", "127.0.0.1")
    answer = socket.getaddrinfo

    def counted(host, *more, **others):
        asked.append(host)
        return answer(host, *more, **others)

    monkeypatch.setattr(socket, "getaddrinfo", counted)
    url = breakable.url_of(breakable.new_schema(), "sslmode=disable").replace("127.0.0.1", "ledger.test")
    ledger = await connect(url)
    await ask(ledger, A, "a")
    asked.clear()
    breakable.sql("ALTER SYSTEM SET default_transaction_read_only = on")
    breakable.sql("SELECT pg_reload_conf()")
    deadline = time.monotonic() + 30
    while True:
        try:
            await ask(ledger, A, "a")
        except LedgerUnavailable as exc:
            told = str(exc)
            break
        assert time.monotonic() < deadline, "the session does not read its settings again"

    moved_to = len(asked)
    breakable.sql("ALTER SYSTEM RESET default_transaction_read_only")
    breakable.sql("SELECT pg_reload_conf()")

    assert "25006" in told
    assert await insist(lambda: ask(ledger, B, "b")) == Granted(None)
    assert "ledger.test" in asked[moved_to:]


async def test_other_host_takes_over_when_the_first_stands_still(breakable, connect, postgres):
    schema = breakable.new_schema()
    postgres.sql(f"CREATE SCHEMA {schema}")
    await connect(postgres.url_of(schema))  # what its replica would have
    url = breakable.url_of(schema).replace(
        f"127.0.0.1:{breakable.port}", f"127.0.0.1:{breakable.port},127.0.0.1:{postgres.port}"
    )
    ledger = await connect(url, limits=Limits(connect_s=2.0, call_s=1.0))
    await ask(ledger, A, "a")

    with breakable.frozen():
        with pytest.raises(LedgerUnavailable):
            await ask(ledger, B, "b")
        began_at = time.monotonic()

        answer = await ask(ledger, B, "b")

        assert answer == Granted(None)
        assert time.monotonic() - began_at < 1.0  # the silent one is not asked first


async def test_call_ends_in_time_when_a_row_is_locked_and_its_session_stays(connect, schema_url):
    ledger = await connect(schema_url, limits=QUICK)
    await ask(ledger, A, "a")
    other = await asyncpg.connect(schema_url)
    lock = other.transaction()
    await lock.start()
    await other.execute("SELECT * FROM mulligan_record FOR UPDATE")

    with pytest.raises(LedgerUnavailable, match=r"took too long|lock was not available"):
        await ledger.save([Record(A, 0, "a", DONE)])
    assert await ask(ledger, B, "b") == Granted(None)  # other kinds of calls did not wait for it
    await lock.rollback()
    await other.close()

    assert await ledger.save([Record(A, 0, "a", DONE)]) == [True]


async def test_call_ends_in_time_when_the_server_stands_still(breakable, connect):
    ledger = await connect(breakable.url_of(breakable.new_schema()), limits=QUICK)
    await ask(ledger, A, "a")
    began_at = time.monotonic()

    with breakable.frozen(), pytest.raises(LedgerUnavailable, match="no answer in time"):
        await ledger.save([Record(A, 0, "a", DONE)])

    assert time.monotonic() - began_at < 10
    assert await insist(lambda: ledger.save([Record(A, 0, "a", DONE)])) == [True]


async def test_caller_that_is_cancelled_spoils_nothing_for_the_others(connect, schema_url):
    ledger = await connect(schema_url)
    calls = [asyncio.create_task(ask(ledger, Uid(f"018bcfe5{n:04x}-x"), f"t{n}")) for n in range(100)]
    await asyncio.sleep(0)

    for call in calls[::2]:
        call.cancel()
    done = await asyncio.gather(*calls, return_exceptions=True)

    assert done[1::2] == [Granted(None)] * 50
    assert await ask(ledger, A, "next") == Granted(None)


async def test_close_ends_while_the_server_stands_still(breakable, connect):
    ledger = await connect(breakable.url_of(breakable.new_schema()))
    await ask(ledger, A, "a")
    began_at = time.monotonic()

    with breakable.frozen():
        await ledger.close()

    assert time.monotonic() - began_at < 20
