"""Where log lines go: stderr, and a file that several processes append to and one of them rotates.

A sink never raises once it is open: what can't be written is counted, because a full disk or a closed terminal must not
change what happens to a message.
"""

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from mulligan.core.error import ConfigurationError

__all__ = ["FileSink", "Sink", "StreamSink"]


_AT_ONCE_BYTES = select.PIPE_BUF
"""So much a pipe takes without waiting, once it takes anything."""
_STUCK_MS = 200


class Sink(Protocol):
    """Takes whole lines, from any thread."""

    lost: int
    """Lines that could not be written."""

    def write(self, line: str) -> None:
        """Write one record, its line end included, by one call of the system. Never raises."""

    def tend(self) -> None:
        """Do what is due now and then."""

    def close(self) -> None:
        """Let go of the file. Twice is once; later lines are lost."""


class StreamSink:
    """An open descriptor, such as stderr's. It is not ours and stays open.

    A copy of it is written to: were the original closed, its number would soon be another file's, a database's even.
    Where its reader stands still, a line is waited for a moment, and those after it not at all until it reads again.
    """

    def __init__(self, fd: int) -> None:
        self._fd: int | None = os.dup(fd)
        self._is_stuck = False
        self.lost = 0

    def write(self, line: str) -> None:
        """One write a line, so that lines of several processes don't mix (up to PIPE_BUF on a pipe)."""
        fd = self._fd
        try:
            if fd is None or not self._put(fd, line.encode("utf-8", "backslashreplace")):
                self.lost += 1
        except OSError:
            # the reader of the pipe has gone, or doesn't read any more
            self.lost += 1

    def _put(self, fd: int, data: bytes) -> bool:
        """Whether all of it went out. A full pipe is not a place to wait in: leases are kept by who writes here."""
        for start in range(0, len(data), _AT_ONCE_BYTES):
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            if not poll.poll(0 if self._is_stuck else _STUCK_MS):
                self._is_stuck = True
                return False
            self._is_stuck = False
            part = data[start : start + _AT_ONCE_BYTES]
            if os.write(fd, part) != len(part):
                return False
        return True

    def tend(self) -> None:
        """Nothing is due."""

    def close(self) -> None:
        """Close the copy."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


class FileSink:
    """A log file, opened for appending by every process; the one that `rotates` renames it when it is full.

    The others notice by its inode, at most a second later; until then they write to the renamed file, which loses
    nothing.

    backups: renamed files that are kept, as <path>.1 (the newest), <path>.2 ...
    report: gets one sentence when the file can't be written, once per outage.
    now: epoch seconds; how often the inode is looked at.
    Raises ConfigurationError when the file can't be opened at the start.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        backups: int,
        rotates: bool,
        now: Callable[[], float],
        report: Callable[[str], None],
    ) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._backups = backups
        self._rotates = rotates
        self._now = now
        self._report = report
        self._lock = threading.Lock()
        self._is_down = False
        self._is_torn = False
        self._is_closed = False
        self._looked_at = 0
        self.lost = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd: int | None = _opened(path)
        except OSError as exc:
            problem = (
                f"LOG_FILE: {str(path)!r} can't be opened for writing: {exc.strerror or exc}. "
                "Give a file in a folder that this user may write to, or remove LOG_FILE to log to stderr only."
            )
            raise ConfigurationError([problem]) from None

    def write(self, line: str) -> None:
        """Append the line; it is counted as lost when it can't be."""
        with self._lock:
            if self._is_closed:
                self.lost += 1
                return
            try:
                self._follow()
                self._append(line)
            except OSError as exc:
                self._fail(exc)
            else:
                self._is_down = False

    def tend(self) -> None:
        """Rotate when the file is full, whichever process filled it."""
        with self._lock:
            if self._is_closed:
                return
            with suppress(OSError):
                self._looked_at = 0
                self._follow()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._is_closed = True
            self._shut()

    def _append(self, line: str) -> None:
        if self._fd is None:
            self._fd = _opened(self._path)
        # a line that a full disk cut in the middle must not swallow the next one
        text = "\n" + line if self._is_torn else line
        self._is_torn = _write(self._fd, text) is False
        if self._is_torn:
            self.lost += 1

    def _follow(self) -> None:
        """Once a second: reopen a file that was renamed or removed, and rotate one that is full."""
        second = int(self._now())
        if second == self._looked_at or self._fd is None:
            return
        self._looked_at = second
        ours = os.fstat(self._fd)
        try:
            there = os.stat(self._path)  # noqa: PTH116 - beside os.fstat
        except FileNotFoundError:
            self._shut()
            return
        if (there.st_ino, there.st_dev) != (ours.st_ino, ours.st_dev):
            self._shut()
        elif self._rotates and there.st_size >= self._max_bytes:
            self._rotate()

    def _rotate(self) -> None:
        path = str(self._path)
        if self._backups == 0:
            os.unlink(path)  # noqa: PTH108 - beside os.replace
        for number in range(self._backups, 0, -1):
            source = path if number == 1 else f"{path}.{number - 1}"
            with suppress(FileNotFoundError):
                os.replace(source, f"{path}.{number}")  # noqa: PTH105 - plain names, not paths
        self._shut()

    def _shut(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            with suppress(OSError):
                os.close(fd)

    def _fail(self, exc: OSError) -> None:
        self.lost += 1
        if not self._is_down:
            self._is_down = True
            self._report(f"LOG_FILE {str(self._path)!r} can't be written: {exc.strerror or exc}. Its lines are lost.")


def _opened(path: Path) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
    with suppress(FileNotFoundError):
        return os.open(path, flags)
    descriptor = os.open(path, flags | os.O_CREAT, 0o640)
    with suppress(OSError):  # mulligan's other processes write to it, too, whatever umask a task has set
        os.fchmod(descriptor, os.fstat(descriptor).st_mode & 0o777 | 0o600)
    return descriptor


def _write(fd: int, line: str) -> bool:
    """Whether all of the line went out. Raises OSError when none of it did."""
    data = line.encode("utf-8", "backslashreplace")
    return os.write(fd, data) == len(data)
