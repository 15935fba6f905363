import sqlite3
from pathlib import Path

import pytest

from mulligan.core.error import LedgerError, LedgerUnavailable, StorageBroken
from mulligan.storage.fault import ErrorTypes, translate

KINDS = ErrorTypes(LedgerUnavailable, LedgerError)


def error(name):
    exc = sqlite3.OperationalError("what SQLite said")
    exc.sqlite_errorcode = getattr(sqlite3, name)
    exc.sqlite_errorname = name
    return exc


@pytest.mark.parametrize(
    "name",
    [
        "SQLITE_BUSY",
        "SQLITE_BUSY_SNAPSHOT",
        "SQLITE_LOCKED",
        "SQLITE_FULL",
        "SQLITE_READONLY",
        "SQLITE_CANTOPEN",
        "SQLITE_NOMEM",
        "SQLITE_IOERR_SHMSIZE",
    ],
)
def test_translate_makes_a_fault_that_may_pass_unavailable(name):
    meant = translate(error(name), Path("q.db"), KINDS)

    assert type(meant) is LedgerUnavailable
    assert "q.db" in str(meant)
    assert name in str(meant)


@pytest.mark.parametrize(
    "name",
    ["SQLITE_IOERR_FSYNC", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_READ", "SQLITE_CORRUPT", "SQLITE_READONLY_DBMOVED"],
)
def test_translate_makes_a_disk_that_cannot_be_trusted_broken(name):
    assert type(translate(error(name), Path("q.db"), KINDS)) is StorageBroken


def test_translate_makes_a_wrong_statement_refused():
    assert type(translate(error("SQLITE_ERROR"), Path("q.db"), KINDS)) is LedgerError
    assert type(translate(sqlite3.ProgrammingError("wrong use"), Path("q.db"), KINDS)) is LedgerError
