"""What a database must be, and how one is opened: whose file is it, which version, is it sound?"""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from mulligan.core.error import ConfigurationError
from mulligan.core.value import value
from mulligan.storage import fault

__all__ = ["OLDEST_SQLITE", "WAL_MAX_BYTES", "Layout", "connect", "connect_again", "log_of"]

T = TypeVar("T")

QUICK_CHECK_MAX_BYTES = 8 * 2**20  # about 20 ms; beyond, SQLite's own checks while reading must do
WAL_MAX_BYTES = 32 * 2**20
OLDEST_SQLITE = (3, 38)  # the first that knows ->>
SETTINGS = (
    # The log is synced before a checkpoint and before it is begun anew, never at a commit: `Database` does that.
    "synchronous=NORMAL",
    "foreign_keys=OFF",
    "cache_size=-8192",  # KiB
    f"journal_size_limit={WAL_MAX_BYTES}",
)


@value
class Layout:
    """What a database must be.

    what: for texts, e.g. "queue database".
    application_id: SQLite's own mark of a file's purpose, so that a ledger isn't taken for a queue.
    migrations: statements of each version, in order; version n is what the first n of them make. Never edit one that
    was released.
    """

    what: str
    application_id: int
    migrations: tuple[tuple[str, ...], ...]


class Patiently(Protocol):
    """Repeats a step while another process is in its way."""

    def __call__(self, action: Callable[[], T]) -> T:
        """The action's result."""


def connect(path: Path, wanted: Layout, patiently: Patiently) -> sqlite3.Connection:
    """A connection to an existing file, checked and brought up to date.

    Raises ConfigurationError for a file of another purpose or a newer version, or a SQLite that is too old,
    StorageBroken for a damaged file, and sqlite3.Error.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise _problem(
            f"{wanted.what} {path}: this Python has SQLite {sqlite3.sqlite_version}, expected"
            f" {'.'.join(map(str, OLDEST_SQLITE))} or later. Use a Python that was built with a newer one."
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


def _set_up(connection: sqlite3.Connection, path: Path, wanted: Layout, patiently: Patiently) -> None:
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


def _version(connection: sqlite3.Connection, path: Path, wanted: Layout) -> int:
    """The version of the layout in the file, 0 when it is empty. Raises ConfigurationError for another's file."""
    # the mark last: another process may be making the database, and whoever sees its tables must see the mark, too
    count = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    version = _pragma(connection, "user_version")
    application_id = _pragma(connection, "application_id")
    if application_id != wanted.application_id and (application_id or version or count):
        raise _problem(
            f"{path} is not a {wanted.what} but a database of another purpose (application id {application_id:#x},"
            f" expected {wanted.application_id:#x}). Give the path of another file."
        )
    if version > len(wanted.migrations):
        raise _problem(
            f"{wanted.what} {path} was written by a newer mulligan (layout {version}; this one knows"
            f" {len(wanted.migrations)}). Update mulligan, or give another path."
        )
    return int(version)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    if _pragma(connection, "page_count") * _pragma(connection, "page_size") <= QUICK_CHECK_MAX_BYTES:
        verdict = _pragma(connection, "quick_check(1)")
        if verdict != "ok":
            raise fault.corrupt(path, " ".join(verdict.split()))


def _migrate(connection: sqlite3.Connection, path: Path, wanted: Layout, patiently: Patiently) -> None:
    newest = len(wanted.migrations)
    if patiently(lambda: _version(connection, path, wanted)) == newest:
        return
    patiently(lambda: connection.execute("BEGIN IMMEDIATE"))
    try:
        # asked again: another process may have done it in the meantime
        for statements in wanted.migrations[_version(connection, path, wanted) :]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id={wanted.application_id}")
        connection.execute(f"PRAGMA user_version={newest}")
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def _problem(text: str) -> ConfigurationError:
    return ConfigurationError([text])
