"""Messages as AMQP carries them (properties, headers, body): encoded and decoded. Pure.

A property that describes the message is an attribute: content_type is `amqp-content-type`, and so on. Properties that
the broker acts on (expiration, user_id) become a header of the same name in copies: an expired reject would be lost,
and another user's name is refused. Headers by which RabbitMQ routes (CC, BCC) are renamed in transit.

Each message that mulligan sends carries `mulligan-copy`, an id of this copy with the time: RabbitMQ records no time.
AMQP wants all headers in one frame. A larger table of rejects and dead travels in front of the body
(`mulligan-envelope`).
"""

from collections.abc import Mapping
from struct import Struct

from mulligan.brokers.rabbitmq.amqp import field_table
from mulligan.brokers.rabbitmq.header import foreign, is_true, unwrapped, whole_number
from mulligan.core import fingerprint
from mulligan.core.message import AttributeValue, Typed
from mulligan.core.value import value

__all__ = ["COPY", "Received", "Refused", "decode", "encode", "receive_count", "redelivered"]

COPY = "mulligan-copy"
ENVELOPE = "mulligan-envelope"
_ESCAPE = "amqp-header-"
_DELIVERY_COUNT = "x-delivery-count"

_HEADERS_BIT = 13
_MODE_BIT = 12
_NUMBER_BYTES = {12: 1, 11: 1, 6: 8}
_PROPERTIES = {
    15: "amqp-content-type",
    14: "amqp-content-encoding",
    11: "amqp-priority",
    10: "amqp-correlation-id",
    9: "amqp-reply-to",
    8: "amqp-expiration",
    7: "amqp-message-id",
    6: "amqp-timestamp",
    5: "amqp-type",
    4: "amqp-user-id",
    3: "amqp-app-id",
    2: "amqp-cluster-id",
}
_AS_HEADERS = frozenset((8, 4, 2))
_SENT = {name: bit for bit, name in _PROPERTIES.items() if bit not in _AS_HEADERS}
_MESSAGE_ID = _PROPERTIES[7]
_TIMESTAMP = _PROPERTIES[6]
_ROUTING = frozenset(("CC", "BCC"))
_DEATH = "x-death"
# the broker sets these at each delivery or dead-lettering, about queues of this program
_BROKERS_OWN = frozenset((_DELIVERY_COUNT, "x-acquired-count", "x-opt-deaths"))

_HEAD = Struct(">HHQH")  # class, weight, body size, property flags
_U32 = Struct(">I")
_U64 = Struct(">Q")
_BASIC = 60
_PLAIN_FLAGS = 1 << _HEADERS_BIT | 1 << _MODE_BIT
_PERSISTENT = b"\2"

_NONE: Mapping[str, AttributeValue] = {}


class Refused(Exception):
    """RabbitMQ would refuse the message; the text says what to do."""


@value
class Received:
    """A received message.

    copy: its id when mulligan sent it, else None. sent_at: epoch seconds; None where the message doesn't say.
    receive_count: of this copy, this receipt included.
    """

    attributes: Mapping[str, AttributeValue]
    body: bytes
    copy: str | None
    sent_at: float | None
    receive_count: int


def encode(
    attributes: Mapping[str, AttributeValue], body: bytes, copy: str, *, may_wrap: bool, max_bytes: int
) -> tuple[bytes, bytes]:
    """The payload of the header frame, and the body that belongs to it. Raises Refused.

    may_wrap: the queue is rejects or dead. max_bytes: the longest payload of one frame.
    """
    properties: dict[int, bytes] = {}
    headers: dict[str, AttributeValue] = {COPY: copy}
    for name, item in attributes.items():
        bit = _SENT.get(name)
        if bit is not None and (raw := _property(bit, item)) is not None:
            properties[bit] = raw
        else:
            headers[_header_name(name)] = item
    given = attributes.get(fingerprint.ID_ATTRIBUTE)
    if 7 not in properties and isinstance(given, str) and (raw := _property(7, given)) is not None:
        properties[7] = raw
    try:
        table = field_table.encode(headers, foreign)
        room = max_bytes - _HEAD.size - _U32.size - 1 - sum(map(len, properties.values()))
        if len(table) > room:
            if not may_wrap:
                raise Refused(
                    f"its headers have {len(table)} bytes, one frame of the broker holds {room} (its frame_max). "
                    f"Send fewer, or put them into the body."
                )
            body = _U32.pack(len(table)) + table + body
            table = field_table.encode({COPY: copy, ENVELOPE: Typed("t", "true")}, foreign)
    except field_table.NameTooLongError as exc:
        raise Refused(
            f"the name of attribute {exc.name[:40]!r}... has {exc.size_bytes} bytes, AMQP allows 255. Shorten it."
        ) from None
    return _payload(properties, table, len(body)), body


def decode(payload: bytes, body: bytes, *, delay_prefix: str, may_unwrap: bool) -> Received:
    """A received message. payload: of the header frame. Unreadable headers are left out.

    delay_prefix: of the queues that delay messages; what the broker recorded about them is removed.
    may_unwrap: the queue is rejects or dead.
    """
    properties, table = _split(payload)
    attributes = _table(table)
    if may_unwrap and ENVELOPE in attributes and is_true(attributes[ENVELOPE]):
        attributes, body = _unwrapped(attributes, body)
    count = 1 + (whole_number(attributes.get(_DELIVERY_COUNT)) or 0)
    given = attributes.pop(COPY, None)
    copy = given if isinstance(given, str) and fingerprint.has_time(given) else None
    for name in [name for name in attributes if name[0:2] == "x-" or name[0:5] == "amqp-"]:
        _tidy(attributes, name, properties, delay_prefix)
    sent_at = None
    for bit, item in properties.items():
        if bit == 7:
            _identify(attributes, str(item), is_copy=copy is not None)
        elif bit != _MODE_BIT:
            attributes[_PROPERTIES[bit]] = str(item)
    if copy is not None:
        sent_at = int(copy[:12], 16) / 1000
    elif 6 in properties:
        sent_at = _moment(int(properties[6]))
    return Received(attributes, body, copy, sent_at, count)


def receive_count(payload: bytes) -> int:
    """How often the message with this header was received, this receipt included. payload: of the header frame."""
    return 1 + (whole_number(_table(_split(payload)[1]).get(_DELIVERY_COUNT)) or 0)


def redelivered(payload: bytes, body: bytes, *, delay_prefix: str) -> tuple[bytes, bytes]:
    """The payload of the header frame, and the body, with which a received message is published again unchanged."""
    properties, table = _split(payload)
    headers = _table(table)
    for name in [name for name in headers if name[0:2] == "x-"]:
        _tidy(headers, name, {}, delay_prefix)
    for name in _ROUTING & headers.keys():
        headers[_ESCAPE + name] = headers.pop(name)
    raws: dict[int, bytes] = {}
    for bit, item in properties.items():
        if bit in _AS_HEADERS:
            headers.setdefault(_PROPERTIES[bit], str(item))
        elif bit != _MODE_BIT and (raw := _property(bit, str(item))) is not None:
            raws[bit] = raw
    return _payload(raws, field_table.encode(headers, foreign), len(body)), body


# -- properties


def _payload(properties: Mapping[int, bytes], table: bytes, body_bytes: int) -> bytes:
    if not properties:
        return b"".join((_HEAD.pack(_BASIC, 0, body_bytes, _PLAIN_FLAGS), _U32.pack(len(table)), table, _PERSISTENT))
    every = {**properties, _HEADERS_BIT: _U32.pack(len(table)) + table, _MODE_BIT: _PERSISTENT}
    flags = sum(1 << bit for bit in every)
    return _HEAD.pack(_BASIC, 0, body_bytes, flags) + b"".join(every[bit] for bit in sorted(every, reverse=True))


def _split(payload: bytes) -> tuple[dict[int, str | int], bytes]:
    """The properties by bit, and the content of the header table. Raises ValueError when it is damaged."""
    flags = _HEAD.unpack_from(payload)[3]
    at = _HEAD.size
    properties: dict[int, str | int] = {}
    table = b""
    for bit in range(15, 1, -1):
        if not flags >> bit & 1:
            continue
        if bit == _HEADERS_BIT:
            start = at + 4
            at = start + _U32.unpack_from(payload, at)[0]
            table = payload[start:at]
        elif bit in _NUMBER_BYTES:
            properties[bit] = int.from_bytes(payload[at : at + _NUMBER_BYTES[bit]], "big")
            at += _NUMBER_BYTES[bit]
        else:
            start = at + 1
            at = start + payload[at]
            properties[bit] = payload[start:at].decode("utf-8", "surrogateescape")
    return properties, table


def _property(bit: int, item: AttributeValue) -> bytes | None:
    """The property on the wire; None for a value that can't be one, which travels as a header."""
    if not isinstance(item, str):
        return None
    if bit in _NUMBER_BYTES:
        size = _NUMBER_BYTES[bit]
        is_number = item.isascii() and item.isdecimal() and len(item) < 21 and str(int(item)) == item
        return int(item).to_bytes(size, "big") if is_number and int(item) < 1 << 8 * size else None
    if bit == 9 and item == "amq.rabbitmq.reply-to":
        return None  # the broker closes a channel that publishes it without consuming the replies
    try:
        raw = item.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return None
    return bytes((len(raw),)) + raw if len(raw) < 256 else None


def _identify(attributes: dict[str, AttributeValue], message_id: str, *, is_copy: bool) -> None:
    """Record message_id: the producer's id, unless it repeats the attribute in which the producer gave the id."""
    if attributes.get(fingerprint.ID_ATTRIBUTE) == message_id:
        return
    attributes[_MESSAGE_ID] = message_id
    if not is_copy and message_id:
        attributes.setdefault(fingerprint.ID_ATTRIBUTE, message_id)


def _moment(timestamp: int) -> float | None:
    """Epoch seconds; some publishers give milliseconds. None for a number that can't be a time."""
    seconds = timestamp / 1000 if timestamp > 1e11 else float(timestamp)
    return seconds if seconds < 1e11 else None


# -- headers


def _table(raw: bytes) -> dict[str, AttributeValue]:
    if not raw:
        return {}
    try:
        found = field_table.decode(raw, Typed)
        for name, item in found.items():
            if isinstance(item, Typed) and item.kind == "F":
                found[name] = unwrapped(item)
    except ValueError:
        return {}
    return found


def _header_name(attribute: str) -> str:
    if attribute in _ROUTING:
        return _ESCAPE + attribute
    rest = attribute.removeprefix(_ESCAPE)
    return rest if rest != attribute and rest in _SENT else attribute


def _tidy(
    attributes: dict[str, AttributeValue], name: str, properties: Mapping[int, str | int], delay_prefix: str
) -> None:
    """Remove what the broker added, and restore names that were changed in transit."""
    if name in _BROKERS_OWN:
        del attributes[name]
    elif name.startswith(_ESCAPE) and name.removeprefix(_ESCAPE) in _ROUTING:
        attributes[name.removeprefix(_ESCAPE)] = attributes.pop(name)
    elif name in _SENT and _SENT[name] in properties:
        attributes[_ESCAPE + name] = attributes.pop(name)
    elif name == _DEATH:
        _tidy_death(attributes, delay_prefix)
    elif name.startswith(("x-first-death-", "x-last-death-")):
        kind = name.rpartition("-")[0]
        queue = attributes.get(f"{kind}-queue")
        if queue is None or (isinstance(queue, str) and queue.startswith(delay_prefix)):
            for part in ("exchange", "reason", "queue"):
                attributes.pop(f"{kind}-{part}", None)


def _tidy_death(attributes: dict[str, AttributeValue], delay_prefix: str) -> None:
    """Remove the entries about the delay queues from x-death: an array of tables, each of which names a queue."""
    item = attributes[_DEATH]
    if not isinstance(item, Typed) or item.kind != "A" or not isinstance(item.value, bytes):
        return
    raw, at, kept = item.value, 0, []
    while at < len(raw) and raw[at : at + 1] == b"F":
        end = at + 5 + _U32.unpack_from(raw, at + 1)[0]
        queue = field_table.decode(raw[at + 5 : end], Typed).get("queue")
        if not (isinstance(queue, str) and queue.startswith(delay_prefix)):
            kept.append(raw[at:end])
        at = end
    if kept:
        attributes[_DEATH] = Typed("A", b"".join(kept))
    else:
        del attributes[_DEATH]


def _unwrapped(outside: dict[str, AttributeValue], body: bytes) -> tuple[dict[str, AttributeValue], bytes]:
    """The headers and the body in an envelope; a body that is not an envelope of mulligan's is left unchanged."""
    try:
        end = 4 + _U32.unpack_from(body)[0]
        inside = field_table.decode(body[4:end], Typed)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, the task gets the body and decides
        return outside, body
    if COPY not in inside or inside[COPY] != outside.get(COPY):
        return outside, body
    brokers = {name: item for name, item in outside.items() if name.startswith("x-")}
    unpacked = {name: unwrapped(item) for name, item in inside.items()}
    return {**unpacked, **brokers}, body[end:]
