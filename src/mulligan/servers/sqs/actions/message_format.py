"""What a message may look like: characters, sizes, attributes, checksums. Pure; the first violation is raised."""

import hashlib
import re
import struct
from collections.abc import Iterable, Mapping

from mulligan.core.message import AttributeValue as CoreValue
from mulligan.core.message import Typed
from mulligan.servers.sqs.store.protocol import EMPTY
from mulligan.servers.sqs.wire.error import SqsError, invalid_parameter, invalid_parameter_for, missing_parameter
from mulligan.servers.sqs.wire.schema import AttributeValue

__all__ = [
    "attributes_md5",
    "check_body",
    "check_fifo_id",
    "checked_attributes",
    "checked_trace",
    "md5",
    "select",
    "size_bytes",
    "wire",
]

ATTRIBUTES_MAX = 10
NAME_MAX = 256
ALLOWED = "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAME = re.compile(r"[\w.\-]+")  # letters of any language, whatever the service's text says
_ALL = ("All", "*", ".*")
_RESERVED = ("aws.", "amazon.")
_FIFO_ID = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DIGITS_MAX = 38


def check_body(body: str | None) -> None:
    """Refuse a body that is missing, empty or holds a character outside the allowed set."""
    if not body:
        raise missing_parameter("MessageBody")
    if body.isascii() and body.isprintable():
        return
    if found := _FORBIDDEN.search(body):
        raise SqsError(
            "InvalidMessageContents",
            f"Invalid binary character '#x{ord(found.group()):X}' was found in the message body, the set of allowed "
            f"characters is {ALLOWED}",
        )


def check_fifo_id(name: str, text: str) -> None:
    """Refuse a MessageGroupId or MessageDeduplicationId that isn't 1 to 128 letters, digits or punctuation marks."""
    if not _FIFO_ID.fullmatch(text):
        raise invalid_parameter_for(
            name, text, f"{name} can only include alphanumeric and punctuation characters. 1 to 128 in length."
        )


def checked_attributes(given: Mapping[str, AttributeValue] | None) -> Mapping[str, CoreValue]:
    """The attributes as the project's own values; plain text is str, plain bytes are bytes, the rest is Typed."""
    if not given:
        return EMPTY
    if len(given) > ATTRIBUTES_MAX:
        raise invalid_parameter(
            f"Number of message attributes [{len(given)}] exceeds the allowed maximum [{ATTRIBUTES_MAX}]."
        )
    return {name: _checked_attribute(name, item) for name, item in given.items()}


def _checked_attribute(name: str, item: AttributeValue) -> CoreValue:
    _check_name(name)
    kind = item.data_type
    if not kind:
        raise invalid_parameter(f"The message attribute '{name}' must contain a non-empty message attribute type.")
    base, _, label = kind.partition(".")
    if base not in {"String", "Number", "Binary"} or ("." in kind and not label):
        raise invalid_parameter(
            f"The type of message (user) attribute '{name}' is invalid. You must use only the following supported "
            "type prefixes: Binary, Number, String."
        )
    if len(kind) > NAME_MAX:
        raise invalid_parameter(f"The type of message (user) attribute '{name}' must be shorter than 256 bytes.")
    if item.string_list_values or item.binary_list_values:
        raise SqsError(
            "UnsupportedOperation", "Message attribute list values in SendMessage operation are not supported."
        )
    text, data = item.string_value, item.binary_value
    if base == "Binary":
        if not data or text is not None:
            raise _empty(name, base)
        return data if kind == base else Typed(kind, data)
    if not text or data is not None:
        raise _empty(name, base)
    if not (text.isascii() and text.isprintable()) and (found := _FORBIDDEN.search(text)):
        raise invalid_parameter(
            f"Invalid binary character '#x{ord(found.group()):X}' was found in the message attribute '{name}', the set "
            f"of allowed characters is {ALLOWED}"
        )
    if base == "Number":
        _check_number(name, text)
    return text if kind == "String" else Typed(kind, text)


def _check_name(name: str) -> None:
    lower = name.lower()
    if not name or len(name) > NAME_MAX:
        raise invalid_parameter(f"Message (user) attribute names must be between 1 and {NAME_MAX} characters long.")
    if not _NAME.fullmatch(name):
        raise invalid_parameter(
            "Message (user) attributes name can only contain upper and lower score characters, digits, periods, "
            "hyphens and underscores."
        )
    if lower.startswith(_RESERVED) or name[0] == "." or name[-1] == "." or ".." in name:
        raise invalid_parameter(
            "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These strings are reserved for "
            "internal use. Additionally, they cannot start or end with '.', or have periods in succession."
        )


def _check_number(name: str, text: str) -> None:
    found = _NUMBER.fullmatch(text)
    if found is None or len(re.sub(r"\D", "", found.group(1)).strip("0")) > _DIGITS_MAX:
        raise invalid_parameter(f"Can't cast the value of message (user) attribute '{name}' to a number.")


def _empty(name: str, base: str) -> SqsError:
    return invalid_parameter(f"Message (user) attribute '{name}' must contain a non-empty value of type '{base}'.")


def checked_trace(given: Mapping[str, AttributeValue] | None) -> str | None:
    """The AWSTraceHeader, the one system attribute that a sender may set."""
    if not given:
        return None
    if unknown := [name for name in given if name != "AWSTraceHeader"]:
        raise invalid_parameter(f"Message system attribute name '{unknown[0]}' is invalid.")
    item = given["AWSTraceHeader"]
    if item.data_type != "String":
        raise invalid_parameter("Message system attribute 'AWSTraceHeader' must be of type String.")
    if not item.string_value:
        raise invalid_parameter(
            "Message system attribute 'AWSTraceHeader' must contain a non-empty value of type 'String'."
        )
    return item.string_value


def wire(item: CoreValue) -> tuple[str, str | bytes]:
    """Type and value of an attribute as the service knows them."""
    if isinstance(item, Typed):
        return item.kind, item.value
    return ("String" if isinstance(item, str) else "Binary"), item


def size_bytes(body: bytes, attributes: Mapping[str, CoreValue]) -> int:
    """What counts against MaximumMessageSize: the body, and each attribute's name, type and value."""
    size = len(body)
    for name, item in attributes.items():
        kind, content = wire(item)
        data = content.encode() if isinstance(content, str) else content
        size += len(name.encode()) + len(kind.encode()) + len(data)
    return size


def md5(data: bytes) -> str:
    """The checksum that the service answers with: not a protection, only a check of the transport."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def attributes_md5(attributes: Mapping[str, CoreValue]) -> str:
    """The checksum over attributes: per attribute in order of names, length-prefixed name, type and value."""
    parts: list[bytes] = []
    for name in sorted(attributes):
        kind, content = wire(attributes[name])
        parts += [_prefixed(name.encode()), _prefixed(kind.encode())]
        # the byte says how the value is transported: 1 as text, 2 as bytes
        parts.append(
            b"\x01" + _prefixed(content.encode()) if isinstance(content, str) else b"\x02" + _prefixed(content)
        )
    return md5(b"".join(parts))


def _prefixed(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def select(attributes: Mapping[str, CoreValue], wanted: Iterable[str]) -> Mapping[str, CoreValue]:
    """The attributes that a receive asked for: by name, by `prefix.*`, or all by `All`, `*` or `.*`."""
    names = set(wanted)
    if not attributes or not names.isdisjoint(_ALL):
        return attributes
    prefixes = tuple(name[:-2] for name in names if name.endswith(".*"))
    return {
        name: item for name, item in attributes.items() if name in names or (prefixes and name.startswith(prefixes))
    }
