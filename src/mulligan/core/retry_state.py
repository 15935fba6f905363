"""The `mulligan` attribute: how the progress of a message travels with its copies.

It is believed on the rejects and dead queues only; a producer must not be able to choose which tasks run. It is one
line of ASCII JSON, so that no broker can refuse a character of it, and it names tasks only, never a module or a file:

    {"v": 1, "uid": ..., "gen": 0, "hop": 1, "seen": 1700000000.1, "tasks": {"Task1": ["d", 1], ...}, ...}

"v" is its version. Fields that this version doesn't know are passed over, and lost with the next copy, so none may be
needed for safety. A change of meaning is another version, which is read one release before it is written; a program
that does not know it leaves the copy alone (`Unread`). "v" and "uid" stay where they are in every version.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from mulligan.core import fingerprint
from mulligan.core.delivery import Delivery
from mulligan.core.error import RetryStateError, RetryStateTooNewError
from mulligan.core.message import AttributeValue, Message, TaskName, Uid
from mulligan.core.progress import DONE_AT_FIRST_TRY, FRESH, Mark, Progress, State
from mulligan.core.value import value

__all__ = [
    "ATTRIBUTE",
    "VERSION",
    "Packing",
    "RetryState",
    "Unread",
    "decode",
    "decode_progress",
    "encode",
    "encode_progress",
    "id_of",
    "identify",
    "read",
]

ATTRIBUTE = "mulligan"
"""Name of the one attribute that carries a retry state."""

VERSION = 1
"""Of the state that is written, and the newest that can be read."""

_ID_MAX = 200
"""Characters of an id that a retry state carries: it has to fit where the message itself just fitted."""

# what is trusted is still checked: a uid or a number that a ledger or a lease table can't hold would stop every worker
_UID = re.compile(r"[0-9a-f]{12}[!-~]{0,100}")


@value
class Packing:
    """How the body of a copy is packed. `core.packing` packs and unpacks; a copy without a wrap carries it as it is.

    form: "plain", "zlib", "base64" (zlib in base64) or "file"; a name that is not known is left to who unpacks.
    size: bytes of what was packed. has_attributes: that is the producer's attributes and the body, not the body alone.
    file: name of the stored body.
    """

    form: str
    size: int
    has_attributes: bool = False
    file: str | None = None


@value
class RetryState:
    """A message's past, as a copy of it carries it.

    generation: 0, and one more at each replay of a dead letter.
    hop: rejects since the message was first received in this generation.
    first_seen_at: epoch seconds (UTC) of the first receipt.
    wrap: how this copy's body is packed; None: it is as it was sent.
    group: of a dead letter from a FIFO queue, the message's group. There each letter is a group of its own, or those of
    one group would hide one another from a person who looks.
    id: what the uid was made of, beside the body; None where it is too long, or an older version wrote the retry state.
    is_dead: the copy was put on the dead queue. Older versions neither write nor read it (`core.move`).
    """

    uid: Uid
    generation: int
    hop: int
    first_seen_at: float
    progress: Progress
    wrap: Packing | None = None
    group: str | None = None
    id: str | None = None
    is_dead: bool = False


@value
class Unread:
    """Why a copy on rejects or dead has no retry state. problem: a sentence.

    is_held: there is a state, and it can't be read, so it may say of any task that it is done: the copy is to be left
    alone, neither run nor removed. Else there is none, and the message is new.
    version: of the state, where a newer version of this program wrote it.
    is_in_ledger: what can't be read is not the copy's state but the message's row in the ledger.
    """

    problem: str
    is_held: bool
    version: int | None = None
    is_in_ledger: bool = False


def identify(delivery: Delivery, prefix: str) -> Uid:
    """The uid of a message without a retry state: from the producer's id where there is one, else from the broker's."""
    given = delivery.attributes.get(fingerprint.ID_ATTRIBUTE)
    if not isinstance(given, str) or not given:
        return fingerprint.uid(prefix, delivery.id, delivery.body, delivery.sent_at)
    # the time of a receipt would make another message of each of them
    return fingerprint.uid(prefix, given, delivery.body, delivery.sent_at if delivery.is_dated else 0.0)


def id_of(delivery: Delivery) -> str | None:
    """The id that `identify` takes, as a retry state carries it; None where it is too long for that."""
    given = delivery.attributes.get(fingerprint.ID_ATTRIBUTE)
    found = given if isinstance(given, str) and given else delivery.id
    return found if len(found) <= _ID_MAX else None


def read(delivery: Delivery, prefix: str, *, is_trusted: bool) -> tuple[Message, RetryState | None, Unread | None]:
    """The message of a delivery, the retry state that it carries, and what is wrong with that.

    is_trusted: the queue is rejects or dead. Elsewhere the attribute is removed unread.
    The third is None but for a trusted copy without a retry state. One that is held has the uid in its state
    where a newer version wrote it, else one that is made up and serves for texts only.
    """
    attributes = delivery.attributes
    if ATTRIBUTE in attributes:
        raw = attributes[ATTRIBUTE]
        attributes = {name: item for name, item in attributes.items() if name != ATTRIBUTE}
    elif not is_trusted:
        return Message(identify(delivery, prefix), delivery.body, attributes, delivery.sent_at), None, None
    else:
        raw = None
    unread, uid = None, None
    if is_trusted:
        if raw is None:
            unread = Unread(f"it has no attribute {ATTRIBUTE!r}: it was not put there by mulligan", is_held=False)
        else:
            try:
                state = decode(raw)
                sent_at = int(state.uid[:12], 16) / 1000 or state.first_seen_at
                return Message(state.uid, delivery.body, attributes, sent_at), state, None
            except RetryStateTooNewError as exc:
                unread, uid = Unread(str(exc), is_held=True, version=exc.version), exc.uid
            except RetryStateError as exc:
                unread = Unread(str(exc), is_held=True)
    known = identify(delivery, prefix) if uid is None else Uid(uid)
    return Message(known, delivery.body, attributes, delivery.sent_at), None, unread


def encode(state: RetryState) -> str:
    """The attribute's value."""
    data: dict[str, Any] = {
        "v": VERSION,
        "uid": state.uid,
        "gen": state.generation,
        "hop": state.hop,
        "seen": round(state.first_seen_at, 3),
        **_progress_data(state.progress),
    }
    if state.wrap is not None:
        data["body"] = _wrap_data(state.wrap)
    if state.group is not None:
        data["group"] = state.group
    if state.id is not None:
        data["id"] = state.id
    if state.is_dead:
        data["dead"] = True
    return json.dumps(data, separators=(",", ":"))


def decode(raw: AttributeValue) -> RetryState:
    """The state in an attribute's value. RetryStateTooNewError: a newer version's. RetryStateError: it is damaged."""
    if not isinstance(raw, str):
        raise RetryStateError(f"its attribute {ATTRIBUTE!r} is a {type(raw).__name__}, expected text")
    data = _loaded(raw)
    version = data.get("v")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise _of_version(version, data.get("uid"))
    try:
        uid = data["uid"]
        if not isinstance(uid, str):
            raise TypeError("uid is not text")
        if not _UID.fullmatch(uid):
            raise ValueError(f"uid is {uid[:50]!r}")
        generation, hop, seen_at = _count(data["gen"]), _count(data["hop"]), _moment(data["seen"])
        group, message_id = data.get("group"), data.get("id")
        if not isinstance(group, str | None):
            raise TypeError("group is not text")
        if not isinstance(message_id, str | None):
            raise TypeError("id is not text")
        return RetryState(
            Uid(uid), generation, hop, seen_at, _progress(data), _wrap(data.get("body")), group, message_id,
            data.get("dead") is True,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as exc:
        raise RetryStateError(f"its attribute {ATTRIBUTE!r} is damaged: {exc!r} in {raw[:200]!r}") from None


def encode_progress(progress: Progress) -> str:
    """A progress as the ledger keeps it; its deaths are kept beside it, not in it."""
    marks = progress.marks
    if not progress.is_buried and all(mark is DONE_AT_FIRST_TRY for mark in marks.values()):
        # the common case, a tenth of json.dumps; names are class names, so they need no escapes
        inner = ",".join([f'"{task}":["d",1]' for task in marks])
        return f'{{"tasks":{{{inner}}}}}'
    return json.dumps(_progress_data(progress), separators=(",", ":"))


def decode_progress(raw: str, deaths: int = 0) -> Progress:
    """The reverse of `encode_progress`. Raises RetryStateError when a ledger row is damaged."""
    data = _loaded(raw)
    try:
        return _progress(data, deaths)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as exc:
        raise RetryStateError(f"a progress in the ledger is damaged: {exc!r} in {raw[:200]!r}") from None


def _of_version(version: Any, uid: Any) -> RetryStateError:
    """The error for a version that is not known: of the future, or none that was ever written."""
    text = f"its attribute {ATTRIBUTE!r} has version {repr(version)[:50]}, expected {VERSION}"
    if type(version) is not int or not VERSION < version < 2**31:
        return RetryStateError(text)
    known = uid if isinstance(uid, str) and _UID.fullmatch(uid) else None
    return RetryStateTooNewError(f"{text}: a newer version of this program wrote it", version, known)


def _loaded(raw: str) -> dict[str, Any]:
    try:
        data = json.loads(raw, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as exc:
        raise RetryStateError(f"its progress is not JSON ({exc}): {raw[:200]!r}") from None
    if not isinstance(data, dict):
        raise RetryStateError(f"its progress is not a JSON object: {raw[:200]!r}")
    return data


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number that we write")


def _progress_data(progress: Progress) -> dict[str, Any]:
    data: dict[str, Any] = {"tasks": _marks_data(progress.marks)}
    if progress.is_buried:
        data["buried"] = True
        data["alerts"] = _marks_data(progress.alerts)
    return data


def _wrap_data(wrap: Packing) -> dict[str, Any]:
    data: dict[str, Any] = {"form": wrap.form, "size": wrap.size}
    if wrap.has_attributes:
        data["attributes"] = True
    if wrap.file is not None:
        data["file"] = wrap.file
    return data


def _wrap(data: Any) -> Packing | None:
    """A damaged one is one of an unknown form: the message is known, and must not be run on what is not a body."""
    if data is None:
        return None
    match data:
        case {"form": str(form), "size": int(size)} if 0 <= size < 2**31:
            file = data.get("file")
            return Packing(form, size, data.get("attributes") is True, file if isinstance(file, str) else None)
        case _:
            return Packing("damaged", 0)


def _marks_data(marks: Mapping[TaskName, Mark]) -> dict[str, list[Any]]:
    return {task: _mark_data(mark) for task, mark in marks.items()}


def _mark_data(mark: Mark) -> list[Any]:
    head = [mark.state.value, mark.attempts]
    if mark.failed_at is not None:
        return [*head, round(mark.due_at, 3), mark.reason, round(mark.failed_at, 3)]
    if mark.reason is not None:
        return [*head, round(mark.due_at, 3), mark.reason]
    return [*head, round(mark.due_at, 3)] if mark.due_at else head


def _progress(data: Mapping[str, Any], deaths: int = 0) -> Progress:
    return Progress(
        marks=_marks(data["tasks"]),
        alerts=_marks(data.get("alerts") or {}),
        is_buried=bool(data.get("buried", False)),
        deaths=deaths,
    )


def _marks(data: Mapping[str, Any]) -> dict[TaskName, Mark]:
    marks = {TaskName(task): _mark(fields) for task, fields in data.items()}
    if not all(task.isidentifier() for task in marks):
        raise ValueError(f"a task's name is a class's name, and one of {list(marks)!r} is none")
    return marks


def _mark(fields: list[Any]) -> Mark:
    letter, attempts, *rest = fields
    padded: list[Any] = [*rest, None, None, None]
    due_at, reason, failed_at = padded[:3]
    if type(attempts) is not int or attempts < 0:
        raise ValueError(f"attempts are {attempts!r}")
    if reason is not None and not isinstance(reason, str):
        raise TypeError(f"reason is {reason!r}")
    mark = Mark(
        State(letter), attempts, _moment(due_at or 0.0), reason, None if failed_at is None else _moment(failed_at)
    )
    return FRESH if mark == FRESH else DONE_AT_FIRST_TRY if mark == DONE_AT_FIRST_TRY else mark


def _count(raw: Any) -> int:
    number = int(raw)
    if not 0 <= number < 2**31:
        raise ValueError(f"{number} is not a count that we write")
    return number


def _moment(raw: Any) -> float:
    seconds = float(raw)
    # 1e999 is JSON, and infinity; the year 5138 is far enough. NaN is refused by the comparison, too
    if not 0.0 <= seconds < 1e11:
        raise ValueError(f"{seconds} is not a time that we write")
    return seconds
