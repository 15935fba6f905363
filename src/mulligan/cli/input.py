"""Where `mulligan send` gets its messages: one line per message, streamed, never all in memory."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator

from mulligan.cli.exit import UsageError
from mulligan.core.value import value

__all__ = ["Line", "TooLong", "UnreadableError", "lines"]

_CHUNK_BYTES = 256 * 1024


class UnreadableError(UsageError):
    """The input can't be read, or not any more."""


@value
class Line:
    """One line without its end. number: from 1. end: bytes of the input up to its end."""

    number: int
    body: bytes
    end: int


@value
class TooLong:
    """A line longer than the limit; it was passed over. size: its bytes."""

    number: int
    size: int
    end: int


async def lines(fd: int, max_bytes: int) -> AsyncIterator[list[Line | TooLong]]:
    """The lines of an open file or pipe, in lists as they arrive: whatever is there is given at once, so that
    `tail -f | mulligan send -` sends without delay. The last line needs no end. Raises UnreadableError.
    """
    splitter = _Splitter(max_bytes)
    is_file = stat.S_ISREG(os.fstat(fd).st_mode)
    while True:
        if not is_file:
            await _readable(fd)
        try:
            chunk = os.read(fd, _CHUNK_BYTES)
        except OSError as exc:
            raise UnreadableError(f"the input can't be read: {exc.strerror or exc}. Give another file.") from None
        if not chunk:
            break
        if found := splitter.feed(chunk):
            yield found
    if last := splitter.rest():
        yield [last]


async def _readable(fd: int) -> None:
    """Wait until a read doesn't block, so that Ctrl-C ends the wait: a blocked thread could not be stopped."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(fd, ready.set)
    except OSError:
        return  # /dev/null and its like can't be waited for: they are always ready
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)


class _Splitter:
    """Cuts chunks into lines, holding no more than one line of the allowed length."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._size = 0
        self._number = 0
        self._end = 0

    def feed(self, chunk: bytes) -> list[Line | TooLong]:
        found: list[Line | TooLong] = []
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            self._add(part)
            self._end += 1
            found.append(self._cut())
        self._add(rest)
        return found

    def rest(self) -> Line | TooLong | None:
        return self._cut() if self._size else None

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        self._end += len(part)
        if self._size > self._max_bytes:
            self._parts = []
        elif part:
            self._parts.append(part)

    def _cut(self) -> Line | TooLong:
        self._number += 1
        size, body = self._size, b"".join(self._parts)
        self._size, self._parts = 0, []
        if size > self._max_bytes:
            return TooLong(self._number, size, self._end)
        return Line(self._number, body, self._end)
