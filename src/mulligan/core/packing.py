"""Packing a copy so that it fits its queue, and unpacking it. Pure: who keeps a body elsewhere is `storage.body`.

A copy is the message's body, the producer's attributes and our retry state. It may be bigger than the message was, and
the message may have filled the limit. What is tried, in this order, until it fits:

    as it is          with the error texts of the retry state whole, cut, and left out
    attributes inside where the broker takes no more of them: before the body, as one line
    compressed        the body; else attributes and body together
    in a file         the body; else attributes and body together; the copy carries the file's name

Due times and states are never cut. The retry state says how its copy is packed (`core.retry_state.Packing`), and like
all of it that is believed on rejects and dead only. What was packed is given back byte for byte, or not at all.
"""

import hashlib
import json
import re
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, Literal

from mulligan.core import retry_state
from mulligan.core.error import PackingError
from mulligan.core.message import AttributeValue, Message, TaskName, Typed, Uid
from mulligan.core.progress import Mark, Progress
from mulligan.core.retry_state import Packing, RetryState
from mulligan.core.value import value

__all__ = [
    "DEAD",
    "REJECTS",
    "CopyTarget",
    "Limits",
    "PackedMessage",
    "Stored",
    "is_for",
    "pack",
    "pack_quickly",
    "size_bytes",
    "unpack",
]

CopyTarget = Literal["rejects", "dead"]
"""The queue whose copies a stored body is for. Each has files of its own, so that who removes the last copy from one
queue takes nothing away from the other."""

REJECTS: Final = "rejects"
DEAD: Final = "dead"

REASON_CUT = 200
"""Characters of an error text that are left when it is cut. A prefix, so that the ledger's whole text wins a merge."""

_NAME = re.compile(r"[0-9A-Za-z_-]{1,150}-(rejects|dead)-[0-9a-f]{32}")
_UNSAFE = re.compile(r"[^0-9A-Za-z-]")
_NOTE = b"(the body is in the file that the attribute 'mulligan' names, in the folder BODIES_URL)"
_NO_ATTRIBUTES: Mapping[str, AttributeValue] = {}

Load = Callable[[str, int], bytes]
"""Gives the content of a file by name and size. Raises PackingError with what is wrong."""


@value
class Limits:
    """What one message of a queue may be.

    max_bytes: body and attributes together. max_attributes: ours included; None for no limit.
    type_bytes: what a plain text or bytes attribute counts beyond its name and value.
    is_text: the body must be text, so bytes travel as base64.
    """

    max_bytes: int
    max_attributes: int | None = None
    type_bytes: int = 0
    is_text: bool = False


@value
class Stored:
    """A content that must be kept under this name, durably, before its copy is sent."""

    name: str
    content: bytes


@value
class PackedMessage:
    """A copy that fits, its retry state among the attributes. stored: None where it carries everything itself."""

    body: bytes
    attributes: Mapping[str, AttributeValue]
    stored: Stored | None = None


def size_bytes(body: bytes, attributes: Mapping[str, AttributeValue], type_bytes: int) -> int:
    """What a broker counts: the body, and names, types and values of the attributes."""
    size = len(body)
    for name, item in attributes.items():
        if isinstance(item, Typed):
            size += _length(name) + _length(item.kind) + _length(item.value)
        else:
            size += _length(name) + type_bytes + _length(item)
    return size


def pack_quickly(message: Message, state: RetryState, limits: Limits) -> PackedMessage | None:
    """The copy as it is, or with its attributes inside; None when more has to be done (`pack`), which takes time."""
    if _has_room(message, limits):
        return _fitting(message.body, message.attributes, state, None, limits)
    content = _enveloped(message)
    return _fitting(content, _NO_ATTRIBUTES, state, Packing("plain", len(content), True), limits)


def pack(message: Message, state: RetryState, limits: Limits, target: CopyTarget) -> PackedMessage:
    """The copy in the first of the forms above that fits; without the retry state's id where none does with it.

    Raises PackingError when not even the retry state fits.
    """
    bare = replace(state, id=None)
    found = _packed(message, state, limits, target) or _packed(message, bare, limits, target)
    if found is not None:
        return found
    least = _least(bare, target, limits)
    raise PackingError(
        f"a copy of it can't be made: its state ({len(state.progress.marks)} tasks) and the name of its stored body "
        f"take {least} bytes, and the queue takes messages of {limits.max_bytes}. Raise the queue's limit."
    )


def _packed(message: Message, state: RetryState, limits: Limits, target: CopyTarget) -> PackedMessage | None:
    if (quick := pack_quickly(message, state, limits)) is not None:
        return quick
    for content, attributes, is_inside in _contents(message, limits):
        packed, form = zlib.compress(content), "zlib"
        if limits.is_text:
            packed, form = b64encode(packed), "base64"
        found = _fitting(packed, attributes, state, Packing(form, len(content), is_inside), limits)
        if found is not None:
            return found
    for content, attributes, is_inside in _contents(message, limits):
        name = _name(state, target, content)
        found = _fitting(_NOTE, attributes, state, Packing("file", len(content), is_inside, name), limits)
        if found is not None:
            return replace(found, stored=Stored(name, content))
    return None


def unpack(message: Message, state: RetryState, load: Load) -> Message:
    """The message as it was packed. message: with what the copy carries. Raises PackingError."""
    wrap = state.wrap
    if wrap is None:
        return message
    content = _content(message, wrap, load)
    if len(content) != wrap.size:
        raise PackingError(f"its packed body has {len(content)} bytes, expected {wrap.size}: it is damaged.")
    if not wrap.has_attributes:
        return replace(message, body=content)
    body, attributes = _opened(content)
    return replace(message, body=body, attributes=attributes)


def is_for(name: str | None, target: CopyTarget) -> bool:
    """Whether a stored body is there for copies on this queue only."""
    found = _NAME.fullmatch(name or "")
    return found is not None and found[1] == target


# -- packing ----------------------------------------------------------------------------------------------------------


def _has_room(message: Message, limits: Limits) -> bool:
    """Whether the producer's attributes and ours are not too many."""
    return limits.max_attributes is None or len(message.attributes) < limits.max_attributes


def _contents(message: Message, limits: Limits) -> Iterator[tuple[bytes, Mapping[str, AttributeValue], bool]]:
    """What can be packed, with the attributes that stay outside: the body; attributes and body."""
    if _has_room(message, limits):
        yield message.body, message.attributes, False
    if message.attributes:
        yield _enveloped(message), _NO_ATTRIBUTES, True


def _fitting(
    body: bytes, attributes: Mapping[str, AttributeValue], state: RetryState, wrap: Packing | None, limits: Limits
) -> PackedMessage | None:
    """The copy with as much of its error texts as there is room for; None when it is too big without them."""
    type_bytes = limits.type_bytes
    room = limits.max_bytes - size_bytes(body, attributes, type_bytes) - len(retry_state.ATTRIBUTE) - type_bytes
    if room <= 0:
        return None
    for progress in _shortened(state.progress):
        text = retry_state.encode(replace(state, progress=progress, wrap=wrap))
        if len(text) <= room:
            return PackedMessage(body, {**attributes, retry_state.ATTRIBUTE: text})
    return None


def _least(state: RetryState, target: CopyTarget, limits: Limits) -> int:
    """Bytes of the smallest copy that there is."""
    *_, bare = _shortened(state.progress)
    wrap = Packing("file", 0, True, _name(state, target, b""))
    text = retry_state.encode(replace(state, progress=bare, wrap=wrap))
    return size_bytes(_NOTE, {retry_state.ATTRIBUTE: text}, limits.type_bytes)


def _shortened(progress: Progress) -> Iterator[Progress]:
    """The progress with its texts whole, cut, and left out."""
    yield progress
    for longest in (REASON_CUT, 0):
        marks, alerts = _cut(progress.marks, longest), _cut(progress.alerts, longest)
        yield Progress(marks, alerts, progress.is_buried, progress.deaths)


def _cut(marks: Mapping[TaskName, Mark], longest: int) -> dict[TaskName, Mark]:
    return {
        task: mark if not mark.reason else replace(mark, reason=mark.reason[:longest] or None)
        for task, mark in marks.items()
    }


def _name(state: RetryState, target: CopyTarget, content: bytes) -> str:
    """The file's name: the same for the same content of the same message, generation and queue, and for no other."""
    uid = _UNSAFE.sub("_", state.uid)
    return f"{uid}-{state.generation}-{target}-{_digest(state.uid, content)}"


def _digest(uid: Uid, content: bytes) -> str:
    digest = hashlib.blake2b(f"{uid}\0".encode("utf-8", "surrogatepass"), digest_size=16)
    digest.update(content)
    return digest.hexdigest()


def _length(content: str | bytes) -> int:
    return len(content) if isinstance(content, bytes) else len(content.encode("utf-8", "surrogatepass"))


# -- unpacking --------------------------------------------------------------------------------------------------------


def _content(message: Message, wrap: Packing, load: Load) -> bytes:
    match wrap.form:
        case "plain":
            return message.body
        case "zlib":
            return _inflated(message.body, wrap.size)
        case "base64":
            try:
                data = b64decode(message.body, validate=True)
            except ValueError as exc:
                raise PackingError(f"its packed body is damaged: it is not base64 ({exc}).") from None
            return _inflated(data, wrap.size)
        case "file":
            return _loaded(message.uid, wrap, load)
        case form:
            raise PackingError(
                f"its body is packed as {form!r}, which this version can't unpack: the copy is damaged, or a newer"
                " version made it. Update this one."
            )


def _inflated(data: bytes, size: int) -> bytes:
    engine = zlib.decompressobj()
    try:
        content = engine.decompress(data, size + 1)  # never more memory than the body that was packed
    except zlib.error as exc:
        raise PackingError(f"its packed body is damaged: {exc}.") from None
    if len(content) > size or not engine.eof or engine.unused_data:
        raise PackingError(f"its packed body is damaged: it doesn't end at the {size} bytes that were packed.")
    return content


def _loaded(uid: Uid, wrap: Packing, load: Load) -> bytes:
    name = wrap.file or ""
    if _NAME.fullmatch(name) is None:
        raise PackingError(
            f"its body is said to be in a file {name[:200]!r}, which is not a name that mulligan gives: it is damaged."
        )
    content = load(name, wrap.size)
    if not name.endswith(_digest(uid, content)):
        raise PackingError(f"its stored body {name} is damaged: it is not what was stored. Put the right file back.")
    return content


# -- attributes and body together: one line of ASCII JSON, then the body as it is -------------------------------------


def _enveloped(message: Message) -> bytes:
    head = json.dumps({name: _encoded(item) for name, item in message.attributes.items()}, separators=(",", ":"))
    return head.encode("ascii") + b"\n" + message.body


def _opened(content: bytes) -> tuple[bytes, dict[str, AttributeValue]]:
    head, newline, body = content.partition(b"\n")
    try:
        if not newline:
            raise ValueError("it has one line")
        items = json.loads(head)
        attributes = {name: _decoded(*packed) for name, packed in items.items() if name != retry_state.ATTRIBUTE}
    except (ValueError, TypeError, AttributeError, RecursionError) as exc:
        raise PackingError(f"its packed attributes are damaged: {exc}.") from None
    return body, attributes


def _encoded(item: AttributeValue) -> list[str | None]:
    """[kind, text], or [kind, base64, "b"]; the kind of plain text and bytes is None."""
    kind, content = (item.kind, item.value) if isinstance(item, Typed) else (None, item)
    return [kind, content] if isinstance(content, str) else [kind, b64encode(content).decode(), "b"]


def _decoded(kind: Any, text: Any, how: Any = "") -> AttributeValue:
    if not isinstance(text, str) or not isinstance(kind, str | None):
        raise TypeError(f"an attribute is a {type(kind).__name__} and a {type(text).__name__}")
    content: str | bytes = b64decode(text, validate=True) if how == "b" else text
    return content if kind is None else Typed(kind, content)
