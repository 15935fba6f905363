"""Opening: making the tables, and what is told when they can't be used."""

import asyncio
import socket
import time

import pytest

from mulligan.core.error import ConfigurationError, LedgerError, LedgerUnavailable
from mulligan.core.message import TaskName, Uid
from mulligan.core.progress import Mark, Progress, State
from mulligan.ledger.base import Claim, Granted, Record
from mulligan.ledger.postgres import schema as tables
from mulligan.ledger.postgres.ledger import PostgresLedger
from mulligan.ledger.postgres.session import Limits
from tests.support.black_hole import black_hole, resolve
from tests.support.postgres import QUOTED


async def refused(connect, url: str) -> str:
    """The text of the refusal; never with the password in it."""
    with pytest.raises(ConfigurationError) as caught:
        await connect(url)
    assert QUOTED not in str(caught.value)
    assert "s3cret" not in str(caught.value)
    return str(caught.value)


async def test_tables_are_made_once_when_many_processes_open_an_empty_schema_at_once(connect, postgres):
    schema = postgres.new_schema()

    ledgers = await asyncio.gather(*(connect(postgres.url_of(schema)) for _ in range(8)))
    answers = await asyncio.gather(
        *(one.claim([Claim(Uid("018bcfe56801-x"), 0, 0, f"t{n}", 60.0)], 0.0) for n, one in enumerate(ledgers))
    )

    assert sum(answer == [Granted(None)] for answer in answers) == 1
    assert postgres.sql(f"SELECT count(*), max(version) FROM {schema}.mulligan_version") == ["1|1"]


async def test_tables_of_a_newer_version_are_refused(connect, postgres):
    schema = postgres.new_schema()
    await connect(postgres.url_of(schema))
    postgres.sql(f"UPDATE {schema}.mulligan_version SET version = 99, oldest_reader = NULL")

    assert "its tables have version 99" in await refused(connect, postgres.url_of(schema))


def a_newer_version(postgres, schema: str, version: int, oldest_reader: int) -> None:
    """What it does with the tables: more of them, columns with defaults, and its two numbers."""
    postgres.sql(
        f"ALTER TABLE {schema}.mulligan_record ADD COLUMN added text NOT NULL DEFAULT 'x';"
        f"CREATE TABLE {schema}.mulligan_more (a integer);"
        f"DELETE FROM {schema}.mulligan_version;"
        f"INSERT INTO {schema}.mulligan_version (version, oldest_reader) VALUES ({version}, {oldest_reader})"
    )


async def test_tables_of_a_newer_version_are_used_when_this_one_is_among_their_readers(connect, postgres):
    """A process that restarted while a newer version was rolled out could not come up."""
    schema = postgres.new_schema()
    await connect(postgres.url_of(schema))
    a_newer_version(postgres, schema, 3, 1)
    claim = Claim(Uid("018bcfe56801-x"), 0, 0, "t", 60.0)

    ledger = await connect(postgres.url_of(schema))
    first = await ledger.claim([claim], 0.0)
    kept = await ledger.save([Record(claim.uid, 0, "t", Progress({TaskName("Task1"): Mark(State.DONE, 1)}), 1, True)])

    assert (first, kept) == ([Granted(None)], [True])
    assert postgres.sql(f"SELECT version, oldest_reader FROM {schema}.mulligan_version") == ["3|1"]


async def test_tables_of_a_newer_version_are_refused_when_this_one_is_too_old_for_them(connect, postgres):
    schema = postgres.new_schema()
    await connect(postgres.url_of(schema))
    a_newer_version(postgres, schema, 3, 2)

    told = await refused(connect, postgres.url_of(schema))

    assert "its tables have version 3 for programs that know 2 or later, this mulligan knows up to 1" in told
    assert "Use the newer mulligan that made them" in told


async def test_tables_of_before_the_oldest_reader_are_used_as_they_are(connect, postgres):
    """By a role that may change no table."""
    schema = postgres.new_schema()
    await connect(postgres.url_of(schema))
    postgres.sql(
        f"DROP TABLE {schema}.mulligan_version; CREATE TABLE {schema}.mulligan_version (version integer NOT NULL);"
        f"INSERT INTO {schema}.mulligan_version VALUES (1)"
    )

    ledger = await connect(postgres.url_of(schema))

    assert await ledger.claim([Claim(Uid("018bcfe56801-x"), 0, 0, "t", 60.0)], 0.0) == [Granted(None)]
    columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'mulligan_version'"
    assert postgres.sql(f"{columns} AND table_schema = '{schema}'") == ["1"]


async def test_tables_of_before_the_oldest_reader_get_it_with_their_next_version(connect, postgres, monkeypatch):
    schema = postgres.new_schema()
    await connect(postgres.url_of(schema))
    postgres.sql(
        f"DROP TABLE {schema}.mulligan_version; CREATE TABLE {schema}.mulligan_version (version integer NOT NULL);"
        f"INSERT INTO {schema}.mulligan_version VALUES (1)"
    )
    step = ("ALTER TABLE mulligan_record ADD COLUMN added text NOT NULL DEFAULT 'x'",)
    old = tables.MIGRATIONS
    monkeypatch.setattr(tables, "MIGRATIONS", (*old, step))

    await asyncio.gather(*(connect(postgres.url_of(schema)) for _ in range(4)))
    monkeypatch.setattr(tables, "MIGRATIONS", old)
    ledger = await connect(postgres.url_of(schema))

    assert postgres.sql(f"SELECT version, oldest_reader FROM {schema}.mulligan_version") == ["2|1"]
    assert await ledger.claim([Claim(Uid("018bcfe56801-x"), 0, 0, "t", 60.0)], 0.0) == [Granted(None)]


async def test_numbers_of_a_newer_version_stay_when_it_was_first_at_the_lock(connect, postgres):
    schema = postgres.new_schema()
    ledger = await connect(postgres.url_of(schema))
    a_newer_version(postgres, schema, 3, 1)

    await ledger._changing.run(tables._migrate)  # that had looked before

    assert postgres.sql(f"SELECT version, oldest_reader FROM {schema}.mulligan_version") == ["3|1"]


async def test_wrong_password_is_refused_without_showing_it(connect, postgres):
    told = await refused(connect, postgres.url.replace(QUOTED, "s3cret-but-wrong"))

    assert "28P01" in told
    assert "Correct the user and password" in told


async def test_database_that_is_not_there_is_refused(connect, postgres):
    assert "Create the database" in await refused(connect, postgres.url.replace("/postgres", "/nowhere"))


async def test_schema_in_which_nothing_may_be_made_is_refused(connect, postgres):
    schema = postgres.new_schema()
    postgres.sql(f"CREATE ROLE {schema} LOGIN PASSWORD 'weak'")

    told = await refused(connect, postgres.url_of(schema).replace(f"tester:{QUOTED}", f"{schema}:weak"))

    assert "42501" in told or "3F000" in told
    assert "search_path" in told


async def test_unknown_parameter_is_refused(connect, postgres):
    assert "42704" in await refused(connect, f"{postgres.url}?sllmode=require")


async def test_server_without_tls_is_refused_when_tls_is_asked_for(connect, postgres):
    assert "offers no TLS" in await refused(connect, f"{postgres.url}?sslmode=verify-full")


async def test_host_that_is_not_known_is_refused(connect):
    assert "no such host" in await refused(connect, "postgresql://me:s3cret@nowhere.invalid/db")


async def test_server_that_can_not_be_reached_is_unavailable(connect):
    with socket.socket() as bound:  # bound and not listening: nobody else can be there
        bound.bind(("127.0.0.1", 0))

        with pytest.raises(LedgerUnavailable, match="Check that the server runs"):
            await connect(f"postgresql://me:s3cret@127.0.0.1:{bound.getsockname()[1]}/db")


async def test_second_address_of_a_host_is_taken_when_the_first_swallows_connections(monkeypatch, connect, postgres):
    resolve(monkeypatch, "ledger.test", "127.0.0.2", "127.0.0.1")
    url = postgres.url_of(postgres.new_schema(), "sslmode=disable").replace("127.0.0.1", "ledger.test")

    with black_hole("127.0.0.2", postgres.port):
        ledger = await connect(url)
    answer = await ledger.claim([Claim(Uid("018bcfe56801-x"), 0, 0, "t", 60.0)], 0.0)

    assert answer == [Granted(None)]


async def test_second_host_is_taken_when_the_first_swallows_connections(connect, postgres):
    url = postgres.url_of(postgres.new_schema(), "sslmode=disable")
    url = url.replace(f"127.0.0.1:{postgres.port}", f"127.0.0.2:{postgres.port},127.0.0.1:{postgres.port}")

    with black_hole("127.0.0.2", postgres.port):
        ledger = await connect(url, limits=Limits(connect_s=4.0))
    answer = await ledger.claim([Claim(Uid("018bcfe56801-x"), 0, 0, "t", 60.0)], 0.0)

    assert answer == [Granted(None)]


async def test_second_host_is_taken_when_the_first_takes_connections_and_says_nothing(connect, postgres):
    """A host that is frozen, or a relay whose server is gone: the first took all of the time, at each try."""
    url = postgres.url_of(postgres.new_schema(), "sslmode=disable")
    url = url.replace(f"127.0.0.1:{postgres.port}", f"127.0.0.2:{postgres.port},127.0.0.1:{postgres.port}")

    with socket.create_server(("127.0.0.2", postgres.port), backlog=50):
        ledger = await connect(url, limits=Limits(connect_s=4.0))
        answer = await ledger.claim([Claim(Uid("018bcfe56801-x"), 0, 0, "t", 60.0)], 0.0)

    assert answer == [Granted(None)]


async def test_host_that_was_silent_is_not_asked_first_the_next_time(connect, postgres):
    url = postgres.url_of(postgres.new_schema(), "sslmode=disable")
    url = url.replace(f"127.0.0.1:{postgres.port}", f"127.0.0.2:{postgres.port},127.0.0.1:{postgres.port}")
    with black_hole("127.0.0.2", postgres.port):
        ledger = await connect(url, limits=Limits(connect_s=6.0))
        began_at = time.monotonic()

        await ledger.claim([Claim(Uid("018bcfe56801-x"), 0, 0, "t", 60.0)], 0.0)  # by a connection of its own

    assert time.monotonic() - began_at < 2.0


async def test_other_address_of_a_host_is_taken_when_the_first_takes_connections_and_says_nothing(
    monkeypatch, host_clock, postgres
):
    resolve(monkeypatch, "ledger.test", "127.0.0.2", "127.0.0.1")
    url = postgres.url_of(postgres.new_schema(), "sslmode=disable").replace("127.0.0.1", "ledger.test")
    ledger = PostgresLedger(url, host_clock(), limits=Limits(connect_s=1.0))
    with socket.create_server(("127.0.0.2", postgres.port), backlog=50):
        with pytest.raises(LedgerUnavailable, match="no answer in time"):
            await ledger.open()

        await ledger.open()

        answer = await ledger.claim([Claim(Uid("018bcfe56801-x"), 0, 0, "t", 60.0)], 0.0)
    await ledger.close()
    assert answer == [Granted(None)]


async def test_start_says_of_each_server_why_it_can_not_be_used(connect):
    with socket.socket() as bound, black_hole("127.0.0.2") as port:
        bound.bind(("127.0.0.1", 0))
        refusing = bound.getsockname()[1]

        with pytest.raises(LedgerUnavailable) as caught:
            await connect(
                f"postgresql://me:s3cret@127.0.0.2:{port},127.0.0.1:{refusing}/db", limits=Limits(connect_s=1.0)
            )

    told = str(caught.value)
    assert "none of the 2 servers can be used" in told
    assert f"127.0.0.2:{port}: no answer in time" in told
    assert f"127.0.0.1:{refusing}: [Errno" in told


async def test_read_only_server_is_told_at_the_start_as_one_that_may_be_waited_for(connect, postgres):
    url = postgres.url_of(postgres.new_schema(), "default_transaction_read_only=on")

    with pytest.raises(LedgerUnavailable, match="read-only"):
        await connect(url)


async def test_commit_is_waited_for_although_the_server_would_not(connect, postgres):
    ledger = await connect(postgres.url_of(postgres.new_schema(), "synchronous_commit=off"))

    found = await ledger._changing.run(lambda connection: connection.fetchval("SHOW synchronous_commit"))

    assert found == "on"


async def test_ledger_that_is_closed_refuses_to_go_on(connect, schema_url):
    ledger = await connect(schema_url)
    await ledger.close()
    await ledger.close()

    with pytest.raises(LedgerError, match="is closed"):
        await ledger.claim([Claim(Uid("018bcfe56801-x"), 0, 0, "t", 60.0)], 0.0)


async def test_ledger_that_was_never_opened_can_be_closed(postgres, host_clock):
    await PostgresLedger(postgres.url, host_clock()).close()
