"""The identity of a message, so that all its copies (duplicates, rejects, dead letters) are known as one."""

import hashlib
import re

from mulligan.core.message import TaskName, Uid

__all__ = ["ID_ATTRIBUTE", "has_time", "idempotency_key", "is_of", "new_id", "short", "uid"]

ID_ATTRIBUTE = "mulligan-uid"
"""Name of the attribute by which a producer gives its message an id of its own."""

_TIMED_ID = re.compile(r"([0-9a-f]{12})-[0-9a-f]{8,}")
_TIMED_FROM_MS = 1_577_836_800_000  # 2020: an id of another maker that looks timed hardly names a present time
_TIMED_TO_MS = 4_102_444_800_000  # 2100


def uid(prefix: str, message_id: str, body: bytes, sent_at: float) -> Uid:
    """The uid: 12 hex digits of the sent time in milliseconds, a dash, 20 hex digits of a hash.

    The time comes first so that keys of a ledger grow in order. The body is hashed too because publishers reuse
    ids. An id made by `new_id` brings its own time, so that a send that was repeated keeps one uid.

    prefix: the queues' common prefix, so that applications that share a ledger don't meet.
    message_id: the producer's id where there is one, else the broker's.
    sent_at: epoch seconds.
    """
    is_timed = message_id[12:13] == "-" and has_time(message_id)  # most are a broker's own, and are not
    time_hex = message_id[:12] if is_timed else _time_hex(sent_at)
    about = f"{len(prefix)}:{prefix}{len(message_id)}:{message_id}".encode("utf-8", "surrogatepass")
    return Uid(f"{time_hex}-{hashlib.blake2b(about + body, digest_size=10).hexdigest()}")


def is_of(known: Uid, prefix: str, message_id: str, body: bytes) -> bool:
    """Whether a uid is of a message with this id and body, whenever that was sent."""
    return known[12:] == uid(prefix, message_id, body, 0.0)[12:]


def new_id(now: float, rand_hex: str) -> str:
    """An id for a message that is being sent: it carries the time, so a repeated send of it is one message.

    rand_hex: at least 8 random hex digits.
    """
    return f"{_time_hex(now)}-{rand_hex}"


def has_time(message_id: str) -> bool:
    """Whether the id is one of `new_id`'s, so that its uid is known before a broker has taken the message."""
    timed = _TIMED_ID.fullmatch(message_id)
    return timed is not None and _TIMED_FROM_MS <= int(timed.group(1), 16) < _TIMED_TO_MS


def short(delivery_id: str) -> str:
    """20 hex digits that tell a broker's id from others, for where the id itself may be too long."""
    return hashlib.blake2b(delivery_id.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()


def idempotency_key(message_uid: Uid, task: TaskName) -> str:
    """The key that is the same on every attempt of `task` on the message: 30 characters, safe in a label or a URL."""
    digest = hashlib.sha256(f"{message_uid}\0{task}".encode()).digest()
    return "mlg-" + _base32(digest)[:26]


def _time_hex(at: float) -> str:
    return f"{max(0, int(at * 1000)):012x}"


def _base32(data: bytes) -> str:
    number = int.from_bytes(data[:20], "big")
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    return "".join(alphabet[(number >> shift) & 31] for shift in range(155, -1, -5))
