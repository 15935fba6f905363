"""Draws the states of one message by asking the flow itself: every state that `next_step` and `record` can reach.

The message has one task, tried twice, and one default task, tried once: enough for every kind of step to appear.
"""

from collections.abc import Iterator

from mulligan.core.flow import mark_buried, next_step, record
from mulligan.core.message import TaskName
from mulligan.core.outcome import SUCCEEDED, Failed
from mulligan.core.policy import Backoff, Policy
from mulligan.core.progress import Mark, Progress, State
from mulligan.core.route import Route, begin
from mulligan.core.step import Ack, Bury, Reject, Release, Run

TASK, ALERT = TaskName("task"), TaskName("alert")
ROUTE = Route((TASK,), (ALERT,))
POLICIES = {TASK: Policy(2, Backoff(10.0)), ALERT: Policy(1)}
NOW = 0.0

Situation = tuple[Progress, Progress, float]
"""What the copy carried, what is known, and the time."""


def mermaid() -> str:
    """The diagram, as mermaid source."""
    first = (begin(ROUTE), begin(ROUTE), NOW)
    names: dict[str, str] = {}
    edges: list[str] = []
    waiting, seen = [first], {_label(first)}
    while waiting:
        situation = waiting.pop(0)
        here = _label(situation)
        names.setdefault(here, f"s{len(names)}")
        for step, after in _next(situation):
            if after is None:
                edges.append(f"    {names[here]} --> [*]: {step}")
                continue
            there = _label(after)
            names.setdefault(there, f"s{len(names)}")
            edges.append(f"    {names[here]} --> {names[there]}: {step}")
            if there not in seen:
                seen.add(there)
                waiting.append(after)
    states = [f'    state "{label}" as {name}' for label, name in names.items()]
    return "\n".join(["stateDiagram-v2", *states, "    [*] --> s0: received from requests", *edges])


def _next(situation: Situation) -> Iterator[tuple[str, Situation | None]]:
    carried, progress, now = situation
    match next_step(ROUTE, carried, progress, now):
        case Run((task, *_)):
            for name, outcome in (("succeeds", SUCCEEDED), ("fails", Failed("error"))):
                yield f"Run, {task} {name}", (carried, record(progress, task, outcome, POLICIES[task], now, 1.0), now)
        case Bury():
            yield "Bury", (carried, mark_buried(progress, ROUTE), now)
        case Reject(delay_s):
            yield "Reject, then the copy is received", (progress, progress, now + delay_s)
        case Release(delay_s):
            yield "Release", (carried, progress, now + delay_s)
        case Ack():
            yield "Ack", None


def _label(situation: Situation) -> str:
    carried, progress, now = situation
    marks = [*progress.marks.items(), *progress.alerts.items()]
    before = {**carried.marks, **carried.alerts}
    parts = [f"{task} {_told(mark, before.get(task), now)}" for task, mark in marks]
    return ", ".join([*parts, *(["buried"] if progress.is_buried else [])])


def _told(mark: Mark, before: Mark | None, now: float) -> str:
    if mark.state is not State.PENDING:
        return mark.state.name.lower()
    tried = f"pending after {mark.attempts} attempt{'s' * (mark.attempts != 1)}"
    is_new = mark.attempts == (before.attempts if before is not None else 0)
    return tried if mark.due_at <= now and is_new else f"{tried}, to be tried again"
