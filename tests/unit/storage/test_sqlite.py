import asyncio
import os
import sqlite3
import stat
import threading

import pytest

from mulligan.core.error import BrokerRefused, BrokerUnavailable, ConfigurationError, StorageBroken


def add(name, body=b""):
    return lambda connection: connection.execute("INSERT INTO item VALUES (?, ?)", (name, body)).rowcount


def names(connection):
    return [row[0] for row in connection.execute("SELECT name FROM item ORDER BY name")]


async def test_database_creates_its_folder_and_files_for_their_owner_only(database, path):
    await database.run(add("a"))

    files = sorted(item.name for item in path.parent.iterdir())

    assert files == ["test.db", "test.db-shm", "test.db-wal"]
    assert {stat.S_IMODE((path.parent / name).stat().st_mode) for name in files} == {0o600}


async def test_database_is_durable_at_each_commit(database):
    def settings(connection):
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]

    assert await database.read(settings) == ["wal", 2]


def synchronous(connection):
    return connection.execute("PRAGMA synchronous").fetchone()[0]  # 2: FULL, 1: NORMAL


async def test_run_syncs_again_after_jobs_that_need_not_be(database):
    seen = [
        await database.run(synchronous, is_synced=is_synced) for is_synced in (True, False, True, False, False, True)
    ]

    assert seen == [2, 1, 2, 1, 1, 2]


async def test_run_syncs_a_group_when_one_of_its_jobs_has_to_be(database):
    has_begun, all_wait = threading.Event(), threading.Event()

    def first(connection):
        has_begun.set()
        return all_wait.wait(5)

    waiting = [asyncio.create_task(database.run(first, is_synced=False))]
    await asyncio.to_thread(has_begun.wait, 5)
    waiting += [asyncio.create_task(database.run(synchronous, is_synced=n == 3)) for n in range(5)]
    await asyncio.sleep(0)
    all_wait.set()

    assert await asyncio.gather(*waiting) == [True, 2, 2, 2, 2, 2]


async def test_run_syncs_each_job_of_a_group_that_was_undone_as_it_asked(database):
    def fail(connection):
        raise ValueError("no")

    answers = await asyncio.gather(
        database.run(fail, is_synced=False), database.run(synchronous), return_exceptions=True
    )

    assert isinstance(answers[0], ValueError)
    assert answers[1] == 2


async def test_run_gives_the_result_after_the_commit(database, path):
    assert await database.run(add("a")) == 1

    with sqlite3.connect(path) as other:
        assert names(other) == ["a"]
    other.close()


async def test_run_commits_what_waits_together(database):
    all_wait = threading.Event()
    first = asyncio.create_task(database.run(lambda connection: all_wait.wait(5)))
    rest = [asyncio.create_task(database.run(add(f"{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    all_wait.set()

    assert await asyncio.gather(first, *rest) == [True] + [1] * 20
    assert database._commits <= 2


async def test_run_of_a_job_that_raises_spoils_no_other_of_its_group(database):
    def fail(connection):
        connection.execute("INSERT INTO item VALUES ('half done', '')")
        raise ValueError("no")

    answers = await asyncio.gather(
        database.run(add("a")), database.run(fail), database.run(add("b")), return_exceptions=True
    )

    assert answers[0] == 1
    assert isinstance(answers[1], ValueError)
    assert answers[2] == 1
    assert await database.read(names) == ["a", "b"]


async def test_run_tells_a_statement_that_is_refused_as_a_defect(database):
    await database.run(add("a"))

    with pytest.raises(BrokerRefused, match="SQLITE_CONSTRAINT"):
        await database.run(add("a"))


async def test_run_goes_on_when_a_caller_was_cancelled(database):
    task = asyncio.create_task(database.run(add("cancelled")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await database.run(add("next")) == 1


async def test_run_fails_as_unavailable_when_the_disk_is_full_and_goes_on_when_there_is_room(database):
    pages = await database.read(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
    await database.read(lambda connection: connection.execute(f"PRAGMA max_page_count={pages + 1}").fetchone())
    with pytest.raises(BrokerUnavailable, match="disk is full"):
        await database.run(add("large", b"x" * 100_000))

    await database.read(lambda connection: connection.execute("PRAGMA max_page_count=100000").fetchone())

    assert await database.run(add("large", b"x" * 100_000)) == 1


async def test_run_waits_for_another_process_that_holds_the_lock(database, path):
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    task = asyncio.create_task(database.run(add("patient")))
    while not task.done() and not database._calls.empty():
        await asyncio.sleep(0)
    assert not task.done()

    other.execute("COMMIT")
    other.close()

    assert await asyncio.wait_for(task, 5) == 1


async def test_run_fails_as_unavailable_when_the_lock_is_held_too_long(make, path):
    database = make(busy_s=0.05)
    await database.open()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(BrokerUnavailable, match="locked for too long"):
        await database.run(add("late"))
    other.execute("COMMIT")
    other.close()

    assert await database.run(add("later")) == 1


async def test_close_is_not_kept_by_another_process_that_holds_the_lock(make, path):
    database = make(busy_s=600.0)
    await database.open()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    task = asyncio.create_task(database.run(add("never")))
    await asyncio.sleep(0)

    await asyncio.wait_for(database.close(), 5)

    with pytest.raises(BrokerUnavailable):
        await task
    other.close()


async def test_close_runs_what_waits_and_refuses_what_comes_later(database, path):
    waiting = [asyncio.create_task(database.run(add(f"{n}"))) for n in range(10)]
    await asyncio.sleep(0)

    await asyncio.gather(database.close(), database.close())

    assert await asyncio.gather(*waiting) == [1] * 10
    with pytest.raises(BrokerRefused, match="closed"):
        await database.run(add("too late"))
    with pytest.raises(BrokerRefused, match="closed"):
        await database.open()


async def test_run_is_refused_before_the_database_is_open(make):
    with pytest.raises(BrokerRefused, match="not open"):
        await make().run(names)


async def test_open_is_once_when_it_is_called_side_by_side(make):
    database = make()

    await asyncio.gather(database.open(), database.open())

    assert await database.run(add("a")) == 1


async def test_open_can_be_repeated_when_it_failed(make, path):
    path.parent.mkdir()
    path.write_text("not yet")
    database = make()
    with pytest.raises(ConfigurationError):
        await database.open()

    path.unlink()
    await database.open()

    assert await database.run(add("a")) == 1


async def test_open_of_many_at_once_makes_one_database(make):
    databases = [make() for _ in range(5)]

    await asyncio.gather(*(database.open() for database in databases))
    await asyncio.gather(*(database.run(add(f"{n}")) for n, database in enumerate(databases)))

    assert await databases[0].read(names) == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("content", ["<tasks/>\n", "x", "x" * 10_000])
async def test_open_refuses_a_text_file_and_leaves_it_as_it_is(make, path, content):
    path.parent.mkdir()
    path.write_text(content)

    with pytest.raises(ConfigurationError, match=r"test\.db is not a database: it (begins with b|has one byte)"):
        await make().open()

    assert path.read_text() == content
    assert [item.name for item in path.parent.iterdir()] == ["test.db"]


async def test_open_refuses_the_database_of_another_program_and_leaves_it_as_it_is(make, path):
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (a)")
    other.commit()
    other.close()
    before = path.read_bytes()

    with pytest.raises(ConfigurationError, match="another purpose"):
        await make().open()

    assert path.read_bytes() == before


async def test_open_refuses_a_database_of_ours_with_another_purpose(make, database, layout):
    ledger = type(layout)("ledger database", 0x4C454447, layout.migrations)

    with pytest.raises(ConfigurationError, match="not a ledger database"):
        await make(ledger).open()


async def test_open_refuses_a_database_of_a_newer_version(make, database, layout):
    newer = make(type(layout)(layout.what, layout.application_id, (*layout.migrations, ("CREATE TABLE more (a)",))))
    await newer.open()

    with pytest.raises(ConfigurationError, match=r"newer mulligan \(layout 2; this one knows 1\)"):
        await make().open()


async def test_open_brings_an_older_database_up_to_date_and_keeps_its_content(make, database, layout):
    await database.run(add("kept"))
    newer = make(type(layout)(layout.what, layout.application_id, (*layout.migrations, ("CREATE TABLE more (a)",))))

    await newer.open()

    assert await newer.read(names) == ["kept"]
    assert await newer.read(lambda c: c.execute("SELECT count(*) FROM more").fetchone()[0]) == 0


async def test_open_refuses_a_damaged_database(make, database, path):
    await database.run(lambda c: [add(f"{n}", b"x" * 500)(c) for n in range(200)])
    await database.close()
    content = bytearray(path.read_bytes())
    content[4096 : 4096 * 6] = b"\x55" * (4096 * 5)
    path.write_bytes(content)

    with pytest.raises(StorageBroken, match=r"test\.db is damaged .*\.recover"):
        await make().open()


async def test_open_refuses_a_folder_in_place_of_the_file(make, path):
    path.mkdir(parents=True)

    with pytest.raises(ConfigurationError, match="is a folder"):
        await make().open()


async def test_open_refuses_a_folder_that_cannot_be_made(make, tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationError, match=r"folder .* can't be created"):
        await make(at=tmp_path / "file" / "test.db").open()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything: run the tests as another user")
async def test_open_refuses_a_file_that_cannot_be_written(make, database, path):
    await database.close()
    path.chmod(0o400)

    with pytest.raises(ConfigurationError, match="can't be written by this user"):
        await make().open()


@pytest.mark.parametrize("name", ["with space.db", "per%20cent.db", "quest?ion#.db", "ünï.db"])
async def test_open_takes_any_name_of_a_file(make, tmp_path, name):
    database = make(at=tmp_path / name)
    await database.open()
    await database.run(add("a"))

    assert (tmp_path / name).exists()


async def test_database_that_is_deleted_under_us_confirms_nothing_any_more(database, path):
    await database.run(add("a"))
    path.unlink()

    with pytest.raises(StorageBroken, match="deleted, moved or replaced"):
        await database.run(add("b"))
    with pytest.raises(StorageBroken, match="deleted, moved or replaced"):
        await database.read(names)
