"""Where each task of one message stands. The next module is `step`: what may be said about it."""

from collections.abc import Mapping
from dataclasses import field
from enum import Enum

from mulligan.core.message import TaskName
from mulligan.core.outcome import NOT_TAKEN
from mulligan.core.value import value

__all__ = [
    "DONE_AT_FIRST_TRY",
    "ERROR_MAX",
    "FRESH",
    "REFUSED",
    "Mark",
    "Progress",
    "State",
    "at_rest",
    "cut",
    "is_further",
    "is_refused",
    "is_suspect",
    "merge",
]

ERROR_MAX = 2048
"""Characters of an error text that are kept in a mark."""


class State(Enum):
    """Where one task of one message stands. The value is its letter in the `mulligan` attribute."""

    PENDING = "p"
    DONE = "d"
    EXHAUSTED = "x"


@value
class Mark:
    """One task of one message.

    attempts: those that ended in success, failure or timeout.
    due_at: epoch seconds; while pending, not to be run before.
    reason: the last error, or why it was skipped.
    failed_at: epoch seconds of the last failure.
    """

    state: State = State.PENDING
    attempts: int = 0
    due_at: float = 0.0
    reason: str | None = None
    failed_at: float | None = None


FRESH = Mark()
DONE_AT_FIRST_TRY = Mark(State.DONE, 1)

REFUSED = f"skipped: {NOT_TAKEN}"
"""The reason of a task that was asked when it was run, and does not take the message. Its mark counts as done."""


@value
class Progress:
    """Where the tasks of one message stand.

    marks: one a task of the message's route; its keys are the route.
    alerts: one a default task, from the burial on; empty before.
    is_buried: the dead letter is on the dead queue, confirmed by the broker.
    deaths: starts that ended without an end (the worker died); 0 after a settlement or a burial. -n while one more may
    be under way: it is the n-th death if its claim runs out, and none if the claim is given back. So -1 is of a message
    whose claim ran out once, which may have been its host's end and none of its doing: it runs among others once more.
    """

    marks: Mapping[TaskName, Mark]
    alerts: Mapping[TaskName, Mark] = field(default_factory=dict)
    is_buried: bool = False
    deaths: int = 0


def is_suspect(deaths: int) -> bool:
    """Whether the tasks of a message with this many run alone."""
    return deaths > 0 or deaths < -1


def at_rest(progress: Progress) -> Progress:
    """The progress of a suspect of which no task runs now."""
    if progress.deaths >= -1:
        return progress
    return Progress(progress.marks, progress.alerts, progress.is_buried, -progress.deaths - 1)


def cut(text: str) -> str:
    """An error text as a mark keeps it."""
    return text if len(text) <= ERROR_MAX else text[: ERROR_MAX - 4] + " ..."


def is_refused(marks: Mapping[TaskName, Mark]) -> bool:
    """Whether no task takes the message: there is none, or each was asked and said no."""
    return all(mark.reason == REFUSED for mark in marks.values())


_RANK = {State.PENDING: 0, State.EXHAUSTED: 1, State.DONE: 2}


def is_further(one: Progress, other: Progress) -> bool:
    """Whether `one` knows something that `other` does not: a burial, a task further on, an attempt more."""
    if one is other:
        return False
    return (
        (one.is_buried and not other.is_buried)
        or _any_further(one.marks, other.marks)
        or _any_further(one.alerts, other.alerts)
    )


def merge(one: Progress, other: Progress) -> Progress:
    """The newest of both, task by task: done before exhausted before pending, then more attempts; of one attempt the
    earlier time of its failure. Commutative.
    """
    return Progress(
        marks=_merged(one.marks, other.marks),
        alerts=_merged(one.alerts, other.alerts),
        is_buried=one.is_buried or other.is_buried,
        deaths=max(one.deaths, other.deaths, key=lambda deaths: (abs(deaths), deaths)),
    )


def _rank(mark: Mark) -> tuple[int, int, float, float, str]:
    # one attempt fails once: of two times, the later one is by a clock that is ahead (see `flow.rebased`)
    failed_at = mark.failed_at or 0.0
    return _RANK[mark.state], mark.attempts, -failed_at, mark.due_at, mark.reason or ""


def _any_further(one: Mapping[TaskName, Mark], other: Mapping[TaskName, Mark]) -> bool:
    for task, mark in one.items():
        known = other.get(task)
        if known is mark:
            continue
        if known is None or _rank(mark)[:2] > _rank(known)[:2]:
            return True
    return False


def _merged(one: Mapping[TaskName, Mark], other: Mapping[TaskName, Mark]) -> dict[TaskName, Mark]:
    result = dict(one)
    for task, mark in other.items():
        known = result.get(task)
        if known is None or _rank(mark) > _rank(known):
            result[task] = mark
    return result
