"""The layout of one log line: text for a person, JSON for a program. Pure.

Whatever the texts hold, one record stays one line: control characters are escaped, and a traceback follows indented.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from mulligan.core.secret import redacted

__all__ = ["JsonLayout", "TextLayout", "escaped"]

Hide = Callable[[str], str]
"""Takes secrets out of a text."""

# control characters, direction marks and line separators of Unicode, lone surrogates
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_COLORS = {"debug": "\x1b[2m", "info": "", "warning": "\x1b[33m", "error": "\x1b[31m"}
_RESET = "\x1b[0m"
_DIM = "\x1b[2m"
_OWN = frozenset({"event", "level", "at", "logger", "pid", "worker", "exception"})


def escaped(text: str) -> str:
    """`text` without a character that could end the line, colour it or move the cursor."""
    return text if text.isprintable() else _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")


class TextLayout:
    """`time level [worker] sentence key=value ...`. A record is a mapping with event, level, at (epoch seconds)."""

    def __init__(self, *, has_color: bool, has_date: bool, hide: Hide = redacted) -> None:
        self._hide = hide
        self._has_color = has_color
        self._has_date = has_date
        self._second = -1
        self._stamp = ""

    def __call__(self, record: Mapping[str, Any]) -> str:
        """The line, its end included."""
        level = str(record["level"])
        worker = record.get("worker")
        fields = "".join([f" {escaped(key)}={self._short(item)}" for key, item in record.items() if key not in _OWN])
        text = escaped(self._hide(str(record["event"])))
        who = "" if worker is None else f"w{worker} "
        stamp, name = self._time(record["at"]), f"{level:<7}"
        if self._has_color:
            color = _COLORS.get(level, "")
            stamp, name = f"{_DIM}{stamp}{_RESET}", f"{color}{name}{_RESET}" if color else name
            if level == "error":
                text = f"{color}{text}{_RESET}"
        return f"{stamp} {name} {who}{text}{fields}\n{self._traceback(record.get('exception'))}"

    def _time(self, at: float) -> str:
        second = int(at)
        if second != self._second:
            self._second = second
            moment = datetime.fromtimestamp(second, UTC)
            self._stamp = (
                moment.strftime("%Y-%m-%dT%H:%M:%SZ") if self._has_date else (moment.astimezone().strftime("%H:%M:%S"))
            )
        return self._stamp

    def _short(self, item: Any) -> str:
        text = escaped(self._hide(_text(item)))
        if " " in text or '"' in text or not text:
            return '"' + text.replace('"', '\\"') + '"'
        return text

    def _traceback(self, text: Any) -> str:
        if not text:
            return ""
        # as a whole: a password may have a line break
        return "".join(f"    | {escaped(line)}\n" for line in self._hide(str(text)).splitlines())


class JsonLayout:
    """One object a line: ts (RFC 3339, UTC), level, event, logger, pid, worker, then all fields."""

    def __init__(self, *, hide: Hide = redacted) -> None:
        self._hide = hide

    def __call__(self, record: Mapping[str, Any]) -> str:
        """The line, its end included."""
        moment = datetime.fromtimestamp(record["at"], UTC)
        data = {"ts": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
        for key, item in record.items():
            if key != "at":
                data[str(key)] = self._safe(item)
        try:
            return msgspec.json.encode(data, enc_hook=self._plain).decode() + "\n"
        except (UnicodeError, TypeError, ValueError, RecursionError, OverflowError):
            # lone surrogates, keys that are not text, numbers beyond 64 bits: slower, and it takes anything
            return json.dumps({key: self._simple(item) for key, item in data.items()}) + "\n"

    def _safe(self, item: Any) -> Any:
        """The item as JSON has it, without secrets, also in what it holds."""
        if isinstance(item, str):
            return self._hide(item)
        if item is None or isinstance(item, bool | int | float):
            return item
        try:
            return self._hidden(msgspec.to_builtins(item, enc_hook=self._plain))
        except (UnicodeError, TypeError, ValueError, RecursionError, OverflowError):
            return self._plain(item)

    def _hidden(self, item: Any) -> Any:
        match item:
            case str():
                return self._hide(item)
            case dict():
                return {self._hidden(key): self._hidden(one) for key, one in item.items()}
            case list() | tuple():
                return [self._hidden(one) for one in item]
            case _:
                return item

    def _simple(self, item: Any) -> str | int | None:
        if item is None or isinstance(item, str):
            return item
        if isinstance(item, int) and abs(item) < 2**63:
            return item
        return self._plain(item)

    def _plain(self, item: Any) -> str:
        return self._hide(_plain(item))


def _plain(item: Any) -> str:
    try:
        return repr(item)
    except Exception:  # noqa: BLE001 - a value that a user logs may raise in its __repr__
        return f"<{type(item).__name__}>"


def _text(item: Any) -> str:
    return item if isinstance(item, str) else _plain(item)
