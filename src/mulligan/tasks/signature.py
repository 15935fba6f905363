"""Reads a task's `run`: what it takes, whether it is async, and how a message becomes its payload."""

import inspect
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, get_type_hints

from mulligan.core.message import Message
from mulligan.core.value import value
from mulligan.tasks.base import Task
from mulligan.tasks.context import TaskContext
from mulligan.tasks.payload import converter
from mulligan.tasks.text import raised, shown

__all__ = ["Run", "read_run", "takes_one"]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_RUN_HINT = "Write def run(self, data) or def run(self, data, context)."


@value
class Run:
    """A `run` that can be called: with `convert(message)`, and the context if it wants it."""

    function: Callable[..., Any]
    is_async: bool
    wants_context: bool
    convert: Callable[[Message], Any]


def read_run(task: Task, module: ModuleType, problems: list[str]) -> Run | None:
    """The task's `run`, or None with what is wrong added to problems. module: where its annotations are looked up."""
    function = getattr(task, "run", None)
    if function is None:
        problems.append(f"it has no `run`, which each message is passed to. {_RUN_HINT}")
        return None
    if not callable(function):
        problems.append(f"its `run` is {shown(function)}, expected a function. {_RUN_HINT}")
        return None
    bare = inspect.unwrap(function)
    if inspect.isgeneratorfunction(bare) or inspect.isasyncgenfunction(bare):
        problems.append("its `run` has a yield, so calling it would run nothing. Use return.")
        return None
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        if inspect.ismethod(function):
            problems.append(f"its `run` takes no payload, not even self. {_RUN_HINT}")
            return None
        problems.append(f"the parameters of its `run` ({shown(function)}) can't be read. {_RUN_HINT}")
        return None
    problem = _parameters_problem(parameters)
    if problem:
        problems.append(problem)
        return None
    convert = _convert(bare, parameters[0], module, problems)
    if convert is None:
        return None
    is_async = _is_async(function)
    if not is_async and _is_async(bare):
        function, is_async = _awaiting(function), True
    return Run(function, is_async, _wants_context(parameters), convert)


def _is_async(function: Callable[..., Any]) -> bool:
    # the second finds an object with `async def __call__`
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(vars(type(function)).get("__call__"))


def _awaiting(function: Callable[..., Any]) -> Callable[..., Any]:
    """A plain decorator around an async `run`: what it returns is awaited, so that the task doesn't end unrun."""

    async def run(*args: Any) -> Any:
        result = function(*args)
        return await result if inspect.isawaitable(result) else result

    return run


def _parameters_problem(parameters: Sequence[inspect.Parameter]) -> str:
    names = ", ".join(str(parameter).split(":")[0].split("=")[0].strip() for parameter in parameters)
    takes_any = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters)
    positional = [parameter for parameter in parameters if parameter.kind in _POSITIONAL]
    if not positional and not takes_any:
        return f"its `run` takes no payload. {_RUN_HINT}"
    needed = [
        parameter.name
        for index, parameter in enumerate(parameters)
        if parameter.default is inspect.Parameter.empty
        and (parameter.kind is inspect.Parameter.KEYWORD_ONLY or (parameter.kind in _POSITIONAL and index > 1))
    ]
    if needed:
        return f"its `run` takes ({names}), but is called with the payload and at most the context. {_RUN_HINT}"
    return ""


def _wants_context(parameters: Sequence[inspect.Parameter]) -> bool:
    """Whether the second parameter is for the context: it must be given, or it says so by its name or type."""
    if len(parameters) < 2 or parameters[1].kind not in _POSITIONAL:
        return False
    second = parameters[1]
    return (
        second.default is inspect.Parameter.empty
        or second.name == "context"
        or second.annotation is TaskContext
        or (isinstance(second.annotation, str) and "TaskContext" in second.annotation)
    )


def _convert(
    bare: Callable[..., Any], payload: inspect.Parameter, module: ModuleType, problems: list[str]
) -> Callable[[Message], Any] | None:
    annotation = payload.annotation
    if payload.kind is inspect.Parameter.VAR_POSITIONAL:
        annotation = inspect.Parameter.empty
    shown = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    try:
        if annotation is not inspect.Parameter.empty:
            annotation = _resolved(annotation, bare, module)
        return converter(annotation)
    except Exception as exc:  # noqa: BLE001 - evaluates the user's annotation, and pydantic raises many kinds
        reason = raised(exc).splitlines()[0]
        problems.append(
            f"the type of run's {payload.name!r}, {shown}, can't be read from a message ({reason}). "
            "Use str, bytes, Message, or a type that pydantic can validate from JSON, defined at the top of a file."
        )
        return None


def _resolved(annotation: Any, bare: Callable[..., Any], module: ModuleType) -> Any:
    """The annotation with its strings evaluated, as `from __future__ import annotations` leaves them."""

    class Holder:
        __annotations__ = {"payload": annotation}

    names = getattr(bare, "__globals__", vars(module))
    return get_type_hints(Holder, globalns=names, localns=names, include_extras=True)["payload"]


def takes_one(function: Callable[..., Any]) -> bool:
    """Whether it can be called with one positional argument."""
    try:
        inspect.signature(function).bind(1)
    except (TypeError, ValueError):
        return False
    return True
