"""Receipt handles: which receipt of which message of which queue. Opaque to the client, checked here.

A handle carries the time of its receipt, because the twelve hours of a lease count from there, and the time at which
the queue was made, because a queue of the same name made later is another queue.
"""

from binascii import a2b_base64, b2a_base64, crc32
from collections.abc import Sequence

from mulligan.core.value import value
from mulligan.servers.sqs.store.protocol import Queue, Record
from mulligan.servers.sqs.wire.error import SqsError

__all__ = ["Receipt", "decode", "encode"]


@value
class Receipt:
    """One receipt. count: the message's receive count at the time, so that a later receipt makes this one stale."""

    id: int
    count: int
    received_at: float


def encode(queue: Queue, records: Sequence[Record], received_at: float) -> list[str]:
    """The handles of messages that were received together."""
    head = _head(queue)
    handles = []
    for record in records:
        text = b"%b %d %d %.3f" % (head, record.id, record.receive_count, received_at)
        handles.append(b2a_base64(b"%b %08x" % (text, crc32(text)), newline=False).decode())
    return handles


def decode(queue: Queue, handle: str) -> Receipt:
    """The receipt. Raises ReceiptHandleIsInvalid when it is not one of this queue."""
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
