"""Messages as entries of SQS and back, within its limits. Pure.

Copies are packed to fit before they come here (`core.packing`); what still doesn't is refused with the reason.
"""

import math
import re
from collections.abc import Mapping

from mulligan.brokers.sqs.codec import TRACE, Received, SendEntry, WireAttribute, read_attributes, wire_attributes
from mulligan.core.delivery import Delivery, Outgoing
from mulligan.core.message import AttributeValue, QueueName, Typed
from mulligan.core.packing import size_bytes

__all__ = ["ATTRIBUTES_MAX", "DELAY_MAX_S", "TYPE_BYTES", "Refused", "delivery", "entry_bytes", "send_entry", "whole"]

ATTRIBUTES_MAX = 10
DELAY_MAX_S = 900
TYPE_BYTES = len("String")
"""What SQS counts for the type of a plain attribute; "Binary" is as long."""

# SQS: #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAME = re.compile(r"(?!(?i:aws|amazon)\.)(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)")
_KIND = re.compile(r"(String|Number|Binary)(\.[A-Za-z0-9_.-]+)?")
_FIFO_ID = re.compile(r"[!-~]{1,128}")

NO_ATTRIBUTES: Mapping[str, AttributeValue] = {}


class Refused(Exception):
    """SQS would refuse the message; the text says what to do."""


def send_entry(outgoing: Outgoing, *, is_fifo: bool, max_bytes: int) -> SendEntry:
    """The message as an entry of a batch, still without an id. Raises Refused."""
    attributes = outgoing.attributes
    text = _text(outgoing.body, "its body")
    if len(attributes) > ATTRIBUTES_MAX:
        raise Refused(
            f"it has {len(attributes)} attributes ({', '.join(sorted(attributes))[:200]}), and SQS accepts "
            f"{ATTRIBUTES_MAX}. Send fewer, or put them into the body."
        )
    for name, item in attributes.items():
        _check_attribute(name, item)
    entry = SendEntry("", text, _delay_s(outgoing.delay_s, is_fifo=is_fifo), wire_attributes(attributes))
    if is_fifo:
        entry.message_group_id = _fifo_id("a group", outgoing.group)
        entry.message_deduplication_id = _fifo_id("a deduplication id", outgoing.dedup_id)
    elif outgoing.tenant is not None and _FIFO_ID.fullmatch(outgoing.tenant):
        entry.message_group_id = outgoing.tenant
    if outgoing.trace and not _FORBIDDEN.search(outgoing.trace):  # a copy is worth more than its trace
        entry.message_system_attributes = {TRACE: WireAttribute("String", outgoing.trace)}
    if (size := size_bytes(outgoing.body, attributes, TYPE_BYTES)) > max_bytes:
        raise Refused(
            f"it has {size} bytes (body and attributes), the queue accepts {max_bytes} (its MaximumMessageSize, up to "
            f"1048576). Send less, or raise the queue's limit."
        )
    return entry


def entry_bytes(entry: SendEntry) -> int:
    """What SQS counts: the body, and names, types and values of the attributes."""
    size = len(entry.message_body.encode())
    for name, item in entry.message_attributes.items():
        content = item.binary_value if item.binary_value is not None else (item.string_value or "").encode()
        size += len(name.encode()) + len(item.data_type) + len(content)
    return size


def delivery(item: Received, queue: QueueName, received_at: int, *, is_fifo: bool) -> Delivery:
    """A received message. received_at: monotonic seconds, kept in the receipt for the 12 hours.

    is_fifo: a group has an order on a FIFO queue only. Elsewhere it is there for SQS to be fair to each of them.
    """
    system = item.attributes
    group = system.message_group_id
    attributes = read_attributes(item.message_attributes) if item.message_attributes else NO_ATTRIBUTES
    # all by position: by name the construction costs twice as much
    return Delivery(
        queue,
        f"{received_at}:{item.receipt_handle}",
        item.message_id,
        item.body.encode(),
        attributes,
        int(system.sent_timestamp) / 1000,
        int(system.approximate_receive_count),
        group if is_fifo else None,
        True,  # is_dated
        None if is_fifo else group,
        system.trace,
    )


def whole(seconds: float) -> int | None:
    """Whole seconds, rounded up; None for a value that is not a time."""
    return math.ceil(seconds) if 0 <= seconds < math.inf else None


# -- inside -----------------------------------------------------------------------------------------------------------


def _text(body: bytes, what: str) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError as exc:
        raise Refused(
            f"{what} is not UTF-8 text (byte {exc.start} is {body[exc.start : exc.start + 1]!r}), and SQS carries text "
            f"only. Send it as base64."
        ) from None
    _check_text(text, what)
    return text


def _check_text(text: str, what: str) -> None:
    if not text:
        raise Refused(f"{what} is empty, and SQS accepts no empty values. Send at least one character.")
    if found := _FORBIDDEN.search(text):
        raise Refused(
            f"{what} has the character U+{ord(found[0]):04X} at {found.start()}, which SQS refuses (control "
            f"characters, lone surrogates, U+FFFE and U+FFFF). Escape it, or send base64."
        )


def _check_attribute(name: str, item: AttributeValue) -> None:
    what = f"its attribute {name!r}"
    if not _NAME.fullmatch(name):
        raise Refused(
            f"{what} has a name that SQS refuses; expected 1 to 256 of A-Z a-z 0-9 _ - . (no dot at an end or twice), "
            f"not beginning with AWS. or Amazon. Rename it."
        )
    content = item
    if isinstance(item, Typed):
        content = item.value
        kind = _KIND.fullmatch(item.kind)
        if kind is None or len(item.kind) > 256 or (kind[1] == "Binary") is not isinstance(content, bytes):
            raise Refused(
                f"{what} has the type {item.kind!r} with a value of {type(content).__name__}; expected String or "
                f"Number (text) or Binary (bytes), each with an ending like .json. Correct it."
            )
    if isinstance(content, str):
        _check_text(content, what)
    elif not content:
        raise Refused(f"{what} is empty, and SQS accepts no empty values. Leave it out.")


def _delay_s(asked_s: float, *, is_fifo: bool) -> int:
    delay_s = whole(asked_s)
    if delay_s is None or delay_s > DELAY_MAX_S:
        raise Refused(
            f"its delay is {asked_s!r} s, expected 0 to {DELAY_MAX_S}. Send it with less, and release the rest."
        )
    if delay_s and is_fifo:
        raise Refused(
            f"its delay is {asked_s!r} s, and a FIFO queue accepts none for a single message. Send it without one, and "
            f"release it on receipt."
        )
    return delay_s


def _fifo_id(what: str, given: str | None) -> str:
    if given is None or not _FIFO_ID.fullmatch(given):
        raise Refused(f"a FIFO queue needs {what} of 1 to 128 printable ASCII characters, got {given!r}. Give one.")
    return given
