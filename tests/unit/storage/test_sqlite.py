import asyncio
import os
import sqlite3
import stat
import tempfile
import threading
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mulligan.core.error import BrokerRefused, BrokerUnavailable, ConfigurationError, StorageBroken
from mulligan.storage import schema as storage_layout
from mulligan.storage.schema import WAL_MAX_BYTES
from mulligan.storage.sqlite import LOG_LOOK_EVERY

NOBODY = 65534


def add(name, body=b""):
    return lambda connection: connection.execute("INSERT INTO item (name, body) VALUES (?, ?)", (name, body)).rowcount


def names(connection):
    return [row[0] for row in connection.execute("SELECT name FROM item ORDER BY name")]


async def test_database_creates_its_folder_and_files_for_their_owner_only(database, path):
    await database.run(add("a"))

    files = sorted(item.name for item in path.parent.iterdir())

    assert files == ["test.db", "test.db-shm", "test.db-wal"]
    assert {stat.S_IMODE((path.parent / name).stat().st_mode) for name in files} == {0o600}


class Syncs:
    """Counts syncs. error: what the next ones fail with. may_end: each waits for it."""

    def __init__(self):
        self.count = 0
        self.error = None
        self.may_end = threading.Event()
        self.may_end.set()

    def __call__(self, descriptor):
        self.count += 1
        if not self.may_end.wait(5):
            raise TimeoutError("the test has not let the sync end")
        if self.error:
            raise self.error
        os.fdatasync(descriptor)


@pytest.fixture
def syncs():
    return Syncs()


@pytest.fixture
async def watched(make, syncs):
    database = make(sync=syncs, has_shortcut=True)
    await database.open()
    return database


async def hold(database, **options):
    """Keep the thread busy with a job until the event is set; the event and the job's task."""
    has_begun, may_end = threading.Event(), threading.Event()

    def job(connection):
        has_begun.set()
        return may_end.wait(5)

    task = asyncio.create_task(database.run(job, **options))
    assert await asyncio.to_thread(has_begun.wait, 5)
    return may_end, task


async def test_database_leaves_syncs_of_commits_to_us_and_those_of_its_log_to_sqlite(database):
    def settings(connection):
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]

    assert await database.read(settings) == ["wal", 1]  # NORMAL: before a checkpoint, and when the log begins anew


@pytest.mark.parametrize("is_quick", [False, True])
async def test_run_syncs_what_has_to_be_and_nothing_else(watched, syncs, is_quick):
    seen = []
    for number, is_synced in enumerate((True, False, True, False, False, True)):
        await watched.run(add(f"{number}"), is_synced=is_synced, is_quick=is_quick)
        seen.append(syncs.count)

    assert seen == [1, 1, 2, 2, 2, 3]


async def test_run_syncs_the_log_that_holds_what_it_wrote(make, path):
    names = []
    database = make(sync=lambda descriptor: names.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    await database.open()

    await database.run(add("a"))

    assert names == [Path(f"{path}-wal")]


async def test_run_syncs_the_log_beside_the_file_itself_when_the_path_is_a_link(make, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "test.db").touch()
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "disk" / "test.db")
    (tmp_path / "link.db-wal").write_text("of a database that was here before it was moved")
    names = []
    database = make(at=link, sync=lambda descriptor: names.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    await database.open()

    await database.run(add("a"))

    assert names == [tmp_path / "disk" / "test.db-wal"]


async def test_run_syncs_nothing_for_jobs_that_all_failed(watched, syncs):
    await watched.run(add("a"))

    with pytest.raises(BrokerRefused):
        await watched.run(add("a"))

    assert syncs.count == 1


async def test_run_syncs_once_for_all_that_wait_when_one_of_them_has_to_be(watched, syncs):
    may_end, first = await hold(watched, is_synced=False)
    waiting = [asyncio.create_task(watched.run(add(f"{n}"), is_synced=n == 3)) for n in range(5)]
    await asyncio.sleep(0)
    may_end.set()

    assert await asyncio.gather(first, *waiting) == [True, 1, 1, 1, 1, 1]
    assert syncs.count == 1


async def test_run_of_a_job_that_need_not_be_synced_does_not_wait_for_others_that_have_to(watched, syncs):
    may_end, first = await hold(watched, is_synced=False)
    syncs.may_end.clear()
    synced = asyncio.create_task(watched.run(add("synced")))
    unsynced = asyncio.create_task(watched.run(add("unsynced"), is_synced=False))
    await asyncio.sleep(0)
    may_end.set()

    assert await asyncio.wait_for(unsynced, 5) == 1
    assert not synced.done()
    syncs.may_end.set()
    assert await asyncio.gather(first, synced) == [True, 1]


async def test_run_syncs_each_job_of_a_group_that_was_undone_as_it_asked(watched, syncs):
    def fail(connection):
        raise ValueError("no")

    may_end, first = await hold(watched, is_synced=False)
    waiting = [asyncio.create_task(watched.run(fail, is_synced=False)), asyncio.create_task(watched.run(add("a")))]
    await asyncio.sleep(0)
    may_end.set()
    _, failed, done = await asyncio.gather(first, *waiting, return_exceptions=True)

    assert isinstance(failed, ValueError)
    assert (done, syncs.count) == (1, 1)


@pytest.mark.parametrize("is_quick", [False, True])
async def test_run_confirms_nothing_any_more_once_a_sync_has_failed(watched, syncs, is_quick):
    syncs.error = OSError(5, "Input/output error")
    with pytest.raises(StorageBroken, match=r"disk failed a read or a write \(sync: Input/output error\)"):
        await watched.run(add("a"), is_quick=is_quick)
    syncs.error = None  # a system that has dropped what it could not write says yes

    with pytest.raises(StorageBroken):
        await watched.run(add("b"), is_quick=is_quick)
    assert syncs.count == 1


async def test_run_and_close_end_when_something_fails_in_the_thread_that_nobody_expects(watched, syncs):
    syncs.error = RuntimeError("no memory for more")

    with pytest.raises(StorageBroken, match=r"its writer has failed \(RuntimeError: no memory for more\)"):
        await watched.run(add("a"))
    with pytest.raises(StorageBroken):
        await watched.run(add("b"))

    await asyncio.wait_for(watched.close(), 5)


async def stuck_in_sync(database, syncs):
    """The task of a quick job that is committed, and whose sync goes on until the event is set."""
    syncs.may_end.clear()
    task = asyncio.create_task(database.run(add("stuck"), is_quick=True))
    while not syncs.count and not task.done():
        await asyncio.sleep(0)
    return task


async def test_sync_is_not_tried_again_for_those_who_waited_while_it_failed(watched, syncs):
    syncs.error = OSError(5, "Input/output error")
    first = await stuck_in_sync(watched, syncs)
    second = asyncio.create_task(watched.run(add("b"), is_quick=True))  # committed, and its sync is still to come
    await asyncio.sleep(0)
    syncs.may_end.set()

    answers = await asyncio.gather(first, second, return_exceptions=True)

    assert [type(answer) for answer in answers] == [StorageBroken, StorageBroken]
    assert syncs.count == 1


def where(connection):
    return threading.get_ident()


async def test_run_of_a_quick_job_is_committed_by_the_caller(quick, path):
    assert await quick.run(where, is_quick=True) == threading.get_ident()

    await quick.run(add("a"), is_synced=False, is_quick=True)

    with closing(sqlite3.connect(path)) as other:
        assert names(other) == ["a"]


async def test_run_of_a_quick_job_waits_for_its_sync(watched, syncs):
    task = await stuck_in_sync(watched, syncs)
    assert not task.done()

    syncs.may_end.set()

    assert await task == 1


async def test_run_of_a_quick_job_overtakes_no_job_that_came_before(watched, syncs):
    first = await stuck_in_sync(watched, syncs)  # so the file is not locked
    order = []
    before = asyncio.create_task(watched.run(lambda connection: order.append("before")))
    await asyncio.sleep(0)
    quick = asyncio.create_task(watched.run(lambda connection: order.append("quick"), is_quick=True))
    await asyncio.sleep(0)
    assert order == []
    syncs.may_end.set()

    await asyncio.gather(first, before, quick)

    assert order == ["before", "quick"]


async def test_run_of_a_quick_job_overtakes_no_job_whose_caller_was_cancelled(quick):
    may_end, first = await hold(quick)
    first.cancel()
    await asyncio.sleep(0)
    order = []
    quicker = asyncio.create_task(quick.run(lambda connection: order.append(where(connection)), is_quick=True))
    await asyncio.sleep(0)
    assert order == []
    may_end.set()
    await quicker

    assert order != [threading.get_ident()]
    assert await quick.run(where, is_quick=True) == threading.get_ident()  # all were answered: the way is free again


async def test_run_of_a_quick_job_goes_to_the_thread_when_another_process_writes(quick, path):
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    task = asyncio.create_task(quick.run(where, is_quick=True))
    await asyncio.sleep(0)
    assert not task.done()

    other.execute("COMMIT")
    other.close()

    assert await asyncio.wait_for(task, 5) != threading.get_ident()


async def test_run_of_a_quick_job_that_fails_leaves_nothing_and_the_next_one_works(quick):
    def half(connection):
        connection.execute("INSERT INTO item VALUES ('half done', '')")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await quick.run(half, is_quick=True)
    await quick.run(add("a"), is_quick=True)
    with pytest.raises(BrokerRefused, match="SQLITE_CONSTRAINT"):
        await quick.run(add("a"), is_quick=True)

    assert await quick.read(names) == ["a"]


async def test_commit_that_begins_the_log_anew_is_the_threads_because_sqlite_syncs_it(quick):
    for number in range(LOG_LOOK_EVERY):
        await quick.run(add(f"{number}"), is_quick=True)
    await quick.read(names)  # and so the checkpoint is over

    assert await quick.run(where, is_quick=True) != threading.get_ident()
    assert await quick.run(where, is_quick=True) == threading.get_ident()


async def test_log_stays_short_when_all_jobs_are_quick(quick, path):
    most = 0
    for number in range(3 * LOG_LOOK_EVERY):
        await quick.run(add(f"{number}", b"x" * 2**18), is_quick=True)
        most = max(most, Path(f"{path}-wal").stat().st_size)

    assert most < WAL_MAX_BYTES + 1.5 * LOG_LOOK_EVERY * 2**18  # it would be 3 times the latter
    assert path.stat().st_size > LOG_LOOK_EVERY * 2**18


async def test_run_gives_the_result_after_the_commit(database, path):
    assert await database.run(add("a")) == 1

    with closing(sqlite3.connect(path)) as other:
        assert names(other) == ["a"]


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


async def test_run_is_refused_when_an_open_that_was_cancelled_has_failed(make, path):
    path.parent.mkdir()
    path.write_text("no database")
    database = make()
    opening = asyncio.create_task(database.open())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening

    with pytest.raises(ConfigurationError):
        await database.open()
    with pytest.raises(BrokerRefused, match="not open"):
        await database.run(add("a"))


async def test_open_refuses_a_sqlite_that_is_too_old(make, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 37, 2))

    with pytest.raises(ConfigurationError, match=r"this Python has SQLite 3\..*, expected 3\.38 or later"):
        await make().open()


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


def next_of(layout, oldest_reader, steps=1):
    """The layout of a newer version: a column with a default a step."""
    added = [(f"ALTER TABLE item ADD COLUMN more{number} TEXT NOT NULL DEFAULT 'x'",) for number in range(steps)]
    return type(layout)(layout.what, layout.application_id, (*layout.migrations, *added), oldest_reader)


def mark(connection):
    return connection.execute("PRAGMA user_version").fetchone()[0]


async def test_open_takes_a_database_of_a_newer_version_when_this_one_is_among_its_readers(make, database, layout):
    """A process that restarted while a newer version was rolled out could not come up."""
    newer = make(next_of(layout, 1, steps=2))
    await newer.open()

    older = make()
    await older.open()
    await older.run(add("by the older"))
    await newer.run(add("by the newer"))

    assert await older.read(names) == ["by the newer", "by the older"]
    assert await older.read(mark) == 1003


async def test_open_refuses_a_database_of_a_newer_version_when_this_one_is_too_old_for_it(make, database, layout, path):
    newer = make(next_of(layout, 2, steps=2))
    await newer.open()
    await newer.close()
    before = path.read_bytes()

    with pytest.raises(ConfigurationError) as caught:
        await make().open()

    assert caught.value.problems == (
        f"test database {path} was written by a newer mulligan (layout 3, for programs that know 2 or later; this one"
        " knows 1). Update mulligan, or give another path.",
    )
    assert path.read_bytes() == before
    middle = make(next_of(layout, 2, steps=1))
    await middle.open()
    assert await middle.read(mark) == 2003


async def test_open_of_many_versions_at_once_leaves_the_numbers_of_the_newest(make, layout):
    versions = [layout, next_of(layout, 1, steps=1), next_of(layout, 1, steps=3), next_of(layout, 1, steps=2)]
    databases = [make(one) for one in versions * 4]

    await asyncio.gather(*(one.open() for one in databases))
    await asyncio.gather(*(one.run(add(f"name {number:02}")) for number, one in enumerate(databases)))

    assert len(await databases[0].read(names)) == 16
    assert {await one.read(mark) for one in databases} == {1004}


async def test_open_leaves_the_numbers_of_a_newer_version_that_was_first_at_the_lock(make, database, layout, path):
    """It had looked before, and found less than it knows."""
    newest, middle = next_of(layout, 1, steps=2), next_of(layout, 1, steps=1)
    looks = []

    def patiently(action):
        looks.append(action())
        if len(looks) == 1:
            with closing(sqlite3.connect(path)) as other:
                for (statement,) in newest.migrations[1:]:
                    other.execute(statement)
                other.execute("PRAGMA user_version=1003")
        return looks[-1]

    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        storage_layout._migrate(connection, path, middle, patiently)

        assert looks[0] == 1
        assert mark(connection) == 1003


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


@contextmanager
def any_user():
    """Not root, who may write everything."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


async def test_open_refuses_a_file_that_cannot_be_written(make):
    with tempfile.TemporaryDirectory() as folder:  # tmp_path is for its owner alone
        Path(folder).chmod(0o777)
        path = Path(folder) / "test.db"
        database = make(at=path)
        await database.open()
        await database.close()
        path.chmod(0o444)

        with any_user(), pytest.raises(ConfigurationError, match=r"test\.db can't be written by this user"):
            await make(at=path).open()


@pytest.mark.parametrize("name", ["with space.db", "per%20cent.db", "quest?ion#.db", "ünï.db"])
async def test_open_takes_any_name_of_a_file(make, tmp_path, name):
    database = make(at=tmp_path / name)
    await database.open()
    await database.run(add("a"))

    assert (tmp_path / name).exists()


@pytest.mark.parametrize("is_quick", [False, True])
async def test_database_that_is_deleted_under_us_confirms_nothing_any_more(quick, path, is_quick):
    await quick.run(add("a"))
    path.unlink()

    with pytest.raises(StorageBroken, match="deleted, moved or replaced"):
        await quick.run(add("b"), is_quick=is_quick)
    with pytest.raises(StorageBroken, match="deleted, moved or replaced"):
        await quick.read(names)
