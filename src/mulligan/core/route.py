"""Which tasks apply to one message. Fixed at the first claim, by task name."""

from collections.abc import Container, Mapping
from datetime import UTC, datetime

from mulligan.core.message import TaskName
from mulligan.core.policy import again_in_s
from mulligan.core.progress import FRESH, REFUSED, Mark, Progress, State, cut
from mulligan.core.value import value

__all__ = [
    "MISSING_FIRST_S",
    "MISSING_LONGEST_S",
    "NONE_MISSING",
    "UNKNOWN_SINCE",
    "Missing",
    "Route",
    "begin",
    "exhaust",
    "reconcile",
    "reset_for_replay",
]

UNKNOWN_SINCE = "unknown here since"
"""How the reason begins of a task that is exhausted because no process came that knows it."""

MISSING_FIRST_S = 30.0
MISSING_LONGEST_S = 900.0
"""How long a message waits for a task that is missing, before it is looked at again: a roll-out takes minutes."""


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


@value
class Missing:
    """Pending tasks that a process doesn't know: it may be older or newer than the one that began the message.

    grace_s: seconds from the due time of such a task after which it is exhausted.
    """

    tasks: frozenset[TaskName] = frozenset()
    grace_s: float = 0.0

    def again_at(self, mark: Mark, now: float) -> float:
        """When to look again whether the task is there; epoch seconds. mark: the task's, and it is due."""
        return min(
            now + again_in_s(MISSING_FIRST_S, MISSING_LONGEST_S, 1, now - mark.due_at), mark.due_at + self.grace_s
        )

    def is_all_of(self, progress: Progress) -> bool:
        """Whether a message waits for nothing but such tasks."""
        if not self.tasks:
            return False
        marks = progress.alerts if progress.is_buried else progress.marks
        pending = {task for task, mark in marks.items() if mark.state is State.PENDING}
        return bool(pending) and pending <= self.tasks


NONE_MISSING = Missing()


def reconcile(
    progress: Progress, known: Container[TaskName], now: float, *, grace_s: float, since_at: float
) -> tuple[Progress, Missing]:
    """`progress` under today's manifest, and which of its pending tasks are missing there.

    A task that has been missing for longer than grace_s is exhausted; a new task skips old messages.
    known: names of all tasks of the manifest, default ones included. now: epoch seconds (UTC).
    since_at: epoch seconds from which a task counts as missing that has no due time; it gets that as its due time.
    """
    if _all_known(progress.marks, known) and _all_known(progress.alerts, known):
        return progress, NONE_MISSING
    failed_at = [mark.failed_at for mark in progress.marks.values() if mark.failed_at is not None]
    marks, lacking = _fitted(progress.marks, known, now, grace_s, since_at)
    # default tasks are raised when the last other one has ended
    alerts, also_lacking = _fitted(progress.alerts, known, now, grace_s, max(failed_at, default=since_at))
    fitted = progress
    if marks != progress.marks or alerts != progress.alerts:
        fitted = Progress(marks, alerts, progress.is_buried, progress.deaths)
    return fitted, Missing(lacking | also_lacking, grace_s)


def reset_for_replay(
    progress: Progress, tasks: tuple[TaskName, ...], manifest: Container[TaskName] | None = None
) -> Progress:
    """The progress of a replayed dead letter: done stays done, every other task of today's manifest starts afresh.

    A task that did not take the message is not done: `accepts` may have been mended.
    tasks: today's route, or the one that the replay began with. manifest: names of all tasks of the manifest, where the
    replay begins. A task that failed and is not among them starts afresh, too, and is missing: else the message would
    be taken for done without it. Unless there is a task that is new to the message: it may have another name today.
    """
    marks = progress.marks
    done = {task: mark for task, mark in marks.items() if mark.state is State.DONE and mark.reason != REFUSED}
    renewed = {**dict.fromkeys(tasks, FRESH), **done}
    if manifest is not None and all(task in marks for task in tasks):
        lacking = [task for task, mark in marks.items() if mark.state is not State.DONE and task not in manifest]
        renewed |= dict.fromkeys(lacking, FRESH)
    return Progress(renewed)


def exhaust(tasks: tuple[TaskName, ...], reason: str, now: float) -> Progress:
    """The progress of a message that is not to be run at all: every task exhausted, unstarted, for that reason."""
    return Progress(dict.fromkeys(tasks, Mark(State.EXHAUSTED, 0, 0.0, reason, now)))


def _all_known(marks: Mapping[TaskName, Mark], known: Container[TaskName]) -> bool:
    return all(mark.state is not State.PENDING or task in known for task, mark in marks.items())


def _fitted(
    marks: Mapping[TaskName, Mark], known: Container[TaskName], now: float, grace_s: float, since_at: float
) -> tuple[dict[TaskName, Mark], frozenset[TaskName]]:
    fitted, lacking = dict(marks), set()
    for task, mark in marks.items():
        if mark.state is not State.PENDING or task in known:
            continue
        due_at = mark.due_at or min(since_at, now)
        if not grace_s or now - due_at >= grace_s:
            fitted[task] = Mark(State.EXHAUSTED, mark.attempts, 0.0, _unknown(mark, min(due_at, now)), mark.failed_at)
        else:
            lacking.add(task)
            if not mark.due_at:
                fitted[task] = Mark(mark.state, mark.attempts, due_at, mark.reason, mark.failed_at)
    return fitted, frozenset(lacking)


def _unknown(mark: Mark, since_at: float) -> str:
    since = datetime.fromtimestamp(since_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return cut(
        f"{UNKNOWN_SINCE} {since}, it is not in tasks.xml" + (f"; last error: {mark.reason}" if mark.reason else "")
    )
