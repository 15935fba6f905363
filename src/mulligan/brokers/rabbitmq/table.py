"""Headers between AMQP's field table and attributes, of every type and without loss. Pure.

Text and bytes are themselves. Anything else is `Typed` with AMQP's letter of the type as its kind and the value as
text, so that a header that a task never looks at comes out of rejects with the type that its producer gave it:

    t "true"   b B s u I i l L "-5"   f d "1.5"   D "1.50"   T "1700000000"   V ""   A F (array, table) bytes

Kinds of another broker ("Number" of SQS) travel in a small table of their own.
"""

from collections.abc import Callable, Iterator, Mapping
from struct import Struct
from struct import error as struct_error
from typing import Any

from mulligan.core.message import AttributeValue, Typed

__all__ = ["NameTooLongError", "decode", "encode", "is_true", "plain", "unwrapped", "whole_number"]

_U32 = Struct(">I")
_DECIMAL = Struct(">Bi")
_NUMBERS: Mapping[str, Struct] = {
    "b": Struct(">b"),
    "B": Struct(">B"),
    "s": Struct(">h"),
    "u": Struct(">H"),
    "I": Struct(">i"),
    "i": Struct(">I"),
    "l": Struct(">q"),
    "L": Struct(">q"),
    "T": Struct(">Q"),
}
_FLOATS: Mapping[str, Struct] = {"f": Struct(">f"), "d": Struct(">d")}
_SIZED = "SxAF"

_KIND, _VALUE = "mulligan-kind", "mulligan-value"
_MARK = _KIND.encode()


class NameTooLongError(ValueError):
    """A header's name has more than the 255 bytes that AMQP can say."""


def decode(raw: bytes) -> dict[str, AttributeValue]:
    """The attributes of a table's content (without its length). Raises ValueError when it is damaged."""
    found: dict[str, AttributeValue] = {}
    at, size = 0, len(raw)
    try:
        while at < size:
            start = at + 1
            at = start + raw[at]
            name = raw[start:at].decode("utf-8", "surrogateescape")
            if raw[at] == 83:  # S: nearly all there are
                start = at + 5
                at = start + _U32.unpack_from(raw, at + 1)[0]
                found[name] = _text(raw[start:at])
            else:
                found[name], at = _value(raw, at)
    except (IndexError, struct_error) as exc:
        raise ValueError(f"a header table can't be read: {exc!r}") from None
    if at != size:
        raise ValueError(f"a header table of {size} bytes ends at {at}")
    return found


def encode(attributes: Mapping[str, AttributeValue]) -> bytes:
    """The content of a table. Raises NameTooLongError."""
    parts: list[bytes] = []
    for name, item in attributes.items():
        raw_name = name.encode("utf-8", "surrogateescape" if _is_escaped(name) else "surrogatepass")
        if len(raw_name) > 255:
            raise NameTooLongError(f"the name of attribute {name[:40]!r}... has {len(raw_name)} bytes, AMQP takes 255")
        parts.append(bytes((len(raw_name),)))
        parts.append(raw_name)
        parts.append(_encoded(item))
    return b"".join(parts)


def is_true(item: AttributeValue | None) -> bool:
    """Whether a header is AMQP's true."""
    return isinstance(item, Typed) and item.kind == "t" and item.value == "true"


def whole_number(item: AttributeValue | None) -> int | None:
    """The number in a header of an integer type, else None."""
    if isinstance(item, Typed) and item.kind in _NUMBERS and isinstance(item.value, str):
        return int(item.value)
    return None


def unwrapped(item: AttributeValue) -> AttributeValue:
    """A header that carries the kind of another broker, as it was; any other unchanged."""
    if isinstance(item, Typed) and item.kind == "F" and isinstance(item.value, bytes) and _MARK in item.value[:20]:
        inside = decode(item.value)
        kind, content = inside.get(_KIND), inside.get(_VALUE)
        if len(inside) == 2 and isinstance(kind, str) and isinstance(content, str | bytes):
            return Typed(kind, content)
    return item


def plain(item: AttributeValue) -> Any:
    """A header as Python has it: numbers, booleans, lists and dicts. For tasks and for people; types are lost."""
    if not isinstance(item, Typed):
        return item
    kind, content = item.kind, item.value
    if isinstance(content, str):
        if kind == "t":
            return content == "true"
        if kind in _NUMBERS:
            return int(content)
        if kind in _FLOATS or kind == "D":
            return float(content)
        return None if kind == "V" else content
    if kind == "F":
        return {name: plain(one) for name, one in decode(content).items()}
    return [plain(one) for one in _items(content)] if kind == "A" else content


def _items(raw: bytes) -> Iterator[AttributeValue]:
    at = 0
    while at < len(raw):
        item, at = _value(raw, at)
        yield item


def _value(raw: bytes, at: int) -> tuple[AttributeValue, int]:
    """One value, its letter first, and where it ends."""
    kind = chr(raw[at])
    at += 1
    if kind in _SIZED:
        start = at + 4
        end = start + _U32.unpack_from(raw, at)[0]
        content = raw[start:end]
        if end > len(raw):
            raise ValueError(f"a value of {end - start} bytes goes beyond its end")
        return _text(content) if kind == "S" else content if kind == "x" else Typed(kind, content), end
    if kind in _NUMBERS:
        form = _NUMBERS[kind]
        return Typed(kind, str(form.unpack_from(raw, at)[0])), at + form.size
    if kind in _FLOATS:
        form = _FLOATS[kind]
        return Typed(kind, repr(form.unpack_from(raw, at)[0])), at + form.size
    if kind == "t":
        return Typed(kind, "true" if raw[at] else "false"), at + 1
    if kind == "V":
        return Typed(kind, ""), at
    if kind == "D":
        return Typed(kind, _decimal_text(*_DECIMAL.unpack_from(raw, at))), at + _DECIMAL.size
    raise ValueError(f"a value has the unknown type {kind!r}")


def _text(raw: bytes) -> AttributeValue:
    """AMQP's long string may hold any bytes."""
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return Typed("S", raw)


def _is_escaped(name: str) -> bool:
    return not name.isascii() and any("\udc80" <= char <= "\udcff" for char in name)


def _encoded(item: AttributeValue) -> bytes:
    if isinstance(item, str):
        return _sized(b"S", item.encode("utf-8", "surrogatepass"))
    if isinstance(item, bytes):
        return _sized(b"x", item)
    encoder = _ENCODERS.get(item.kind)
    if encoder is not None:
        try:
            return item.kind.encode() + encoder(item.kind, item.value)
        except (ValueError, TypeError, LookupError, ArithmeticError, struct_error):
            pass  # the kind of somebody else that only looks like a letter of AMQP's
    return _sized(b"F", encode({_KIND: item.kind, _VALUE: item.value}))


def _sized(kind: bytes, content: bytes) -> bytes:
    return kind + _U32.pack(len(content)) + content


def _number(kind: str, content: Any) -> bytes:
    return _NUMBERS[kind].pack(int(_as_text(content)))


def _float(kind: str, content: Any) -> bytes:
    return _FLOATS[kind].pack(float(_as_text(content)))


def _bool(_: str, content: Any) -> bytes:
    return {"true": b"\1", "false": b"\0"}[_as_text(content)]


def _void(_: str, content: Any) -> bytes:
    if content != "":
        raise ValueError("void has no value")
    return b""


def _raw(_: str, content: Any) -> bytes:
    if not isinstance(content, bytes):
        raise TypeError("not bytes")
    return _U32.pack(len(content)) + content


def _nested(kind: str, content: Any) -> bytes:
    # read once, because the broker would close the channel for one that can't be read
    raw = _raw(kind, content)
    if kind == "F":
        decode(content)
    else:
        list(_items(content))
    return raw


def _decimal(_: str, content: Any) -> bytes:
    whole, _point, digits = _as_text(content).partition(".")
    return _DECIMAL.pack(len(digits), int(whole + digits))


def _decimal_text(scale: int, number: int) -> str:
    if scale == 0:
        return str(number)
    digits = f"{abs(number):0{scale + 1}d}"
    return f"{'-' if number < 0 else ''}{digits[:-scale]}.{digits[-scale:]}"


def _as_text(content: Any) -> str:
    if not isinstance(content, str):
        raise TypeError("not text")
    return content


_ENCODERS: Mapping[str, Callable[[str, Any], bytes]] = {
    **dict.fromkeys(_NUMBERS, _number),
    **dict.fromkeys(_FLOATS, _float),
    "t": _bool,
    "V": _void,
    "S": _raw,
    "A": _nested,
    "F": _nested,
    "D": _decimal,
}
