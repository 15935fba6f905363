"""Reads the attributes of a task class: attempts, waits, timeout, exceptions that are final."""

from collections.abc import Callable
from typing import Any

from mulligan.core.policy import Backoff, Policy
from mulligan.tasks.base import Task
from mulligan.tasks.exceptions import RETRY_AFTER_MAX_S
from mulligan.tasks.manifest import ATTEMPTS_MAX, TIMEOUT_MAX_S, Entry
from mulligan.tasks.signature import takes_one
from mulligan.tasks.text import shown

__all__ = ["read_backoff_fn", "read_give_up_on", "read_policy"]


def read_policy(task: Task, entry: Entry, defaults: Policy, problems: list[str]) -> Policy:
    """The task's policy: the entry of tasks.xml before the class before the defaults."""
    attempts = task.max_attempts
    if attempts is not None and not (_is_whole(attempts) and 1 <= attempts <= ATTEMPTS_MAX):
        problems.append(
            f"max_attempts is {shown(attempts)}, expected a whole number from 1 to {ATTEMPTS_MAX}, or None."
        )
        attempts = None
    timeout_s = task.timeout_s
    if timeout_s is not None and not (_is_number(timeout_s) and 0 < timeout_s <= TIMEOUT_MAX_S):
        problems.append(
            f"timeout_s is {shown(timeout_s)}, expected seconds above 0 and up to {TIMEOUT_MAX_S:.0f}, or None."
        )
        timeout_s = None
    return Policy(
        max_attempts=entry.attempts or attempts or defaults.max_attempts,
        backoff=_backoff(task, defaults.backoff, problems),
        timeout_s=float(entry.timeout_s or timeout_s or defaults.timeout_s),
    )


def _backoff(task: Task, default: Backoff, problems: list[str]) -> Backoff:
    backoff = type(task).backoff if callable(task.backoff) else task.backoff
    if backoff is None or callable(backoff):
        return default
    if isinstance(backoff, Backoff):
        parts = (backoff.first_s, backoff.factor, backoff.max_s)
        if all(_is_number(part) and 0 <= part <= RETRY_AFTER_MAX_S for part in parts) and backoff.factor >= 1:
            return backoff
        problems.append(f"backoff is {shown(backoff)}, expected seconds from 0 to a year, and a factor of at least 1.")
    elif _is_number(backoff) and 0 <= backoff <= RETRY_AFTER_MAX_S:
        return Backoff(float(backoff), default.factor, max(default.max_s, float(backoff)))
    else:
        problems.append(
            f"backoff is {shown(backoff)}, expected seconds before the second attempt (from 0 to a year), a Backoff, "
            "a function from the attempts so far to seconds, or None."
        )
    return default


def read_backoff_fn(task: Task, problems: list[str]) -> Callable[[int], float] | None:
    """The task's `backoff` where it is a function, ready to be called with the attempts so far."""
    if not callable(task.backoff):
        return None
    # `backoff = lambda attempts: ...` in a class body is bound as a method by the time it is read from the object
    candidates: tuple[Any, ...] = (task.backoff, type(task).backoff)
    for function in candidates:
        if callable(function) and takes_one(function):
            return _checked(function)
    problems.append("backoff is a function, but does not take one argument: the number of attempts so far.")
    return None


def read_give_up_on(task: Task, problems: list[str]) -> tuple[type[BaseException], ...]:
    """The task's `give_up_on`; one class alone is taken as well."""
    given: Any = task.give_up_on
    kinds = given if isinstance(given, tuple | list | set | frozenset) else (given,)
    wrong = [kind for kind in kinds if not (isinstance(kind, type) and issubclass(kind, BaseException))]
    if wrong:
        problems.append(f"give_up_on has {shown(wrong[0])}, expected exception classes, e.g. (ValueError, KeyError).")
        return ()
    return tuple(kinds)


def _checked(function: Callable[[int], Any]) -> Callable[[int], float]:
    def backoff(attempts: int) -> float:
        wait_s = function(attempts)
        if not (_is_number(wait_s) and 0 <= wait_s <= RETRY_AFTER_MAX_S):
            raise ValueError(f"backoff({attempts}) returned {shown(wait_s)}, expected seconds from 0 to a year")
        return float(wait_s)

    return backoff


def _is_whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)


def _is_number(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool)
