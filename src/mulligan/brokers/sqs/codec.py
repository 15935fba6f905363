"""awsJson 1.0 of the frequent calls: requests as bytes, answers as values. No I/O, no clock.

An answer that the service would not give raises `InvalidResponse`: a page of HTML is not an empty queue. Checksums of
bodies and attributes are verified here. What an error code means is in `error`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from struct import pack
from typing import Any

import msgspec

from mulligan.core.message import AttributeValue, Typed
from mulligan.core.value import value

__all__ = [
    "TRACE",
    "Answered",
    "Failure",
    "InvalidResponse",
    "Received",
    "SendEntry",
    "ServiceError",
    "attributes_md5",
    "delete_request",
    "encode",
    "read_attributes",
    "read_batch",
    "read_error",
    "read_object",
    "read_receive",
    "receive_request",
    "send_request",
    "sent_problem",
    "visibility_request",
    "wire_attributes",
]


TRACE = "AWSTraceHeader"
"""The one system attribute that a sender may set. It counts neither as an attribute nor for the size."""


class InvalidResponse(Exception):
    """The answer is not one of the service's."""


class WireAttribute(msgspec.Struct, rename="pascal", omit_defaults=True, gc=False):
    """One message attribute. binary_value: base64 on the wire, which msgspec takes off."""

    data_type: str
    string_value: str | None = None
    binary_value: bytes | None = None


class _System(msgspec.Struct, rename="pascal", gc=False):
    sent_timestamp: str
    approximate_receive_count: str
    message_group_id: str | None = None
    trace: str | None = msgspec.field(name="AWSTraceHeader", default=None)


class Received(msgspec.Struct, rename="pascal", gc=False):
    """One message as it was received."""

    message_id: str
    receipt_handle: str
    body: str
    md5: str = msgspec.field(name="MD5OfBody")
    attributes: _System
    message_attributes: dict[str, WireAttribute] | None = None
    attributes_md5: str | None = msgspec.field(name="MD5OfMessageAttributes", default=None)


class SendEntry(msgspec.Struct, rename="pascal", omit_defaults=True, gc=False):
    """One entry of a SendMessageBatch."""

    id: str
    message_body: str
    delay_seconds: int = 0
    message_attributes: dict[str, WireAttribute] = {}
    message_group_id: str | None = None
    message_deduplication_id: str | None = None
    message_system_attributes: dict[str, WireAttribute] = {}


class Failure(msgspec.Struct, rename="pascal", gc=False):
    """One entry that failed. sender_fault: the entry itself is wrong."""

    id: str
    code: str = ""
    message: str | None = None
    sender_fault: bool = False


class Answered(msgspec.Struct, rename="pascal", gc=False):
    """One entry that succeeded. The checksums come with sends only."""

    id: str
    body_md5: str | None = msgspec.field(name="MD5OfMessageBody", default=None)
    attributes_md5: str | None = msgspec.field(name="MD5OfMessageAttributes", default=None)


class _Receipt(msgspec.Struct, rename="pascal", gc=False):
    id: str
    receipt_handle: str


class _Visibility(msgspec.Struct, rename="pascal", gc=False):
    id: str
    receipt_handle: str
    visibility_timeout: int


class _Batch(msgspec.Struct, rename="pascal", gc=False):
    queue_url: str
    entries: list[Any]


class _ReceiveAnswer(msgspec.Struct, rename="pascal", gc=False):
    messages: list[Received] | None = None


class _RawReceiveAnswer(msgspec.Struct, rename="pascal", gc=False):
    messages: list[msgspec.Raw] | None = None


class _BatchAnswer(msgspec.Struct, rename="pascal", gc=False):
    successful: list[Answered] | None = None
    failed: list[Failure] | None = None


@value
class ServiceError:
    """The error that the service returned. code: without its namespace, "" when it gave none."""

    status: int
    code: str
    message: str


encode = msgspec.json.Encoder().encode
"""Any request as bytes."""
_receive_answer = msgspec.json.Decoder(_ReceiveAnswer)
_raw_receive_answer = msgspec.json.Decoder(_RawReceiveAnswer)
_received = msgspec.json.Decoder(Received)
_batch_answer = msgspec.json.Decoder(_BatchAnswer)

# -- requests ---------------------------------------------------------------------------------------------------------


def receive_request(url: str, max_count: int, wait_s: int, lease_s: int, attempt_id: str | None = None) -> bytes:
    """Body of a ReceiveMessage. attempt_id: on FIFO queues, the same for every repeat of one receive.

    Of the system attributes only those are asked for that a `Delivery` has a place for: each that a message has costs
    30 bytes.
    """
    data: dict[str, Any] = {
        "QueueUrl": url,
        "MaxNumberOfMessages": max_count,
        "WaitTimeSeconds": wait_s,
        "VisibilityTimeout": lease_s,
        "MessageSystemAttributeNames": [
            "SentTimestamp",
            "ApproximateReceiveCount",
            "MessageGroupId",
            TRACE,
        ],
        "MessageAttributeNames": ["All"],
    }
    if attempt_id is not None:
        data["ReceiveRequestAttemptId"] = attempt_id
    return encode(data)


_IDS = [str(place) for place in range(10)]  # of a batch's entries; SQS takes ten


def delete_request(url: str, handles: Sequence[str]) -> bytes:
    """Body of a DeleteMessageBatch; ids are the places in `handles`."""
    return encode(_Batch(url, [_Receipt(str(at), handle) for at, handle in enumerate(handles)]))


def visibility_request(url: str, entries: Sequence[tuple[str, int]]) -> bytes:
    """Body of a ChangeMessageVisibilityBatch of (receipt handle, seconds)."""
    return encode(_Batch(url, [_Visibility(str(at), handle, rest_s) for at, (handle, rest_s) in enumerate(entries)]))


def send_request(url: str, entries: Sequence[SendEntry]) -> bytes:
    """Body of a SendMessageBatch."""
    return encode(_Batch(url, list(entries)))


# -- answers ----------------------------------------------------------------------------------------------------------


def read_receive(body: bytes) -> tuple[list[Received], list[str]]:
    """The messages of a ReceiveMessage answer, and a sentence for each that is damaged and left out.

    One message that can't be read must not hide the others, and must not stop the queue. Raises InvalidResponse.
    """
    try:
        messages = _receive_answer.decode(body).messages
    except msgspec.ValidationError:
        return _read_one_by_one(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise InvalidResponse(_shown(body, exc)) from None
    if not messages:
        _check_empty(body)
        return [], []
    good = [item for item in messages if _is_sound(item)]
    if len(good) == len(messages):
        return good, []
    kept = {id(item) for item in good}
    return good, [
        f"message {item.message_id} doesn't match its checksum, or has no time or count"
        for item in messages
        if id(item) not in kept
    ]


def read_batch(body: bytes, count: int) -> tuple[list[Answered | Failure | None], int]:
    """One answer per entry (None: the service did not mention it), and how many of them failed or are None.

    Raises InvalidResponse.
    """
    try:
        answer = _batch_answer.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise InvalidResponse(_shown(body, exc)) from None
    successful, failed = answer.successful or [], answer.failed or []
    if not failed and [item.id for item in successful] == _IDS[:count]:
        return [*successful], 0  # the usual answer
    results: list[Answered | Failure | None] = [None] * count
    if not successful and not failed:
        raise InvalidResponse(_shown(body, "it names no entry"))
    bad_count = count
    for item in successful:
        at = _place(item.id, count)
        if results[at] is None:
            bad_count -= 1
        results[at] = item
    for failure in failed:
        at = _place(failure.id, count)
        if isinstance(results[at], Answered):
            bad_count += 1
        results[at] = failure
    return results, bad_count


def read_object(body: bytes) -> dict[str, Any]:
    """The answer of any other call; {} for none. Raises InvalidResponse."""
    if not body.strip():
        return {}
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise InvalidResponse(_shown(body, exc)) from None
    if not isinstance(data, dict):
        raise InvalidResponse(_shown(body, "it is not an object"))
    return data


def read_error(status: int, headers: Mapping[bytes, bytes], body: bytes) -> ServiceError | None:
    """The error in an answer that isn't 200; None when it isn't one of the service's (a proxy's page, nothing at all).

    The code to go by is the old one of `x-amzn-query-error` (we ask for it), else `__type`, `code`, `x-amzn-errortype`.
    """
    try:
        data = read_object(body)
    except InvalidResponse:
        data = {}
    given = headers.get(b"x-amzn-query-error", b"").decode("latin-1").partition(";")[0]
    code = given or data.get("__type") or data.get("code") or headers.get(b"x-amzn-errortype", b"").decode("latin-1")
    if not isinstance(code, str) or not code:
        return None
    message = data.get("message") or data.get("Message") or ""
    return ServiceError(status, _bare(code), message if isinstance(message, str) else "")


def _bare(code: str) -> str:
    """`com.amazonaws.sqs#QueueDoesNotExist:http://...` -> `QueueDoesNotExist`."""
    return code.partition(":")[0].rpartition("#")[2].strip()


def _place(entry_id: str, count: int) -> int:
    if entry_id.isdecimal() and int(entry_id) < count:
        return int(entry_id)
    raise InvalidResponse(f"the answer names an entry {entry_id!r}, and {count} were sent")


def _check_empty(body: bytes) -> None:
    """Only an answer that says so is an empty one: `{}`, or no messages. Anything else is from another server."""
    strange = read_object(body).keys() - {"Messages", "ResponseMetadata"}
    if strange or not body.strip():
        raise InvalidResponse(_shown(body, "it is not an answer to a receive"))


def _read_one_by_one(body: bytes) -> tuple[list[Received], list[str]]:
    try:
        raws = _raw_receive_answer.decode(body).messages or []
    except msgspec.DecodeError as exc:
        raise InvalidResponse(_shown(body, exc)) from None
    good: list[Received] = []
    problems: list[str] = []
    for raw in raws:
        try:
            item = _received.decode(raw)
        except msgspec.DecodeError as exc:
            problems.append(f"a message can't be read ({exc})")
            continue
        if _is_sound(item):
            good.append(item)
        else:
            problems.append(f"message {item.message_id} doesn't match its checksum, or has no time or count")
    if not good and not problems:
        raise InvalidResponse(_shown(body, "it is not an answer to a receive"))
    return good, problems


def _shown(body: bytes, why: object) -> str:
    return f"the answer can't be read ({why}): {body[:80]!r}"


# -- attributes -------------------------------------------------------------------------------------------------------


def wire_attributes(attributes: Mapping[str, AttributeValue]) -> dict[str, WireAttribute]:
    """Attributes as they are sent: text is String, bytes are Binary, a `Typed` keeps its kind."""
    return {name: _wire(item) for name, item in attributes.items()}


def read_attributes(attributes: Mapping[str, WireAttribute]) -> dict[str, AttributeValue]:
    """The reverse of `wire_attributes`."""
    return {name: _unwired(item) for name, item in attributes.items()}


def attributes_md5(attributes: Mapping[str, WireAttribute]) -> str:
    """The checksum that SQS gives of attributes: sorted by name, each part with its length."""
    parts: list[bytes] = []
    for name in sorted(attributes):
        item = attributes[name]
        is_binary = item.binary_value is not None
        content = item.binary_value if item.binary_value is not None else (item.string_value or "").encode()
        for text in (name.encode(), item.data_type.encode()):
            parts += (pack(">I", len(text)), text)
        parts += (b"\x02" if is_binary else b"\x01", pack(">I", len(content)), content)
    return _md5(b"".join(parts))


def _wire(item: AttributeValue) -> WireAttribute:
    if isinstance(item, str):
        return WireAttribute("String", item)
    if isinstance(item, bytes):
        return WireAttribute("Binary", None, item)
    if isinstance(item.value, str):
        return WireAttribute(item.kind, item.value)
    return WireAttribute(item.kind, None, item.value)


def _unwired(item: WireAttribute) -> AttributeValue:
    content = item.binary_value if item.binary_value is not None else item.string_value or ""
    if (item.data_type == "String" and isinstance(content, str)) or (
        item.data_type == "Binary" and isinstance(content, bytes)
    ):
        return content
    return Typed(item.data_type, content)


def _is_sound(item: Received) -> bool:
    system = item.attributes
    return (
        _md5(item.body.encode()) == item.md5
        and _has_its_attributes(item)
        and system.sent_timestamp.isdecimal()
        and system.approximate_receive_count.isdecimal()
    )


def _has_its_attributes(item: Received) -> bool:
    if not item.message_attributes:
        return not item.attributes_md5
    return item.attributes_md5 is None or attributes_md5(item.message_attributes) == item.attributes_md5


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def sent_problem(entry: SendEntry, answer: Answered) -> str | None:
    """What is wrong with the checksums in the answer to a send. Absent ones are not a problem."""
    if answer.body_md5 is not None and answer.body_md5 != _md5(entry.message_body.encode()):
        return "the queue received a different body than was sent (its checksum differs)"
    attributes = entry.message_attributes
    if attributes and answer.attributes_md5 is not None and answer.attributes_md5 != attributes_md5(attributes):
        return "the queue received different attributes than were sent (their checksum differs)"
    return None
