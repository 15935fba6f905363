"""What an error of SQLite means to a caller: try again, never again, or the disk can't be trusted any more."""

import sqlite3
from pathlib import Path

from mulligan.core.error import ConfigurationError, MulliganError, StorageBroken
from mulligan.core.value import value

__all__ = [
    "ErrorTypes",
    "corrupt",
    "is_busy",
    "no_log",
    "opening_fault",
    "replaced",
    "sync_failed",
    "translate",
    "writer_failed",
]


@value
class ErrorTypes:
    """The errors that the owner of a database raises: one that may pass, one that won't."""

    unavailable: type[MulliganError]
    refused: type[MulliganError]


_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
# the -shm file can't grow or memory is short: both pass, although SQLite files them under broken I/O
_PASSING_IOERR = {sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMMAP, sqlite3.SQLITE_IOERR_NOMEM}
_PASSING = {
    sqlite3.SQLITE_FULL: "The disk is full or over quota. Make room; work then resumes.",
    sqlite3.SQLITE_READONLY: "It can't be written any more. Make file and folder writable; work then resumes.",
    sqlite3.SQLITE_CANTOPEN: "One of its files can't be opened (rights, open files). Work resumes once it can.",
    sqlite3.SQLITE_NOMEM: "Memory is short. Work resumes once there is more.",
    sqlite3.SQLITE_INTERRUPT: "The operation was interrupted. Retrying is safe.",
}
_MENDABLE_AT_OPEN = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}


def is_busy(exc: sqlite3.Error) -> bool:
    """Whether another connection was in the way, so that the same step may succeed in a moment."""
    return _primary(exc) in _BUSY


def translate(exc: sqlite3.Error, path: Path, kinds: ErrorTypes) -> MulliganError:
    """The error to raise for one that SQLite raised while the database was in use."""
    code, seen = _code(exc), _seen(exc)
    primary = code & 0xFF
    if primary in _BUSY:
        return kinds.unavailable(
            f"database {path}: other processes kept it locked for too long ({seen}). Retrying; if this"
            " continues, look for a process that holds a transaction open, such as a database browser."
        )
    if code == sqlite3.SQLITE_READONLY_DBMOVED:
        return replaced(path)
    if code in _PASSING_IOERR:
        return kinds.unavailable(f"database {path}: {seen}. Disk or memory is full. Make room; work then resumes.")
    if primary in _PASSING:
        return kinds.unavailable(f"database {path}: {seen}. {_PASSING[primary]}")
    if primary == sqlite3.SQLITE_IOERR:
        return _disk_failed(path, seen)
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return corrupt(path, seen)
    return kinds.refused(
        f"database {path}: a statement was refused ({seen}). This is a defect of mulligan or its schema."
    )


def opening_fault(exc: sqlite3.Error, path: Path, kinds: ErrorTypes) -> MulliganError:
    """The error to raise for one that SQLite raised while the database was being opened."""
    primary = _primary(exc)
    if primary == sqlite3.SQLITE_NOTADB and not _has_magic(path):
        return _problem(
            f"{path} is not a database: it begins with {_beginning(path)!r}, expected 'SQLite format 3'."
            " Give the path of another file, or move this one away."
        )
    if primary in _MENDABLE_AT_OPEN:
        return _problem(
            f"database {path} can't be opened for writing ({_seen(exc)}). The file, its folder and the file system"
            " must be writable for this user. Change the rights, or give another path."
        )
    return translate(exc, path, kinds)


def sync_failed(path: Path, exc: OSError) -> StorageBroken:
    """The error for a commit that could not be taken to disk. The system may have dropped it: no second try helps."""
    return _disk_failed(path, f"sync: {exc.strerror}")


def no_log(path: Path, exc: OSError) -> MulliganError:
    """The error for a write-ahead log that can't be opened beside SQLite."""
    return _problem(
        f"database {path}: its write-ahead log {exc.filename} can't be opened ({exc.strerror}). Look at its rights and"
        " at the limit of open files (ulimit -n), then start again."
    )


def writer_failed(path: Path, exc: Exception) -> StorageBroken:
    """The error for what nobody expects in the writer thread: what it was about is not certain any more."""
    return StorageBroken(
        f"database {path}: its writer has failed ({type(exc).__name__}: {exc}), so nothing written since the last"
        " success is certain. Start again. If memory is not short, this is a defect of mulligan."
    )


def corrupt(path: Path, seen: str) -> StorageBroken:
    """The error for a file whose content can't be right."""
    return StorageBroken(
        f"database {path} is damaged ({seen}). Stop every process that uses it, keep a copy of {path.name}* and try"
        f" `sqlite3 {path} .recover | sqlite3 recovered.db`; or move the files away to begin with an empty one."
    )


def replaced(path: Path) -> StorageBroken:
    """The error for a file that is no longer the one that was opened."""
    return StorageBroken(
        f"database {path} was deleted, moved or replaced while it was in use, so writes to it would be lost."
        " Put it back and start again; it must stay where it is while any process uses it."
    )


def _disk_failed(path: Path, seen: str) -> StorageBroken:
    return StorageBroken(
        f"database {path}: the disk failed a read or a write ({seen}), so nothing written since the last success is"
        " certain. Look at the disk (dmesg), then start again: what was confirmed is checked when it is opened."
    )


def _code(exc: sqlite3.Error) -> int:
    # absent on errors that Python's module raises itself (ProgrammingError and the like)
    return int(getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR))


def _primary(exc: sqlite3.Error) -> int:
    return _code(exc) & 0xFF


def _seen(exc: sqlite3.Error) -> str:
    name = getattr(exc, "sqlite_errorname", type(exc).__name__)
    return f"{name}: {exc}"


def _has_magic(path: Path) -> bool:
    return _beginning(path) == b"SQLite format 3\0"


def _beginning(path: Path) -> bytes:
    # Only ever read of a file that SQLite has just refused: closing a file that a connection of this process has
    # open would drop the locks of that connection (POSIX).
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError as exc:
        return str(exc).encode()


def _problem(text: str) -> ConfigurationError:
    return ConfigurationError([text])
