import sqlite3

import pytest

from mulligan.storage.inline_writer import REST_S, SLOW_S, TRIES, InlineWriter


class Clock:
    def __init__(self):
        self.now = 100.0
        self.pauses = 0
        self.at_pause = lambda: None

    def __call__(self):
        return self.now

    def pause(self, seconds):
        self.now += seconds
        self.pauses += 1
        self.at_pause()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def shortcut(tmp_path, clock):
    connection = sqlite3.connect(tmp_path / "test.db", isolation_level=None, timeout=0)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE item (name)")
    yield InlineWriter(connection, clock, clock.pause)
    connection.close()


def taking(clock, seconds):
    def job(connection):
        clock.now += seconds
        return connection.execute("INSERT INTO item VALUES ('a')").rowcount

    return job


def test_run_gives_what_the_job_gives_and_has_committed_it(shortcut, clock):
    assert shortcut.run(taking(clock, 0.0)) == (1,)

    assert not shortcut.connection.in_transaction
    assert shortcut.commits == 1


def test_run_is_closed_for_a_while_after_a_job_that_took_long(shortcut, clock):
    assert shortcut.run(taking(clock, SLOW_S * 2)) == (1,)
    assert shortcut.run(taking(clock, 0.0)) is None

    clock.now += REST_S

    assert shortcut.run(taking(clock, 0.0)) == (1,)


def test_run_is_closed_for_a_while_after_a_job_that_took_long_to_fail(shortcut, clock):
    def job(connection):
        taking(clock, SLOW_S * 2)(connection)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        shortcut.run(job)

    assert shortcut.run(taking(clock, 0.0)) is None
    assert shortcut.connection.execute("SELECT count(*) FROM item").fetchone() == (0,)


@pytest.fixture
def other(tmp_path, shortcut):
    connection = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    yield connection
    connection.close()


def test_run_begins_nothing_while_the_file_stays_locked(shortcut, clock, other):
    other.execute("BEGIN IMMEDIATE")

    assert shortcut.run(taking(clock, 0.0)) is None
    assert clock.pauses == TRIES - 1

    other.execute("COMMIT")
    assert shortcut.run(taking(clock, 0.0)) == (1,)


def test_run_waits_for_the_short_commit_of_another_process(shortcut, clock, other):
    other.execute("BEGIN IMMEDIATE")
    clock.at_pause = lambda: other.execute("COMMIT")

    assert shortcut.run(taking(clock, 0.0)) == (1,)
    assert clock.pauses == 1
