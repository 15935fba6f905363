"""Makes a `LoadedTask` of a task class: checks what the user wrote in it, and builds the function that calls `run`.

All problems are reported together at start, so that no message has to find them.
"""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

from mulligan.core.message import Message, TaskName
from mulligan.core.policy import Policy
from mulligan.tasks.base import Task
from mulligan.tasks.context import TaskContext
from mulligan.tasks.manifest import Entry
from mulligan.tasks.policy_reader import read_backoff_fn, read_give_up_on, read_policy
from mulligan.tasks.registry import LoadedTask
from mulligan.tasks.signature import Run, read_run, takes_one
from mulligan.tasks.text import raised, shown

__all__ = ["adapt"]


def adapt(
    cls: type[Task], module: ModuleType, entry: Entry, defaults: Policy, folder: str
) -> tuple[LoadedTask | None, list[str]]:
    """The task of a class, or None and every problem with it.

    entry: its values win over the class, the class over `defaults`.
    folder: the application's, with a separator at the end.
    """
    origin = _origin(cls, folder)
    problems: list[str] = []
    loaded = None
    try:
        task = _made(cls, problems)
        if task is not None:
            loaded = _adapted(task, module, entry, defaults, problems)
    except Exception as exc:  # noqa: BLE001 - an attribute that is a property is user code
        problems.append(f"reading it raises {raised(exc)}.")
    if problems or loaded is None:
        return None, [f"{origin}: task {cls.__name__!r}: {problem}" for problem in problems]
    return replace(loaded, folder=folder, origin=origin.replace(" line ", ":")), []


def _adapted(task: Task, module: ModuleType, entry: Entry, defaults: Policy, problems: list[str]) -> LoadedTask | None:
    run = read_run(task, module, problems)
    policy = read_policy(task, entry, defaults, problems)
    accepts = _accepts(task, problems)
    give_up_on = read_give_up_on(task, problems)
    backoff_fn = read_backoff_fn(task, problems)
    probe = _probe(task, problems)
    _check(task, problems)
    if run is None:
        return None
    return LoadedTask(
        name=TaskName(entry.class_name),
        policy=policy,
        is_default=entry.is_default,
        is_async=run.is_async,
        wants_context=run.wants_context,
        call=_call(run),
        accepts=accepts,
        give_up_on=give_up_on,
        backoff_fn=backoff_fn,
        probe=probe,
    )


def _origin(cls: type[Task], folder: str) -> str:
    try:
        file = inspect.getsourcefile(cls) or ""
        line = inspect.getsourcelines(cls)[1]
    except (OSError, TypeError, SyntaxError):
        return cls.__module__.replace(".", "/") + ".py"
    return f"{file.removeprefix(folder)} line {line}"


def _made(cls: type[Task], problems: list[str]) -> Task | None:
    try:
        return cls()
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - user code
        problems.append(
            f"{cls.__name__}() raises {raised(exc)}. It is created once at start, without arguments: "
            "correct its __init__."
        )
        return None


def _call(run: Run) -> Callable[[Message, TaskContext | None], Any]:
    function, convert = run.function, run.convert
    if run.wants_context:

        def call(message: Message, context: TaskContext | None) -> Any:
            return function(convert(message), context)
    else:

        def call(message: Message, context: TaskContext | None) -> Any:  # noqa: ARG001 - the one way to call a task
            return function(convert(message))

    return call


def _accepts(task: Task, problems: list[str]) -> Callable[[Message], bool] | None:
    accepts = getattr(task, "accepts", None)
    if getattr(accepts, "__func__", None) is Task.accepts:
        return None
    if not callable(accepts) or not takes_one(accepts) or inspect.iscoroutinefunction(accepts):
        problems.append(
            "its `accepts` can't be called. Write def accepts(self, message): return True or False (no async)."
        )
        return None
    checked: Callable[[Message], bool] = accepts
    return checked


def _probe(task: Task, problems: list[str]) -> Callable[[], Awaitable[Sequence[str]]] | None:
    probe: Any = task.probe
    if getattr(probe, "__func__", None) is Task.probe:
        return None
    if not inspect.iscoroutinefunction(probe):
        problems.append("its `probe` is not async. Write async def probe(self): return a list of sentences.")
        return None
    checked: Callable[[], Awaitable[Sequence[str]]] = probe
    return checked


def _check(task: Task, problems: list[str]) -> None:
    try:
        answer: Any = task.check()
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - user code
        problems.append(f"its check() raises {raised(exc)}. Return a list of sentences, [] when nothing is wrong.")
        return
    if isinstance(answer, str):
        answer = [answer] if answer else []
    if inspect.iscoroutine(answer):
        answer.close()
    if not isinstance(answer, list | tuple) or not all(isinstance(one, str) for one in answer):
        problems.append(f"its check() returns {shown(answer)}. Return a list of sentences, [] when nothing is wrong.")
        return
    problems.extend(answer)
