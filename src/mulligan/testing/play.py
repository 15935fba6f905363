"""One message through the real flow, with a clock that is moved rather than waited for.

The tasks are adapted, routed, run and judged as a worker does it: the same checks at the start, the same payloads, the
same retries, dead letters and default tasks. Only broker, ledger and processes are missing, and every wait is skipped.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from mulligan.core import fingerprint
from mulligan.core.error import ConfigurationError
from mulligan.core.flow import mark_buried, next_step, record
from mulligan.core.message import AttributeValue, Message, TaskName
from mulligan.core.outcome import Outcome
from mulligan.core.policy import Policy
from mulligan.core.progress import Progress, State
from mulligan.core.route import begin
from mulligan.core.step import Ack, Bury, Reject, Release, Run
from mulligan.core.value import value
from mulligan.tasks.adapter import adapt
from mulligan.tasks.base import Task
from mulligan.tasks.manifest import Entry
from mulligan.tasks.registry import LoadedTask, TaskRegistry
from mulligan.testing.attempt import attempt

__all__ = ["Attempted", "Played", "play", "play_async"]

NOW = 1_700_000_000.0
_HALF = 0.5  # for the jitter of waits: the same in every run


@value
class Attempted:
    """One attempt. number: 1 for the first. at: epoch seconds of the fake clock."""

    task: TaskName
    number: int
    at: float
    outcome: Outcome


@value
class Played:
    """What became of the message. progress: where each task stands at the end; attempts: all of them, in order.

    waits_s: seconds that the message waited on rejects, each time.
    """

    message: Message
    progress: Progress
    attempts: tuple[Attempted, ...]
    waits_s: tuple[float, ...]

    @property
    def is_done(self) -> bool:
        """Every task is done, by success or by a skip."""
        return bool(self.progress.marks) and all(mark.state is State.DONE for mark in self.progress.marks.values())

    @property
    def is_dead(self) -> bool:
        """It became a dead letter: a task was exhausted, or no task took it."""
        return self.progress.is_buried

    def attempts_of(self, task: type[Task] | str) -> int:
        """How often a task was tried."""
        return sum(one.task == _name(task) for one in self.attempts)

    def error_of(self, task: type[Task] | str) -> str | None:
        """The last error of a task, as a dead letter shows it; None when it had none."""
        mark = self.progress.marks.get(_name(task)) or self.progress.alerts.get(_name(task))
        return None if mark is None else mark.reason


def play(
    *tasks: type[Task],
    body: Any,
    default: Sequence[type[Task]] = (),
    attributes: Mapping[str, AttributeValue] | None = None,
    policy: Policy | None = None,
) -> Played:
    """Hand one message to the tasks and go on until it is done or dead; what became of it.

    body: text or bytes as they are; anything else as JSON. default: the alert tasks.
    policy: for what the classes don't say; the settings' defaults when None.
    Raises ConfigurationError when a task would keep the system from starting, RuntimeError where a loop runs already:
    an async test takes `play_async`.
    """
    if _is_in_loop():
        raise RuntimeError("play() was called where an event loop runs. In an async test, write: await play_async(...)")
    with asyncio.Runner() as runner:
        return runner.run(play_async(*tasks, body=body, default=default, attributes=attributes, policy=policy))


async def play_async(
    *tasks: type[Task],
    body: Any,
    default: Sequence[type[Task]] = (),
    attributes: Mapping[str, AttributeValue] | None = None,
    policy: Policy | None = None,
) -> Played:
    """The same in the loop that runs, for async tests: what tasks await may be of that loop, such as a server."""
    registry = _registry(tasks, default, policy or Policy())
    raw = _raw(body)
    message = Message(fingerprint.uid("test", "1", raw, NOW), raw, dict(attributes or {}), NOW)
    return await _whole(registry, message)


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _whole(registry: TaskRegistry, message: Message) -> Played:
    from mulligan.integrations import http

    try:
        return await _play(registry, message)
    finally:
        await http.close()


async def _play(registry: TaskRegistry, message: Message) -> Played:
    """The life of `core.flow`, a copy after the other."""
    route = registry.route(message)
    carried = progress = begin(route)
    now = NOW
    attempts: list[Attempted] = []
    waits_s: list[float] = []
    while True:
        match next_step(route, carried, progress, now):
            case Run(names):
                ends = await asyncio.gather(*(_attempt(registry.tasks[one], message, progress) for one in names))
                for name, (number, outcome) in zip(names, ends, strict=True):
                    attempts.append(Attempted(name, number, now, outcome))
                    progress = record(progress, name, outcome, registry.tasks[name].policy, now, _HALF)
            case Bury():
                progress = mark_buried(progress, route)
            case Reject(delay_s) | Release(delay_s):
                carried, now = progress, now + delay_s
                waits_s.append(delay_s)
            case Ack():
                return Played(message, progress, tuple(attempts), tuple(waits_s))
            case step:
                assert_never(step)


async def _attempt(task: LoadedTask, message: Message, progress: Progress) -> tuple[int, Outcome]:
    mark = (progress.alerts if progress.is_buried else progress.marks)[task.name]
    number = mark.attempts + 1
    context = task.context_for(message, progress, number, first_seen_at=NOW)
    return number, await attempt(task, context)


def _registry(tasks: Sequence[type[Task]], default: Sequence[type[Task]], policy: Policy) -> TaskRegistry:
    problems: list[str] = [] if tasks else ["play() got no task: play(MyTask, body=...)."]
    loaded: dict[TaskName, LoadedTask] = {}
    for cls in (*tasks, *default):
        entry = Entry(cls.__module__.rpartition(".")[2], cls.__name__, is_default=cls in default)
        task, found = adapt(cls, sys.modules[cls.__module__], entry, policy, os.getcwd() + os.sep)  # noqa: PTH109
        problems += found
        if task is not None:
            loaded[task.name] = task
    if problems:
        raise ConfigurationError(problems)
    return TaskRegistry(loaded)


def _raw(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode()


def _name(task: type[Task] | str) -> TaskName:
    return TaskName(task if isinstance(task, str) else task.__name__)
