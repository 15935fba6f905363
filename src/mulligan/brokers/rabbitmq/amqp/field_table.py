"""AMQP's field tables, of every type and without loss. Pure.

Text and bytes are themselves. Anything else is a `TypedValue`: AMQP's letter of the type as its kind, and the value as
text or bytes, so that a value nobody looks at is encoded with the type that it was decoded with:

    t "true"   b B s u I i l L "-5"   f d "1.5"   D "1.50"   T "1700000000"   V ""   A F (array, table) bytes

The caller brings the class of these values, so that a decoded table needs no second pass.
"""

from collections.abc import Callable, Iterator, Mapping
from struct import Struct
from struct import error as struct_error
from typing import Any, Protocol, TypeVar

__all__ = ["FLOATS", "INTEGERS", "NameTooLongError", "TypedValue", "decode", "encode", "items"]

_U32 = Struct(">I")
_DECIMAL = Struct(">Bi")
INTEGERS: Mapping[str, Struct] = {
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
"""By kind."""
FLOATS: Mapping[str, Struct] = {"f": Struct(">f"), "d": Struct(">d")}
"""By kind."""
_SIZED = "SxAF"


class TypedValue(Protocol):
    """A value that is neither plain text nor plain bytes."""

    @property
    def kind(self) -> str:
        """AMQP's letter of the type; `encode` asks its `foreign` about any other."""

    @property
    def value(self) -> str | bytes:
        """Text; the encoded content of arrays and tables; the bytes of a long string that is not UTF-8."""


T = TypeVar("T", bound=TypedValue)
Make = Callable[[str, str | bytes], T]


class NameTooLongError(ValueError):
    """A field's name has more than the 255 bytes of AMQP."""

    def __init__(self, name: str, size_bytes: int) -> None:
        self.name = name
        self.size_bytes = size_bytes
        super().__init__(f"the field name {name[:40]!r}... has {size_bytes} bytes, AMQP allows 255")


def decode(raw: bytes, make: Make[T]) -> dict[str, str | bytes | T]:
    """The fields of a table's content (without its length). make: kind and value to a `TypedValue`.

    Raises ValueError when the table is damaged.
    """
    found: dict[str, str | bytes | T] = {}
    at, size = 0, len(raw)
    try:
        while at < size:
            start = at + 1
            at = start + raw[at]
            name = raw[start:at].decode("utf-8", "surrogateescape")
            if raw[at] == 83:  # S: nearly every value
                start = at + 5
                at = start + _U32.unpack_from(raw, at + 1)[0]
                found[name] = _text(raw[start:at], make)
            else:
                found[name], at = _value(raw, at, make)
    except (IndexError, struct_error) as exc:
        raise ValueError(f"a header table can't be read: {exc!r}") from None
    if at != size:
        raise ValueError(f"a header table of {size} bytes ends at {at}")
    return found


def encode(fields: Mapping[str, str | bytes | T], foreign: Callable[[T], Mapping[str, str | bytes]]) -> bytes:
    """The content of a table. foreign: the nested table to send for a value that has no type of AMQP's.

    Raises NameTooLongError.
    """
    parts: list[bytes] = []
    for name, item in fields.items():
        raw_name = name.encode("utf-8", "surrogateescape" if _is_escaped(name) else "surrogatepass")
        if len(raw_name) > 255:
            raise NameTooLongError(name, len(raw_name))
        parts.append(bytes((len(raw_name),)))
        parts.append(raw_name)
        parts.append(_encoded(item, foreign))
    return b"".join(parts)


def items(raw: bytes, make: Make[T]) -> Iterator[str | bytes | T]:
    """The values of an array's content (without its length). Raises ValueError, IndexError or struct.error."""
    at = 0
    while at < len(raw):
        item, at = _value(raw, at, make)
        yield item


def _value(raw: bytes, at: int, make: Make[T]) -> tuple[str | bytes | T, int]:
    """The value that begins with its letter at `at`, and where it ends."""
    kind = chr(raw[at])
    at += 1
    if kind in _SIZED:
        start = at + 4
        end = start + _U32.unpack_from(raw, at)[0]
        content = raw[start:end]
        if end > len(raw):
            raise ValueError(f"a value of {end - start} bytes goes beyond its end")
        return _text(content, make) if kind == "S" else content if kind == "x" else make(kind, content), end
    if kind in INTEGERS:
        form = INTEGERS[kind]
        return make(kind, str(form.unpack_from(raw, at)[0])), at + form.size
    if kind in FLOATS:
        form = FLOATS[kind]
        return make(kind, repr(form.unpack_from(raw, at)[0])), at + form.size
    if kind == "t":
        return make(kind, "true" if raw[at] else "false"), at + 1
    if kind == "V":
        return make(kind, ""), at
    if kind == "D":
        return make(kind, _decimal_text(*_DECIMAL.unpack_from(raw, at))), at + _DECIMAL.size
    raise ValueError(f"a value has the unknown type {kind!r}")


def _text(raw: bytes, make: Make[T]) -> str | T:
    """AMQP's long string may hold any bytes."""
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return make("S", raw)


def _is_escaped(name: str) -> bool:
    return not name.isascii() and any("\udc80" <= char <= "\udcff" for char in name)


def _encoded(item: str | bytes | T, foreign: Callable[[T], Mapping[str, str | bytes]]) -> bytes:
    if isinstance(item, str):
        return _sized(b"S", item.encode("utf-8", "surrogatepass"))
    if isinstance(item, bytes):
        return _sized(b"x", item)
    encoder = _ENCODERS.get(item.kind)
    if encoder is not None:
        try:
            return item.kind.encode() + encoder(item.kind, item.value)
        except (ValueError, TypeError, LookupError, ArithmeticError, struct_error):
            pass  # a kind of another system that only looks like a letter of AMQP's
    return _sized(b"F", encode(foreign(item), foreign))


def _sized(kind: bytes, content: bytes) -> bytes:
    return kind + _U32.pack(len(content)) + content


def _number(kind: str, content: Any) -> bytes:
    return INTEGERS[kind].pack(int(_as_text(content)))


def _float(kind: str, content: Any) -> bytes:
    return FLOATS[kind].pack(float(_as_text(content)))


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
    # decoded as a check, because the server closes the channel on one that it can't read
    raw = _raw(kind, content)
    if kind == "F":
        decode(content, _Checked)
    else:
        list(items(content, _Checked))
    return raw


class _Checked:
    """A value that is only checked."""

    def __init__(self, kind: str, value: str | bytes) -> None:
        self.kind = kind
        self.value = value


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
    **dict.fromkeys(INTEGERS, _number),
    **dict.fromkeys(FLOATS, _float),
    "t": _bool,
    "V": _void,
    "S": _raw,
    "A": _nested,
    "F": _nested,
    "D": _decimal,
}
