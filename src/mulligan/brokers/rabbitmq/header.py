"""Message attributes as headers of AMQP. Pure. What the types look like is in `amqp.field_table`.

A header that a task never looks at comes out of rejects with the type that its producer gave it. Kinds of another
broker ("Number" of SQS) travel in a small table of their own.
"""

from collections.abc import Mapping
from typing import Any

from mulligan.brokers.rabbitmq.amqp import field_table
from mulligan.brokers.rabbitmq.amqp.field_table import FLOATS, INTEGERS
from mulligan.core.message import AttributeValue, Typed

__all__ = ["foreign", "is_true", "plain", "unwrapped", "whole_number"]

_KIND, _VALUE = "mulligan-kind", "mulligan-value"
_MARK = _KIND.encode()


def foreign(item: Typed) -> Mapping[str, str | bytes]:
    """The table in which a value with the kind of another broker travels; `unwrapped` gives it back."""
    return {_KIND: item.kind, _VALUE: item.value}


def unwrapped(item: AttributeValue) -> AttributeValue:
    """The value in a table of `foreign`; any other value unchanged. Raises ValueError for a damaged table."""
    if isinstance(item, Typed) and item.kind == "F" and isinstance(item.value, bytes) and _MARK in item.value[:20]:
        inside = field_table.decode(item.value, Typed)
        kind, content = inside.get(_KIND), inside.get(_VALUE)
        if len(inside) == 2 and isinstance(kind, str) and isinstance(content, str | bytes):
            return Typed(kind, content)
    return item


def is_true(item: AttributeValue | None) -> bool:
    """Whether a header is AMQP's true."""
    return isinstance(item, Typed) and item.kind == "t" and item.value == "true"


def whole_number(item: AttributeValue | None) -> int | None:
    """The number in a header of an integer type, else None."""
    if isinstance(item, Typed) and item.kind in INTEGERS and isinstance(item.value, str):
        return int(item.value)
    return None


def plain(item: AttributeValue) -> Any:
    """A header as a Python value: number, boolean, list or dict. For tasks and for people; AMQP's type is lost."""
    if not isinstance(item, Typed):
        return item
    kind, content = item.kind, item.value
    if isinstance(content, str):
        if kind == "t":
            return content == "true"
        if kind in INTEGERS:
            return int(content)
        if kind in FLOATS or kind == "D":
            return float(content)
        return None if kind == "V" else content
    if kind == "F":
        return {name: plain(one) for name, one in field_table.decode(content, Typed).items()}
    return [plain(one) for one in field_table.items(content, Typed)] if kind == "A" else content
