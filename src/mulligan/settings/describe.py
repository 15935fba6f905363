"""Settings put into words: what a value may be, what it is, and what is wrong with one.

Pure. Used by `load` for its problems, by `mulligan settings` and by the generator of docs/settings.md.
"""

import types
import typing
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from pydantic.fields import FieldInfo

from mulligan.core.secret import redacted, redacted_url
from mulligan.settings.model import ENVIRONMENT_PREFIX, Settings

__all__ = ["NAMES", "closest", "default_of", "expected", "help_of", "plain", "shown", "unit_of", "variable"]

NAMES: tuple[str, ...] = tuple(name.upper() for name in Settings.model_fields)
"""Upper-case names of all settings, in the order of the reference page."""

_UNITS = {"_S": "seconds", "_BYTES": "bytes", "_DAYS": "days"}
_QUEUE = "a queue's name (1 to 80 letters, digits, '_', '-', '.'), or on SQS its URL or ARN"
_SPECIAL = {
    "COMMON_PREFIX": "text of 1 to 60 letters, digits, '_' or '-'",
    "REQUESTS_QUEUE": f"None or {_QUEUE}",
    "REJECTS_QUEUE": f"None or {_QUEUE}",
    "DEAD_QUEUE": f"None or {_QUEUE}",
    "BROKER_URL": "a URL such as 'sqlite:///var/mulligan.db'",
    "LEDGER_URL": "a URL such as 'sqlite:///var/ledger.db', or 'none'",
    "LOG_FILE": "None or a file's path",
    "TASKS_XML_FILE": "a file's path",
    "BODIES_URL": "a folder's path",
    "MIDDLEWARE": "names such as 'package.module:function' in a tuple, or with commas in one text",
    "LISTENERS": "names such as 'package.module:function' in a tuple, or with commas in one text",
}
_SHOWN_MAX = 100
_URLS = frozenset(name for name in NAMES if name.endswith("_URL"))


def expected(name: str) -> str:
    """What the setting may be, such as 'a whole number from 1 to 1000'."""
    if name in _SPECIAL:
        return _SPECIAL[name]
    field = _field(name)
    kind = _kind(field.annotation)
    if isinstance(kind, tuple):
        return "one of " + ", ".join(repr(choice) for choice in kind)
    if kind is bool:
        return "True or False"
    if kind is str:
        return "text" + _lengths(field)
    unit = unit_of(name)
    noun = "a whole number" if kind is int else "a number"
    return noun + (f" of {unit}" if unit else "") + _bounds(field)


def unit_of(name: str) -> str:
    """The unit in the setting's name, '' when it has none."""
    return next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), "")


def help_of(name: str) -> str:
    """One line on what the setting does."""
    return _field(name).description or ""


def default_of(name: str) -> Any:
    """The value that holds when nobody sets it."""
    return _field(name).default


def variable(name: str) -> str:
    """The environment variable of the setting."""
    return ENVIRONMENT_PREFIX + name


def plain(name: str, value: Any) -> Any:
    """A setting's value without passwords, of the type that it has."""
    if isinstance(value, str):
        return redacted_url(value) if name in _URLS or "://" in value else value
    return type(value)(plain(name, one) for one in value) if type(value) in (tuple, list) else value


def shown(name: str, value: Any) -> str:
    """A setting's value for a person: as Python writes it, without passwords, cut to a line."""
    safe = plain(name, value)
    if name in _URLS and not _is_plain(safe):  # a URL in bytes: nobody knows where it ends
        return f"of the type {type(value).__name__}"
    try:
        text = redacted(repr(safe))
    except Exception as exc:  # noqa: BLE001 - a value of the user's own class may raise anything in its __repr__
        text = f"<{type(value).__name__} whose repr raises {type(exc).__name__}>"
    text = text.replace("\n", " ")
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 4] + " ..."


def _is_plain(value: Any) -> bool:
    if type(value) in (tuple, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float)


def closest(name: str, known: Sequence[str]) -> str:
    """' Did you mean X?' for the known name that is nearest to `name`, or ''. What all variables begin with makes none
    nearer.
    """
    by_rest = {one.removeprefix(ENVIRONMENT_PREFIX): one for one in known}
    matches = get_close_matches(name.removeprefix(ENVIRONMENT_PREFIX), by_rest, n=1, cutoff=0.6)
    return f" Did you mean {by_rest[matches[0]]}?" if matches else ""


def _field(name: str) -> FieldInfo:
    return Settings.model_fields[name.lower()]


def _kind(annotation: Any) -> Any:
    """int, float, bool or str; for a Literal the tuple of its choices."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _kind(typing.get_args(annotation)[0])
    if origin is typing.Literal:
        return typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        return _kind(typing.get_args(annotation)[0])
    return annotation


def _bounds(field: FieldInfo) -> str:
    limits = {key: getattr(item, key) for item in field.metadata for key in ("ge", "gt", "le") if hasattr(item, key)}
    low = f"{limits['ge']:,}" if "ge" in limits else f"more than {limits['gt']:,}" if "gt" in limits else ""
    high = f"{limits['le']:,}" if "le" in limits else ""
    if "ge" in limits and high:
        return f" from {low} to {high}"
    if low and high:
        return f", {low}, at most {high}"
    if "ge" in limits:
        return f", at least {low}"
    return f", {low}" if low else f", at most {high}" if high else ""


def _lengths(field: FieldInfo) -> str:
    longest = next((item.max_length for item in field.metadata if hasattr(item, "max_length")), None)
    return f" of 1 to {longest} characters" if longest else " that is not empty"
