"""Receipt handles: which receipt of which message of which queue. Opaque to the client, checked here.

A handle carries the time of its receipt, because the twelve hours of a lease count from there, and the time at which
the queue was made, because a queue of the same name made later is another queue.
"""

import binascii
from base64 import b64decode, b64encode

from mulligan.core.value import value
from mulligan.servers.sqs.error import SqsError
from mulligan.servers.sqs.record import Queue

__all__ = ["Receipt", "decode", "encode"]


@value
class Receipt:
    """One receipt. count: the message's receive count at the time, so that a later receipt makes this one stale."""

    id: int
    count: int
    received_at: float


def encode(queue: Queue, record_id: int, count: int, received_at: float) -> str:
    """The handle."""
    text = f"{queue.name} {queue.created_at:.3f} {record_id} {count} {received_at:.3f}".encode()
    return b64encode(text + b" %08x" % binascii.crc32(text)).decode()


def decode(queue: Queue, handle: str) -> Receipt:
    """The receipt. Raises ReceiptHandleIsInvalid when it is not one of this queue."""
    try:
        text, _, check = b64decode(handle, validate=True).rpartition(b" ")
        name, created_at, record_id, count, received_at = text.split(b" ")
        if int(check, 16) == binascii.crc32(text) and (
            name.decode() == queue.name and created_at.decode() == f"{queue.created_at:.3f}"
        ):
            return Receipt(int(record_id), int(count), float(received_at))
    except ValueError:
        pass
    raise SqsError("ReceiptHandleIsInvalid", f'The input receipt handle "{handle}" is not a valid receipt handle.')
