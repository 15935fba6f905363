"""Which tasks apply to one message. Fixed at the first claim, by task name."""

from collections.abc import Container, Mapping

from mulligan.core.message import TaskName
from mulligan.core.progress import FRESH, REFUSED, Mark, Progress, State
from mulligan.core.value import value

__all__ = ["NOT_ANY_MORE", "Route", "begin", "exhaust", "fit", "renew"]

NOT_ANY_MORE = "not in tasks.xml any more"
"""Why a task is exhausted that a process doesn't know."""


@value
class Route:
    """The tasks that take a message, and the default tasks that are raised when one of them is exhausted.

    Both in manifest order. drops_unrouted: a message that no task takes is acknowledged instead of buried.
    """

    tasks: tuple[TaskName, ...]
    default_tasks: tuple[TaskName, ...] = ()
    drops_unrouted: bool = False


def begin(route: Route) -> Progress:
    """The progress of a message that was never claimed: every task of its route pending."""
    return Progress(dict.fromkeys(route.tasks, FRESH))


def fit(progress: Progress, known: Container[TaskName]) -> Progress:
    """`progress` under today's manifest: a pending mark whose task is gone is exhausted; a new task skips old messages.

    known: names of all tasks of the manifest, default ones included.
    """
    if _all_known(progress.marks, known) and _all_known(progress.alerts, known):
        return progress
    return Progress(
        marks=_fitted(progress.marks, known),
        alerts=_fitted(progress.alerts, known),
        is_buried=progress.is_buried,
        deaths=progress.deaths,
    )


def renew(progress: Progress, tasks: tuple[TaskName, ...]) -> Progress:
    """The progress of a replayed dead letter: done stays done, every other task of today's manifest starts afresh.

    A task that did not take the message is not done: `accepts` may have been mended.
    """
    done = {task: mark for task, mark in progress.marks.items() if mark.state is State.DONE and mark.reason != REFUSED}
    return Progress({**dict.fromkeys(tasks, FRESH), **done})


def exhaust(tasks: tuple[TaskName, ...], reason: str, now: float) -> Progress:
    """The progress of a message that is not to be run at all: every task exhausted, unstarted, for that reason."""
    return Progress(dict.fromkeys(tasks, Mark(State.EXHAUSTED, 0, 0.0, reason, now)))


def _all_known(marks: Mapping[TaskName, Mark], known: Container[TaskName]) -> bool:
    return all(mark.state is not State.PENDING or task in known for task, mark in marks.items())


def _fitted(marks: Mapping[TaskName, Mark], known: Container[TaskName]) -> dict[TaskName, Mark]:
    return {
        task: Mark(State.EXHAUSTED, mark.attempts, 0.0, NOT_ANY_MORE, mark.failed_at)
        if mark.state is State.PENDING and task not in known
        else mark
        for task, mark in marks.items()
    }
