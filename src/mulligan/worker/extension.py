"""Finds what the settings name as "package.module:function": the user's middleware and listeners."""

import importlib
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mulligan.core.error import ConfigurationError
from mulligan.tasks.context import TaskContext
from mulligan.tasks.text import raised

__all__ = ["Middleware", "around", "load_functions"]

Call = Callable[[], Awaitable[Any]]

Middleware = Callable[[Call, TaskContext], Awaitable[Any]]
"""`async (call_next, context)` around one attempt; what it returns or raises is the attempt's end."""


def around(middleware: Sequence[Middleware], call: Call, context: TaskContext) -> Call:
    """The call with the middleware around it, the first one outermost."""
    for one in reversed(middleware):
        call = partial(one, call, context)
    return call


def load_functions(names: Sequence[str], setting: str, folder: Path) -> tuple[Callable[..., Any], ...]:
    """The functions. Imports user code, with the application's folder first. Raises ConfigurationError with all
    problems.
    """
    found: list[Callable[..., Any]] = []
    problems: list[str] = []
    if names and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    for name in names:
        module_name, _, attribute = name.partition(":")
        try:
            thing = getattr(importlib.import_module(module_name), attribute)
        except Exception as exc:  # noqa: BLE001 - importing runs user code
            problems.append(
                f"{setting} names {name!r}, which can't be imported ({raised(exc)}). "
                "Write package.module:function, importable from the application's folder."
            )
            continue
        if callable(thing):
            found.append(thing)
        else:
            problems.append(f"{setting} names {name!r}, which is a {type(thing).__name__}; expected a function.")
    if problems:
        raise ConfigurationError(problems)
    return tuple(found)
