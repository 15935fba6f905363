"""The two functions that decide what happens to a message.

`next_step` looks at where the tasks of a message stand and says what to do now; `record` says where they stand after
an attempt. The worker does as they say and nothing else. Their life together, for one delivery:

    claim -> next_step -> Run     -> record (once an outcome) -> next_step -> ...
                       -> Bury    -> mark_buried              -> next_step -> ...
                       -> Ack | Release | Reject               (the delivery is over)

Two progresses take part: `carried` is what this copy of the message brought along, `progress` is the newest known.
A task runs at most once with a copy, so a task whose attempts are more than the copy carried waits for the next copy,
even when its time has come. What holds always (checked by the property tests and the simulation):

- never Ack while a task is neither done nor buried
- a task that is done is in no later Run
- attempts <= max_attempts, and so the number of deliveries is finite
- a message is buried exactly when one of its tasks is exhausted, or when no task takes it
- default tasks run after a burial, at least once, and never otherwise
- record never loses a mark
- duplicates, reordering and false empties change none of these
"""

from collections.abc import Mapping
from typing import assert_never

from mulligan.core.clock import CLOCKS_DIFFER_S
from mulligan.core.message import TaskName
from mulligan.core.outcome import Died, Failed, Interrupted, Outcome, Skipped, Succeeded, TimedOut
from mulligan.core.policy import Policy, delay_s
from mulligan.core.progress import (
    DONE_AT_FIRST_TRY,
    ERROR_MAX,
    FRESH,
    Mark,
    Progress,
    State,
    cut,
    is_further,
    is_refused,
)
from mulligan.core.route import NONE_MISSING, Missing, Route
from mulligan.core.step import ACK, BURY, Reject, Release, Run, Step

__all__ = [
    "DEATHS_MAX",
    "ERROR_MAX",
    "begun_alone",
    "mark_buried",
    "next_step",
    "rebased",
    "record",
    "settled",
]

DEATHS_MAX = 3
"""Starts without an end after which the task that ran is exhausted. The first claim that runs out is not one."""


def next_step(
    route: Route,
    carried: Progress,
    progress: Progress,
    now: float,
    *,
    can_run: bool = True,
    missing: Missing = NONE_MISSING,
) -> Step:
    """What to do with a delivery now. Never raises.

    carried: the progress that this copy of the message brought along.
    progress: the newest known; never behind `carried`.
    now: epoch seconds (UTC).
    can_run: False at shutdown: nothing new is started, and what is unfinished is handed on.
    missing: the pending tasks that this process doesn't know: they are looked at again later.
    """
    unknown = missing.tasks
    marks, before = (progress.alerts, carried.alerts) if progress.is_buried else (progress.marks, carried.marks)
    due: list[TaskName] = []
    wake_at: float | None = None
    has_exhausted = False
    for task, mark in marks.items():
        state = mark.state
        if state is State.PENDING:
            due_at = mark.due_at
            if due_at <= now:
                if unknown and task in unknown:
                    due_at = missing.again_at(mark, now)
                elif marks is before or mark.attempts == before.get(task, FRESH).attempts:
                    due.append(task)
            elif mark.failed_at is not None and mark.failed_at > now + CLOCKS_DIFFER_S:
                due_at = now + max(0.0, due_at - mark.failed_at)  # this host's clock was set back since
            wake_at = due_at if wake_at is None else min(wake_at, due_at)
        elif state is State.EXHAUSTED:
            has_exhausted = True

    if due and can_run:
        return Run(tuple(due))
    if wake_at is not None:
        wait_s = max(0.0, wake_at - now)
        return Reject(wait_s) if is_further(progress, carried) else Release(wait_s)
    if progress.is_buried:
        return ACK
    if has_exhausted or (is_refused(marks) and not route.drops_unrouted):
        return BURY
    return ACK


def rebased(progress: Progress, now: float, *, has_waited: bool = False) -> Progress:
    """The progress with due times by the clock of this host, where that of the host that set them is ahead of it.

    A task that failed in the future has waited for nobody knows how long. It waits for as long again as it was
    asked to when it failed, or not at all (has_waited), whatever the clocks say; one that has not failed is due.
    now: epoch seconds (UTC). What is given back is `progress` where the clocks agree to a few seconds.
    """
    marks, alerts = _rebased(progress.marks, now, has_waited), _rebased(progress.alerts, now, has_waited)
    if marks is progress.marks and alerts is progress.alerts:
        return progress
    return Progress(marks, alerts, progress.is_buried, progress.deaths)


def record(progress: Progress, task: TaskName, outcome: Outcome, policy: Policy, now: float, rand: float) -> Progress:
    """Where the message stands after one attempt of `task`. Never raises, never loses a mark.

    now: epoch seconds (UTC). rand: in [0, 1), for the jitter of the next wait.
    """
    in_alerts = progress.is_buried
    marks = progress.alerts if in_alerts else progress.marks
    known = marks.get(task, FRESH)
    if known.state is not State.PENDING:
        return progress
    deaths = progress.deaths
    if isinstance(outcome, Died):
        deaths = max(deaths + 1, -deaths)
        if deaths < DEATHS_MAX:
            return Progress(progress.marks, progress.alerts, progress.is_buried, deaths)
        # the siblings still run alone, as suspects, but this one death is not theirs
        deaths = 1
    mark = _marked(known, outcome, policy, now, rand)
    if mark is known:
        return progress
    changed: Mapping[TaskName, Mark] = {**marks, task: mark}
    if in_alerts:
        return Progress(progress.marks, changed, is_buried=True, deaths=deaths)
    return Progress(changed, progress.alerts, is_buried=False, deaths=deaths)


def begun_alone(progress: Progress) -> Progress:
    """The progress of a suspect of which a task is about to start, to be saved before it does.

    Whoever takes its claim over when that has run out counts the start as a death: its host may have died of it.
    """
    if progress.deaths <= 0:
        return progress
    return Progress(progress.marks, progress.alerts, progress.is_buried, -progress.deaths - 1)


def mark_buried(progress: Progress, route: Route) -> Progress:
    """The progress once the broker has confirmed the dead letter: default tasks pending, deaths forgotten."""
    return Progress(progress.marks, dict.fromkeys(route.default_tasks, FRESH), is_buried=True)


def settled(progress: Progress) -> Progress:
    """The progress that the next copy carries: a settlement forgets the deaths."""
    return Progress(progress.marks, progress.alerts, progress.is_buried) if progress.deaths else progress


def _rebased(marks: Mapping[TaskName, Mark], now: float, has_waited: bool) -> Mapping[TaskName, Mark]:
    latest_at = now + CLOCKS_DIFFER_S
    changed: dict[TaskName, Mark] = {}
    for task, mark in marks.items():
        # what is due has no time left to wait, whatever the clocks say
        if mark.due_at > latest_at and mark.state is State.PENDING:
            set_at = mark.failed_at if mark.attempts else mark.due_at
            if set_at is not None and set_at > latest_at:
                wait_s = 0.0 if has_waited else max(0.0, mark.due_at - set_at)
                failed_at = mark.failed_at and now
                changed[task] = Mark(State.PENDING, mark.attempts, now + wait_s, mark.reason, failed_at)
    return {**marks, **changed} if changed else marks


def _marked(known: Mark, outcome: Outcome, policy: Policy, now: float, rand: float) -> Mark:
    match outcome:
        case Succeeded():
            return DONE_AT_FIRST_TRY if known is FRESH else Mark(State.DONE, known.attempts + 1)
        case Skipped(reason):
            return Mark(State.DONE, known.attempts + 1, 0.0, cut(f"skipped: {reason}"))
        case Interrupted():
            return known
        case Failed(error, is_final, retry_after_s):
            return _failed(known, error, is_final, retry_after_s, policy, now, rand)
        case TimedOut(after_s, retry_after_s):
            return _failed(known, f"timed out after {after_s:g} s", False, retry_after_s, policy, now, rand)
        case Died(how):
            return Mark(State.EXHAUSTED, known.attempts + 1, 0.0, cut(f"kills its worker ({how})"), now)
        case _:
            assert_never(outcome)


def _failed(
    known: Mark, error: str, is_final: bool, retry_after_s: float | None, policy: Policy, now: float, rand: float
) -> Mark:
    attempts = known.attempts + 1
    if is_final or attempts >= policy.max_attempts:
        return Mark(State.EXHAUSTED, attempts, 0.0, cut(error), now)
    wait_s = delay_s(policy.backoff, attempts, rand) if retry_after_s is None else retry_after_s
    return Mark(State.PENDING, attempts, now + wait_s, cut(error), now)
