"""How a message stands in requests and answers: characters, sizes, attributes, checksums, receipt handles. Pure.

A receipt handle says which receive of which message of which queue it belongs to. It is opaque to the client and
checked here. It carries the time of the receive, because the twelve hours of a lease count from there, and the time at
which the queue was created, because a later queue of the same name is another queue.
"""

import hashlib
import re
import struct
from binascii import a2b_base64, b2a_base64, crc32
from collections.abc import Iterable, Mapping, Sequence

from mulligan.core.message import AttributeValue as CoreValue
from mulligan.core.message import Typed
from mulligan.core.value import value
from mulligan.servers.sqs.store.protocol import EMPTY, Queue, Record
from mulligan.servers.sqs.wire.error import SqsError, invalid_parameter, invalid_parameter_for, missing_parameter
from mulligan.servers.sqs.wire.schema import AttributeValue

__all__ = [
    "Receipt",
    "attributes_md5",
    "check_body",
    "check_fifo_id",
    "checked_attributes",
    "checked_trace",
    "md5",
    "parse_receipt",
    "receipt_handles",
    "select",
    "size_bytes",
    "typed",
]

_ATTRIBUTES_MAX = 10
_NAME_MAX = 256
_ALLOWED = "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAME = re.compile(r"[\w.\-]+")  # letters of any language, despite the service's text
_ALL = ("All", "*", ".*")
_RESERVED = ("aws.", "amazon.")
_FIFO_ID = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DIGITS_MAX = 38


def check_body(body: str | None) -> None:
    """Raises SqsError for a body that is missing, empty or has a character outside the allowed set."""
    if not body:
        raise missing_parameter("MessageBody")
    if body.isascii() and body.isprintable():
        return
    if found := _FORBIDDEN.search(body):
        raise SqsError(
            "InvalidMessageContents",
            f"Invalid binary character '#x{ord(found.group()):X}' was found in the message body, the set of allowed "
            f"characters is {_ALLOWED}",
        )


def check_fifo_id(name: str, text: str) -> None:
    """Raises SqsError for an id that is not 1 to 128 letters, digits or punctuation marks. name: of the parameter."""
    if not _FIFO_ID.fullmatch(text):
        raise invalid_parameter_for(
            name, text, f"{name} can only include alphanumeric and punctuation characters. 1 to 128 in length."
        )


def checked_attributes(given: Mapping[str, AttributeValue] | None) -> Mapping[str, CoreValue]:
    """The attributes as core values: plain text is str, plain bytes are bytes, the rest is Typed. Raises SqsError."""
    if not given:
        return EMPTY
    if len(given) > _ATTRIBUTES_MAX:
        raise invalid_parameter(
            f"Number of message attributes [{len(given)}] exceeds the allowed maximum [{_ATTRIBUTES_MAX}]."
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
    if len(kind) > _NAME_MAX:
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
            f"of allowed characters is {_ALLOWED}"
        )
    if base == "Number":
        _check_number(name, text)
    return text if kind == "String" else Typed(kind, text)


def _check_name(name: str) -> None:
    lower = name.lower()
    if not name or len(name) > _NAME_MAX:
        raise invalid_parameter(f"Message (user) attribute names must be between 1 and {_NAME_MAX} characters long.")
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
    """The AWSTraceHeader, the only system attribute that a sender may set. Raises SqsError."""
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


def typed(item: CoreValue) -> tuple[str, str | bytes]:
    """Data type and value of an attribute, as in the service."""
    if isinstance(item, Typed):
        return item.kind, item.value
    return ("String" if isinstance(item, str) else "Binary"), item


def size_bytes(body: bytes, attributes: Mapping[str, CoreValue]) -> int:
    """The size that MaximumMessageSize limits: the body, and each attribute's name, type and value."""
    size = len(body)
    for name, item in attributes.items():
        kind, content = typed(item)
        data = content.encode() if isinstance(content, str) else content
        size += len(name.encode()) + len(kind.encode()) + len(data)
    return size


def md5(data: bytes) -> str:
    """The checksum in the service's answers: it detects transport errors, it is not for security."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def attributes_md5(attributes: Mapping[str, CoreValue]) -> str:
    """The checksum of attributes: for each, sorted by name, its length-prefixed name, type and value."""
    parts: list[bytes] = []
    for name in sorted(attributes):
        kind, content = typed(attributes[name])
        parts += [_prefixed(name.encode()), _prefixed(kind.encode())]
        # the byte is the value's transport type: 1 for text, 2 for bytes
        parts.append(
            b"\x01" + _prefixed(content.encode()) if isinstance(content, str) else b"\x02" + _prefixed(content)
        )
    return md5(b"".join(parts))


def _prefixed(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def select(attributes: Mapping[str, CoreValue], wanted: Iterable[str]) -> Mapping[str, CoreValue]:
    """The attributes that a receive requested: by name, by `prefix.*`, or all by `All`, `*` or `.*`."""
    names = set(wanted)
    if not attributes or not names.isdisjoint(_ALL):
        return attributes
    prefixes = tuple(name[:-2] for name in names if name.endswith(".*"))
    return {
        name: item for name, item in attributes.items() if name in names or (prefixes and name.startswith(prefixes))
    }


@value
class Receipt:
    """One receive of one message. count: the message's receive count then, so that a later receive makes it stale."""

    id: int
    count: int
    received_at: float


def receipt_handles(queue: Queue, records: Sequence[Record], received_at: float) -> list[str]:
    """The receipt handles of messages that were received together."""
    head = _head(queue)
    handles = []
    for record in records:
        text = b"%b %d %d %.3f" % (head, record.id, record.receive_count, received_at)
        handles.append(b2a_base64(b"%b %08x" % (text, crc32(text)), newline=False).decode())
    return handles


def parse_receipt(queue: Queue, handle: str) -> Receipt:
    """The receipt of a handle. Raises ReceiptHandleIsInvalid when it is not a handle of this queue."""
    try:
        text, _, check = a2b_base64(handle, strict_mode=True).rpartition(b" ")
        head = _head(queue)
        if int(check, 16) == crc32(text) and text.startswith(head + b" "):
            record_id, count, received_at = text[len(head) + 1 :].split(b" ")
            return Receipt(int(record_id), int(count), float(received_at))
    except ValueError:
        pass
    raise SqsError("ReceiptHandleIsInvalid", f'The input receipt handle "{handle}" is not a valid receipt handle.')


def _head(queue: Queue) -> bytes:
    return f"{queue.name} {queue.created_at:.3f}".encode()
