"""Attributes as one text: JSON in ASCII, so that even a lone surrogate comes back as it was sent.

A text is itself; anything else is an array with a tag: ["b", base64], ["t", kind, text], ["tb", kind, base64].
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

from mulligan.core.message import AttributeValue, Typed

__all__ = ["decode", "encode"]


def encode(attributes: Mapping[str, AttributeValue]) -> str | None:
    """The text; None when there are no attributes."""
    if not attributes:
        return None
    return json.dumps({name: _encoded(item) for name, item in attributes.items()}, separators=(",", ":"))


def decode(text: str | None) -> dict[str, AttributeValue]:
    """The attributes. Raises ValueError for a text that `encode` didn't write."""
    if text is None:
        return {}
    return {name: _decoded(item) for name, item in json.loads(text).items()}


def _encoded(item: AttributeValue) -> Any:
    match item:
        case str():
            return item
        case bytes():
            return ["b", _base64(item)]
        case Typed(kind, str(content)):
            return ["t", kind, content]
        case Typed(kind, bytes(content)):
            return ["tb", kind, _base64(content)]
    raise TypeError(f"an attribute has the type {type(item).__name__}, expected str, bytes or Typed")


def _decoded(item: Any) -> AttributeValue:
    match item:
        case str():
            return item
        case ["b", str(content)]:
            return base64.b64decode(content)
        case ["t", str(kind), str(content)]:
            return Typed(kind, content)
        case ["tb", str(kind), str(content)]:
            return Typed(kind, base64.b64decode(content))
    raise ValueError(f"an attribute is {item!r}")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
