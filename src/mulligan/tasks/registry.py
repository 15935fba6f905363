"""The tasks of an application, ready to run. The worker asks it for routes; `attempt` names how their runs end."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, assert_never

from mulligan.core.message import Message, TaskName
from mulligan.core.outcome import NOT_TAKEN
from mulligan.core.policy import Policy
from mulligan.core.progress import Progress, State
from mulligan.core.route import Route
from mulligan.core.value import value
from mulligan.tasks.context import AttemptFacts, Failure, TaskContext
from mulligan.tasks.exceptions import Skip

__all__ = ["LoadedTask", "TaskRegistry", "TaskSet"]


_CREWS_MAX = 1000


@value
class LoadedTask:
    """One task, checked and ready to be called.

    policy: the task's own values where it has them, else the settings'. Without regard to `backoff_fn`.
    is_async: `call` gives a coroutine. Else it is to be called in a thread.
    wants_context: False: the context may be None, it is not looked at.
    call: converts the body and calls `run`. Raises `PayloadError` when the body is not what `run` takes, and whatever
        the user's code raises.
    accepts: None when the task takes every message.
    give_up_on: exceptions that exhaust the task at once.
    backoff_fn: the user's function from attempts so far to seconds (finite, at least 0), else None. It may raise.
    folder: the application's folder, with a separator at the end: what lies in it is the user's code.
    origin: where the class is, e.g. "tasks/task1.py:12".
    probe: gives a coroutine of what is wrong with the services behind the task; None when it has no such look.
    """

    name: TaskName
    policy: Policy
    is_default: bool
    is_async: bool
    wants_context: bool
    call: Callable[[Message, TaskContext | None], Any]
    accepts: Callable[[Message], bool] | None = None
    give_up_on: tuple[type[BaseException], ...] = ()
    backoff_fn: Callable[[int], float] | None = None
    folder: str = ""
    origin: str = ""
    probe: Callable[[], Awaitable[Sequence[str]]] | None = None

    def invoke(self, message: Message, context: TaskContext | None) -> Any:
        """What `call` gives, if the task accepts the message; else raises `Skip`.

        It is asked again at each attempt, since a task whose `accepts` raised is in the route all the same.
        """
        if self.accepts is not None and not self.accepts(message):
            raise Skip(NOT_TAKEN)
        return self.call(message, context)

    def context_for(
        self,
        message: Message,
        progress: Progress,
        number: int,
        *,
        generation: int = 0,
        first_seen_at: float = 0.0,
        may_repeat: bool = False,
    ) -> TaskContext:
        """What the task may know about one attempt. progress: of the message, as it is when the attempt begins.

        number: 1 for the first attempt. The rest as in `TaskContext`.
        """
        failures, succeeded = _ends(progress) if self.is_default else ((), ())
        mark = (progress.alerts if progress.is_buried else progress.marks).get(self.name)
        return TaskContext(
            message,
            self.name,
            AttemptFacts(number, self.policy.max_attempts, None if mark is None else mark.reason, may_repeat),
            generation=generation,
            first_seen_at=first_seen_at,
            failures=failures,
            succeeded=succeeded,
        )


def _ends(progress: Progress) -> tuple[tuple[Failure, ...], tuple[TaskName, ...]]:
    """The tasks of a dead letter that failed, and those that are done."""
    failures: list[Failure] = []
    succeeded: list[TaskName] = []
    for task, mark in progress.marks.items():
        match mark.state:
            case State.EXHAUSTED:
                failures.append(Failure(task, mark.reason or "", mark.attempts, mark.failed_at))
            case State.DONE:
                succeeded.append(task)
            case State.PENDING:
                pass  # never in a buried message
            case _:
                assert_never(mark.state)
    return tuple(failures), tuple(succeeded)


@value
class TaskSet:
    """Tasks that run on a message side by side. longest_s: the longest of their timeouts."""

    tasks: tuple[LoadedTask, ...]
    longest_s: float


class TaskRegistry:
    """All tasks of an application, by name, in manifest order."""

    __slots__ = ("_alerts", "_crews", "_drops_unrouted", "_works", "names", "picks", "tasks", "whole_route")

    def __init__(self, tasks: Mapping[TaskName, LoadedTask], *, drops_unrouted: bool = False) -> None:
        self.tasks = tasks
        self.names = tuple(tasks)
        self._works = tuple(task for task in tasks.values() if not task.is_default)
        self._alerts = tuple(task for task in tasks.values() if task.is_default)
        self._drops_unrouted = drops_unrouted
        self.whole_route = self._route(self._works, self._alerts)
        """Every task."""
        self._crews: dict[tuple[TaskName, ...], TaskSet] = {}
        self.picks = any(task.accepts is not None for task in tasks.values())
        """Whether a task picks its messages. Most applications have none: then one route serves them all."""

    def route(self, message: Message) -> Route:
        """The tasks that take the message. A task whose `accepts` raises is among them: its attempts report it."""
        if not self.picks:
            return self.whole_route
        return self._route(
            [task for task in self._works if _takes(task, message)],
            [task for task in self._alerts if _takes(task, message)],
        )

    def task_set(self, names: tuple[TaskName, ...]) -> TaskSet:
        """The tasks of these names. The same few are asked for all the time."""
        found = self._crews.get(names)
        if found is None:
            tasks = tuple(self.tasks[name] for name in names)
            found = TaskSet(tasks, max(task.policy.timeout_s for task in tasks))
            if len(self._crews) < _CREWS_MAX:
                self._crews[names] = found
        return found

    def _route(
        self, works: "list[LoadedTask] | tuple[LoadedTask, ...]", alerts: "list[LoadedTask] | tuple[LoadedTask, ...]"
    ) -> Route:
        return Route(tuple(task.name for task in works), tuple(task.name for task in alerts), self._drops_unrouted)


def _takes(task: LoadedTask, message: Message) -> bool:
    if task.accepts is None:
        return True
    try:
        return bool(task.accepts(message))
    except Exception:  # noqa: BLE001 - user code; the attempt calls it again, and its outcome has what was raised
        return True
