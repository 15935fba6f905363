"""From names such as "package.module:function" (MIDDLEWARE, LISTENERS) to the functions."""

import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from mulligan.core.error import ConfigurationError

__all__ = ["resolve"]


def resolve(names: Sequence[str], setting: str, *, is_async: bool) -> list[Callable[..., Any]]:
    """The functions, in the order of the names. The application's folder must be on sys.path already.

    setting: the one that holds the names, for the problems.
    is_async: what is expected: coroutine functions (middleware) or plain ones (listeners).
    Raises ConfigurationError with all problems.
    """
    found: list[Callable[..., Any]] = []
    problems: list[str] = []
    for name in names:
        item = _imported(name)
        if isinstance(item, str):
            problems.append(f"{setting}: {name!r} {item}")
            continue
        if _is_async(item) is not is_async:
            expected, hint = ("async def", "Add") if is_async else ("plain def", "Remove")
            problems.append(f"{setting}: {name!r} must be a {expected} function. {hint} the async of its definition.")
            continue
        found.append(item)
    if problems:
        raise ConfigurationError(problems)
    return found


def _imported(name: str) -> Callable[..., Any] | str:
    """The function, or the end of a sentence about what is wrong."""
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # noqa: BLE001 - an import runs the user's code, which may raise anything
        return f"can't be imported: {type(exc).__name__}: {exc}. Correct the name, or the module."
    item = getattr(module, attribute, None)
    if item is None:
        return f"is not there: module {module_name} has no {attribute!r}. Correct the name, or define it."
    if not callable(item):
        return f"is a {type(item).__name__}, expected a function. Name a function."
    function: Callable[..., Any] = item
    return function


def _is_async(item: Callable[..., Any]) -> bool:
    # an object with an `async def __call__` is as good as a function
    return inspect.iscoroutinefunction(item) or inspect.iscoroutinefunction(type(item).__call__)
