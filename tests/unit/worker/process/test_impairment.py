"""What a task can take from its own process, so that a write that fails says nothing of the disk."""

import os
import resource
import sqlite3
from pathlib import Path

import pytest

from mulligan.worker.process.impairment import Impairment


@pytest.fixture
def database(tmp_path):
    """An open database in WAL mode."""
    connection = sqlite3.connect(tmp_path / "one.db")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (x)")
    yield connection
    connection.close()


def descriptor_of(name: str) -> int:
    """Of a file that this process has open."""
    links = Path("/proc/self/fd").iterdir()
    return next(int(link.name) for link in links if link.is_symlink() and str(link.readlink()).endswith(name))


def test_process_that_has_all_it_had_is_not_impaired(database):
    impairment = Impairment()

    database.execute("INSERT INTO t VALUES (1)")

    assert impairment.found() is None


def test_limit_on_the_size_of_files_is_found():
    impairment = Impairment()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (123_456_789, hard))
    try:
        found = impairment.found()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert found == "a task has limited the size of files to 123456789 bytes (RLIMIT_FSIZE)"
    assert impairment.found() is None


@pytest.mark.parametrize("suffix", ["one.db", "one.db-wal", "one.db-shm"])
def test_file_of_a_database_that_was_closed_is_found(database, suffix):
    impairment = Impairment()
    descriptor = descriptor_of(suffix)
    kept = os.dup(descriptor)

    os.close(descriptor)
    found = impairment.found()
    os.dup2(kept, descriptor)
    os.close(kept)

    assert found is not None
    assert found.startswith(f"a task has closed descriptor {descriptor}, ")
    assert found.endswith(suffix)


def test_other_file_in_place_of_a_database_is_found(database, tmp_path):
    impairment = Impairment()
    descriptor = descriptor_of("one.db-wal")
    kept = os.dup(descriptor)
    (tmp_path / "other").touch()

    with (tmp_path / "other").open() as other:
        os.dup2(other.fileno(), descriptor)
        found = impairment.found()
    os.dup2(kept, descriptor)
    os.close(kept)

    assert found is not None
    assert f"descriptor {descriptor}, " in found


def test_closed_file_that_is_no_database_is_nothing_to_find(database, tmp_path):
    other = (tmp_path / "other").open("w")
    impairment = Impairment()

    other.close()

    assert impairment.found() is None
