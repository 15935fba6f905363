"""What a write transaction of SQLite is to us: the type of its jobs, its beginning and its end."""

import contextlib
import sqlite3
from collections.abc import Callable
from typing import TypeVar

__all__ = ["Job", "begin", "commit"]

T = TypeVar("T")

Job = Callable[[sqlite3.Connection], T]
"""Statements of one transaction; must not commit, and may run twice."""


def begin(connection: sqlite3.Connection) -> None:
    """Begin to write. Raises sqlite3.OperationalError, for which `fault.is_busy`, when another connection does."""
    connection.execute("BEGIN IMMEDIATE")


def commit(connection: sqlite3.Connection, job: Job[T]) -> T:
    """What the job gives, once the transaction that was begun is committed.

    Raises what the job raises, and sqlite3.Error; then nothing of it was done.
    """
    try:
        result = job(connection)
        connection.execute("COMMIT")
    except BaseException:
        # an error here says less than the one that led here; a full disk and the like have rolled back already
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise
    return result
