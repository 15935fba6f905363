"""What a database must be, and how one is opened: whose file is it, which version, is it sound?

A file has two numbers: the version of its layout, and its *oldest reader*, the oldest version that a program may know
and still use it. Both are in SQLite's `user_version`, as `1000 * oldest reader + version`, or the version alone where
the two are the same: so they are read at one look and changed by one statement of the migration's own transaction,
they need no table, and files of before the second number are as they were.
"""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from mulligan.core.error import ConfigurationError
from mulligan.core.value import value
from mulligan.storage import fault

__all__ = ["OLDEST_SQLITE", "WAL_MAX_BYTES", "Schema", "connect", "connect_again", "log_of"]

T = TypeVar("T")

QUICK_CHECK_MAX_BYTES = 8 * 2**20  # about 20 ms; beyond, SQLite's own checks while reading must do
WAL_MAX_BYTES = 32 * 2**20
_OLDEST_AT = 1000
OLDEST_SQLITE = (3, 38)  # the first that knows ->>
SETTINGS = (
    # The log is synced before a checkpoint and before it is begun anew, never at a commit: `Database` does that.
    "synchronous=NORMAL",
    "foreign_keys=OFF",
    "cache_size=-8192",  # KiB
    f"journal_size_limit={WAL_MAX_BYTES}",
)


@value
class Schema:
    """What a database must be.

    what: for texts, e.g. "queue database".
    application_id: SQLite's own mark of a file's purpose, so that a ledger isn't taken for a queue.
    migrations: statements of each version, in order; version n is what the first n of them make. Never edit one that
    was released.
    oldest_reader: programs that know this version of the layout, or a later one, work on what the last migration makes.
    It stays behind as long as migrations only add tables, and columns with defaults; every statement names its columns.
    None: those that know the newest.
    """

    what: str
    application_id: int
    migrations: tuple[tuple[str, ...], ...]
    oldest_reader: int | None = None

    @property
    def newest(self) -> int:
        """The version that the migrations make."""
        return len(self.migrations)

    @property
    def mark(self) -> int:
        """The `user_version` of a file that is up to date."""
        oldest = self.newest if self.oldest_reader is None else self.oldest_reader
        return self.newest if oldest == self.newest else _OLDEST_AT * oldest + self.newest


class Patiently(Protocol):
    """Repeats a step while another process is in its way."""

    def __call__(self, action: Callable[[], T]) -> T:
        """The action's result."""


def connect(path: Path, wanted: Schema, patiently: Patiently) -> sqlite3.Connection:
    """A connection to an existing file, checked and brought up to date. One that is newer stays as it is.

    Raises ConfigurationError for a file of another purpose or one that needs a newer program, or a SQLite that is too
    old, StorageBroken for a damaged file, and sqlite3.Error.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise _problem(
            f"{wanted.what} {path}: this Python has SQLite {sqlite3.sqlite_version}, expected"
            f" {'.'.join(map(str, OLDEST_SQLITE))} or later. Use a Python built with a newer one."
        )
    connection = _open(path)
    try:
        _set_up(connection, path, wanted, patiently)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_again(path: Path) -> sqlite3.Connection:
    """Another connection to a file that `connect` has opened. It leaves checkpoints to others. Raises sqlite3.Error."""
    connection = _open(path)
    try:
        _apply(connection, *SETTINGS, "wal_autocheckpoint=0")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # reads the file, so that it is at hand
    except BaseException:
        connection.close()
        raise
    return connection


def log_of(connection: sqlite3.Connection) -> str:
    """The path of the connection's write-ahead log, which is beside the file itself, not beside a link to it."""
    return f"{connection.execute('PRAGMA database_list').fetchone()[2]}-wal"


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        timeout=0.0,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )


def _apply(connection: sqlite3.Connection, *settings: str) -> None:
    for setting in settings:
        connection.execute(f"PRAGMA {setting}").fetchone()


def _set_up(connection: sqlite3.Connection, path: Path, wanted: Schema, patiently: Patiently) -> None:
    is_new = patiently(lambda: _version(connection, path, wanted)) == 0
    # only now: a file of somebody else must stay as it is
    mode = patiently(lambda: _pragma(connection, "journal_mode=WAL"))
    if mode != "wal":
        raise _problem(
            f"{wanted.what} {path}: its file system can't hold a write-ahead log (journal mode {mode!r})."
            " Give a path on a local disk."
        )
    _apply(connection, *SETTINGS)
    if not is_new:
        patiently(lambda: _check(connection, path))
    _migrate(connection, path, wanted, patiently)


def _version(connection: sqlite3.Connection, path: Path, wanted: Schema) -> int:
    """The version of the layout in the file, 0 when it is empty. Raises ConfigurationError for another's file."""
    # the mark last: another process may be creating the database, and one that sees its tables must see the mark, too
    count = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    mark = _pragma(connection, "user_version")
    application_id = _pragma(connection, "application_id")
    if application_id != wanted.application_id and (application_id or mark or count):
        raise _problem(
            f"{path} is not a {wanted.what} but a database with another purpose (application id {application_id:#x},"
            f" expected {wanted.application_id:#x}). Give the path of another file."
        )
    oldest, version = divmod(mark, _OLDEST_AT)
    if (oldest or version) > wanted.newest:
        needed = f", for programs that know {oldest} or later" if oldest else ""
        raise _problem(
            f"{wanted.what} {path} was written by a newer mulligan (layout {version}{needed}; this one knows"
            f" {wanted.newest}). Update mulligan, or give another path."
        )
    return int(version)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    if _pragma(connection, "page_count") * _pragma(connection, "page_size") <= QUICK_CHECK_MAX_BYTES:
        verdict = _pragma(connection, "quick_check(1)")
        if verdict != "ok":
            raise fault.corrupt(path, " ".join(verdict.split()))


def _migrate(connection: sqlite3.Connection, path: Path, wanted: Schema, patiently: Patiently) -> None:
    if patiently(lambda: _version(connection, path, wanted)) >= wanted.newest:
        return
    patiently(lambda: connection.execute("BEGIN IMMEDIATE"))
    try:
        # asked again: another process may have done it in the meantime, and one of a newer version has done more
        version = _version(connection, path, wanted)
        for statements in wanted.migrations[version:]:
            for statement in statements:
                connection.execute(statement)
        if version < wanted.newest:
            connection.execute(f"PRAGMA application_id={wanted.application_id}")
            connection.execute(f"PRAGMA user_version={wanted.mark}")
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def _problem(text: str) -> ConfigurationError:
    return ConfigurationError([text])
