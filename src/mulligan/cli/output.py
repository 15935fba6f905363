"""What a person sees: data on stdout, talk on stderr, tables, and texts of others made harmless for a terminal."""

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO

from mulligan.core.error import MulliganError
from mulligan.core.secret import Redactor, redacted
from mulligan.environ import refuses_color

__all__ = ["age", "drop", "flush", "harmless", "hidden", "hide", "may_color", "say", "secretive", "table", "write"]

_LAST_MIN = 24  # characters that the last column of a table needs to be read with pleasure
_ANY = 1_000_000

# control characters but tab and newline, direction marks, lone surrogates
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

# what the running command knows of secrets; a text may come from anywhere, also before its settings are read
_redactor: ContextVar[Redactor | None] = ContextVar("redactor", default=None)


@contextmanager
def secretive() -> Iterator[None]:
    """For one command: what it learns by `hide` is forgotten at its end."""
    token = _redactor.set(None)
    try:
        yield
    finally:
        _redactor.reset(token)


def hide(*urls: str) -> None:
    """From now on show no piece of the passwords of these URLs, whatever text it stands in."""
    _redactor.set(Redactor(urls))


def hidden(text: str) -> str:
    """A text of others, such as an error, without passwords. Bodies of messages are not for it: they are shown as they
    are.
    """
    return (_redactor.get() or redacted)(text)


def write(text: str) -> None:
    """Data: one or more lines on stdout, characters that its encoding doesn't have as escapes.

    Raises BrokenPipeError when its reader has gone, MulliganError when it is closed or full.
    """
    if sys.stdout is None:
        raise MulliganError("there is no stdout to print to. Leave it open, or redirect it to /dev/null.")
    with _taken():
        _put(sys.stdout, text + "\n")


def flush() -> None:
    """Have stdout take what was written to it. Raises BrokenPipeError when its reader has gone, MulliganError when it
    is full.
    """
    with _taken():
        if sys.stdout is not None:
            sys.stdout.flush()


@contextmanager
def _taken() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        drop()
        raise MulliganError(f"stdout can't be written: {exc.strerror or exc}. Redirect it elsewhere.") from None


def drop() -> None:
    """Drop what stdout did not take: else the interpreter's last flush tries again, and makes the exit code 120."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - lives as long as the process


def say(text: str) -> None:
    """Talk: a line on stderr. A stderr that is gone is not a reason to fail."""
    try:
        _put(sys.stderr, harmless(hidden(text)) + "\n")
    except (OSError, ValueError, AttributeError):
        return


def harmless(text: str) -> str:
    """`text` without a character that could colour a terminal, move its cursor or change the reading direction."""
    return text if text.isprintable() else _UNSAFE.sub(_escape, text)


def table(rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), columns: int | None = None) -> str:
    """Rows in columns, the first row being the head. right: columns that are aligned to the right.

    columns: characters of a line that a person sees; None: those of the terminal, and any number where there is none.
    In what is too narrow the last cell of a row goes on below itself or, where that is not enough, each row becomes a
    block with a line a cell.
    """
    columns = _columns() if columns is None else columns
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    left = columns - sum(widths[:-1]) - 2 * (len(widths) - 1)
    if left < min(widths[-1], _LAST_MIN) or (left < widths[-1] and len(widths) - 1 in right):
        return _blocks(rows, columns)
    lines = []
    for row in rows:
        cells = [cell.rjust(widths[at]) if at in right else cell.ljust(widths[at]) for at, cell in enumerate(row)]
        if len(row[-1]) > left:
            begin = "  ".join((*cells[:-1], ""))
            lines += _folded(begin, row[-1], columns)
        else:
            lines.append("  ".join(cells).rstrip())
    return "\n".join([_bold(lines[0]), *lines[1:]])


def _blocks(rows: Sequence[Sequence[str]], columns: int) -> str:
    """A block a row: its first cell, and below it the others with their heads. Empty ones are left out."""
    head, *others = rows
    widest = max(map(len, head[1:]), default=0)
    blocks = []
    for row in others:
        cells = [(f"  {name.ljust(widest)}  ", cell) for name, cell in zip(head[1:], row[1:], strict=True) if cell]
        lines = [line for begin, cell in cells for line in _folded(begin, cell, columns)]
        blocks.append("\n".join((_bold(row[0]), *lines)))
    return "\n".join(blocks) if others else _bold("  ".join(head))


def _folded(begin: str, text: str, columns: int) -> list[str]:
    """A text after something else, going on below its own beginning. A word stays whole: it may be copied."""
    lines = textwrap.wrap(
        text, columns, initial_indent=begin, subsequent_indent=" " * len(begin), break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
    return lines or [begin.rstrip()]


def _bold(line: str) -> str:
    return f"\x1b[1m{line}\x1b[0m" if may_color(sys.stdout) else line


def _columns() -> int:
    isatty = getattr(sys.stdout, "isatty", None)
    return shutil.get_terminal_size().columns if isatty and isatty() else _ANY


def age(seconds: float | None) -> str:
    """How old something is, in one unit: '12 s', '3 min', '5 h', '2 days'; '-' for unknown."""
    if seconds is None:
        return "-"
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    return f"{whole // 3600} h" if whole < 172_800 else f"{whole // 86_400} days"


def may_color(stream: object) -> bool:
    """Whether the stream is a terminal that wants colours (https://no-color.org)."""
    isatty = getattr(stream, "isatty", None)
    return bool(isatty and isatty()) and not refuses_color()


def _put(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:  # nothing of it is written
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")
