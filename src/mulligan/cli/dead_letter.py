"""Dead letters as values: deliveries of the dead queue, with duplicates merged into one by uid and generation.

Pure, but for the bodies that a letter left in BODIES_URL: who asks brings along how to load them.
"""

from collections.abc import Container, Sequence
from dataclasses import replace
from typing import Any

from mulligan.core import packing, retry_state
from mulligan.core.delivery import Delivery
from mulligan.core.error import PackingError
from mulligan.core.message import AttributeValue, Message, TaskName, Typed, Uid
from mulligan.core.packing import Limits, Load, PackedMessage
from mulligan.core.progress import Mark, Progress, State, merge
from mulligan.core.retry_state import RetryState, Unread
from mulligan.core.route import Route, begin, reset_for_replay
from mulligan.core.secret import redacted
from mulligan.core.value import value

__all__ = [
    "UNKNOWN",
    "DeadLetter",
    "Key",
    "as_data",
    "attribute_data",
    "copy_of",
    "dead_letter_of",
    "failed",
    "joined",
    "last_error",
    "nothing_runs",
    "renewed",
    "slim",
]


@value
class DeadLetter:
    """One dead letter, all its copies together.

    state: with the merged progress of all copies; None when no copy has one that can be read (`problem` says why).
    dead_at: epoch seconds at which the first copy came to the dead queue.
    ids: of the copies, as the broker has them. group: the message's, on FIFO queues. tenant, trace: as its delivery
    brought them.
    message_id: what its uid was made of, beside the body; None where nobody knows any more.
    body_problem: why its body is not available; None when `message` is the message as it was sent.
    unread: why there is no retry state. One that is held must not be replayed as if it were new; body and attributes
    are then as they travel, and where a newer version wrote it nothing says the generation (`UNKNOWN`).
    """

    uid: Uid
    generation: int
    message: Message
    body_bytes: int
    state: RetryState | None
    unread: Unread | None
    dead_at: float
    ids: tuple[str, ...]
    group: str | None = None
    body_problem: str | None = None
    message_id: str | None = None
    tenant: str | None = None
    trace: str | None = None

    @property
    def problem(self) -> str | None:
        """What is wrong with its retry state, as a sentence."""
        return None if self.unread is None else self.unread.problem

    @property
    def is_too_new(self) -> bool:
        """A newer version of this program wrote it."""
        return self.unread is not None and self.unread.version is not None

    @property
    def unfinished(self) -> tuple[TaskName, ...]:
        """The tasks that were still to be tried: then it was a copy for rejects, and somebody has moved it here."""
        progress = self.progress
        if progress is None:
            return ()
        return tuple(task for task, mark in progress.marks.items() if mark.state is State.PENDING)

    @property
    def progress(self) -> Progress | None:
        """Where its tasks stood at the burial."""
        return None if self.state is None else self.state.progress


UNKNOWN = -1
"""As a generation: so no such copy is folded with one that can be read."""

Key = tuple[Uid, int]
"""uid and generation: what all copies of a letter share."""


def dead_letter_of(delivery: Delivery, prefix: str, load: Load) -> DeadLetter:
    """The letter that one delivery of the dead queue is. load: gives stored bodies."""
    message, state, unread = retry_state.read(delivery, prefix, is_trusted=True)
    generation, size, body_problem = 0, len(message.body), None
    if unread is not None and unread.version is not None:
        generation = UNKNOWN
    if state is not None:
        generation = state.generation
        try:
            message = packing.unpack(message, state, load)
            size = len(message.body)
        except PackingError as exc:
            body_problem = str(exc)
    return DeadLetter(
        message.uid,
        generation,
        message,
        size,
        state,
        unread,
        delivery.sent_at,
        (delivery.id,),
        delivery.group if state is None or state.group is None else state.group,
        body_problem,
        retry_state.id_of(delivery) if state is None else state.id,
        delivery.tenant,
        delivery.trace,
    )


def joined(one: DeadLetter, other: DeadLetter) -> DeadLetter:
    """Two copies of one letter as one; the body is the first one's that can be had."""
    if one.body_problem is not None and other.body_problem is None:
        one = replace(one, message=other.message, body_bytes=other.body_bytes, body_problem=None)
    state = [item for item in (one.state, other.state) if item is not None]
    return replace(
        one,
        state=_merged(state),
        unread=None if state else one.unread,
        dead_at=min(one.dead_at, other.dead_at),
        ids=one.ids + tuple(item for item in other.ids if item not in one.ids),
    )


def slim(letter: DeadLetter) -> DeadLetter:
    """The letter without its body, so that a long list of them fits in memory."""
    message = letter.message
    return replace(letter, message=Message(message.uid, b"", message.attributes, message.sent_at))


def renewed(letter: DeadLetter, route: Route, manifest: Container[TaskName]) -> Progress:
    """Where its message begins again: done stays done, every other task of the route is pending.

    manifest: names of all tasks of tasks.xml. A failed task that is not among them is pending, too, and waits for a
    process that has it (`core.route.renew`).
    """
    if letter.progress is None:
        return begin(route)
    return reset_for_replay(letter.progress, route.tasks, manifest)


def nothing_runs(letter: DeadLetter, progress: Progress, manifest: Container[TaskName]) -> str | None:
    """Why a replay of the letter with this progress would run nothing, and what to do; None where something runs.

    None as well where all its tasks are done: nothing is lost with such a letter.
    """
    pending = [task for task, mark in progress.marks.items() if mark.state is State.PENDING]
    if any(task in manifest for task in pending):
        return None
    if pending:
        names, verb = ", ".join(pending), "is" if len(pending) == 1 else "are"
        return (
            f"nothing of it would run: {names} {verb} not in tasks.xml here, and the rest is done. Replay it where an "
            f"application has {names}, or put {names} back into tasks.xml; what was renamed needs its old name, too"
        )
    known = {} if letter.progress is None else letter.progress.marks
    if progress.marks and all(mark.state is State.DONE for mark in known.values()):
        return None
    return (
        "nothing of it would run: no task of tasks.xml takes it that is not done. Have one take it (its `accepts`), or "
        "replay it where an application has one"
    )


def copy_of(letter: DeadLetter, progress: Progress, limits: Limits) -> tuple[PackedMessage, str]:
    """The copy that replays the letter on the rejects queue, in its next generation, and its deduplication id.

    progress: of `renewed`. Its body must be there. Raises PackingError when it is too big.
    """
    generation = letter.generation + 1
    first_seen_at = letter.message.sent_at if letter.state is None else letter.state.first_seen_at
    state = RetryState(letter.uid, generation, 0, first_seen_at, progress, id=letter.message_id)
    # the same for a repeated replay, so that a FIFO queue takes it once
    dedup_id = f"{letter.uid}-{generation}-0"
    return packing.pack(letter.message, state, limits, packing.REJECTS), dedup_id


def failed(progress: Progress | None) -> tuple[TaskName, ...]:
    """The tasks that were exhausted."""
    if progress is None:
        return ()
    return tuple(task for task, mark in progress.marks.items() if mark.state is State.EXHAUSTED)


def last_error(progress: Progress | None) -> str:
    """The error of the task that failed last, '' when there is none."""
    if progress is None:
        return ""
    marks = [mark for mark in progress.marks.values() if mark.state is State.EXHAUSTED and mark.reason]
    return max(marks, key=lambda mark: mark.failed_at or 0.0).reason or "" if marks else ""


def as_data(letter: DeadLetter) -> dict[str, Any]:
    """The letter as JSON can hold it, without its body."""
    progress = letter.progress
    return {
        "uid": letter.uid,
        "generation": None if letter.generation == UNKNOWN else letter.generation,
        "copies": len(letter.ids),
        "sent_at": letter.message.sent_at,
        "first_seen_at": None if letter.state is None else letter.state.first_seen_at,
        "dead_at": letter.dead_at,
        "failed": list(failed(progress)),
        "tasks": {} if progress is None else {task: _mark_data(mark) for task, mark in progress.marks.items()},
        "unfinished": list(letter.unfinished),
        "problem": letter.problem,
        "state_version": retry_state.VERSION if letter.state is not None else letter.unread and letter.unread.version,
        "attributes": {name: attribute_data(item) for name, item in letter.message.attributes.items()},
        "body_bytes": letter.body_bytes,
        "body_problem": letter.body_problem,
    }


def attribute_data(item: AttributeValue) -> str:
    """An attribute for a person: text, or bytes as Python writes them."""
    if isinstance(item, Typed):
        return f"{attribute_data(item.value)} ({item.kind})"
    return item if isinstance(item, str) else repr(item)


def _mark_data(mark: Mark) -> dict[str, Any]:
    return {
        "state": mark.state.name.lower(),
        "attempts": mark.attempts,
        "error": None if mark.reason is None else redacted(mark.reason),
        "failed_at": mark.failed_at,
    }


def _merged(states: Sequence[RetryState]) -> RetryState | None:
    if len(states) < 2:
        return states[0] if states else None
    one, other = states
    return RetryState(
        one.uid,
        one.generation,
        max(one.hop, other.hop),
        min(one.first_seen_at, other.first_seen_at),
        merge(one.progress, other.progress),
        id=one.id or other.id,
        is_dead=one.is_dead or other.is_dead,
    )
