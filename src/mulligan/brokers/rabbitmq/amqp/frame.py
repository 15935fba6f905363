"""The frames of the hot path, packed and unpacked with `struct`: publish, content, ack, nack. Pure.

All other methods are rare, and are packed and unpacked by pamqp.
"""

from collections.abc import Sequence
from struct import Struct

__all__ = [
    "BODY",
    "CANCEL",
    "CHANNEL_CLOSE",
    "CONFIRM_ACK",
    "CONFIRM_NACK",
    "DELIVER",
    "END",
    "GET_OK",
    "HEAD",
    "HEADER",
    "HEARTBEAT",
    "HEARTBEAT_FRAME",
    "METHOD",
    "OVERHEAD_BYTES",
    "RETURN",
    "TAG",
    "acks",
    "body_size",
    "method_id",
    "nacks",
    "publish_frames",
    "publish_head",
]

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
END = 0xCE
OVERHEAD_BYTES = 8
"""What a frame adds to its payload: type, channel, size, end."""

HEAD = Struct(">BHI")
TAG = Struct(">Q")
method_id = Struct(">HH").unpack_from
body_size = Struct(">Q").unpack_from

DELIVER = (60, 60)
GET_OK = (60, 71)
RETURN = (60, 50)
CANCEL = (60, 30)
CONFIRM_ACK = (60, 80)
CONFIRM_NACK = (60, 120)
CHANNEL_CLOSE = (20, 40)

HEARTBEAT_FRAME = HEAD.pack(HEARTBEAT, 0, 0) + bytes((END,))

_END = bytes((END,))
_SETTLE = Struct(">BHIHHQBB")
_SETTLE_BYTES = 13
_MANDATORY = b"\1"
_REQUEUE, _MULTIPLE = 2, 1


def acks(channel: int, tags: Sequence[int], up_to: int | None) -> bytes:
    """Frames that acknowledge every tag up to `up_to`, then each of the tags."""
    frames = [_SETTLE.pack(METHOD, channel, _SETTLE_BYTES, 60, 80, tag, 0, END) for tag in tags]
    if up_to is not None:
        frames.insert(0, _SETTLE.pack(METHOD, channel, _SETTLE_BYTES, 60, 80, up_to, _MULTIPLE, END))
    return b"".join(frames)


def nacks(channel: int, tags: Sequence[int]) -> bytes:
    """Frames that return each of the tags to its queue."""
    return b"".join([_SETTLE.pack(METHOD, channel, _SETTLE_BYTES, 60, 120, tag, _REQUEUE, END) for tag in tags])


def publish_head(channel: int, exchange: str, routing_key: str) -> bytes:
    """The method frame of a mandatory publish; the same for every message to one exchange and key."""
    names = b"".join(bytes((len(raw),)) + raw for raw in (exchange.encode(), routing_key.encode()))
    payload = b"\0\x3c\0\x28\0\0" + names + _MANDATORY
    return HEAD.pack(METHOD, channel, len(payload)) + payload + _END


def publish_frames(channel: int, head: bytes, header: bytes, body: bytes, max_bytes: int) -> list[bytes]:
    """All frames of one publish. head: from `publish_head`. max_bytes: the longest payload of one frame."""
    frames = [head, HEAD.pack(HEADER, channel, len(header)), header, _END]
    size = len(body)
    if 0 < size <= max_bytes:
        frames += (HEAD.pack(BODY, channel, size), body, _END)
    elif size:
        for at in range(0, size, max_bytes):
            part = body[at : at + max_bytes]
            frames += (HEAD.pack(BODY, channel, len(part)), part, _END)
    return frames
