"""How an attempt ended: from what `run` returned or raised to an `Outcome`. Pure; `core.flow.record` comes next.

Error texts are without passwords of URLs: they go into the ledger, into dead letters and into alerts.

User code can return and raise anything. Nothing here raises for it.
"""

import inspect
import linecache
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

from mulligan.core.cause import behind, first_cause, with_causes
from mulligan.core.outcome import SUCCEEDED, Failed, Outcome, Skipped, TimedOut
from mulligan.core.secret import redacted
from mulligan.tasks.exceptions import GiveUp, PayloadError, Retry, Skip
from mulligan.tasks.registry import LoadedTask
from mulligan.tasks.text import cut

__all__ = ["ERROR_TEXT_MAX", "outcome_of_error", "outcome_of_result", "with_own_wait"]

ERROR_TEXT_MAX = 2000
"""Characters of an error text: below what a mark keeps, so that the place in the user's code survives."""

PLACES_SHOWN = 3
MESSAGE_MAX = 1200
LINE_MAX = 160
_READ_MAX = 20_000

_RETURNED_FALSE = Failed("returned False")
_MULLIGAN = str(Path(__file__).parents[1]) + "/"


def outcome_of_result(result: object) -> Outcome:
    """The outcome of an attempt whose `run` returned. Only False is a failure, and what nobody waited for."""
    if result is None or result is True:
        return SUCCEEDED
    if result is False:
        return _RETURNED_FALSE
    if inspect.iscoroutine(result):
        result.close()
        return Failed("returned a coroutine that was not awaited: write `async def run`, or await it", is_final=True)
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        return Failed("returned a generator, whose code has not run: `run` must not yield", is_final=True)
    return SUCCEEDED


def outcome_of_error(task: LoadedTask, exc: BaseException) -> Outcome:
    """The outcome of an attempt that raised. A group of one exception counts as that exception. Never raises."""
    try:
        return _outcome_of_error(task, exc)
    except Exception as raised:  # noqa: BLE001 - an attempt without an end would hold its message for ever
        return Failed(f"{type(exc).__name__}: (no text: {type(raised).__name__})")


def _outcome_of_error(task: LoadedTask, exc: BaseException) -> Outcome:
    while isinstance(exc, BaseExceptionGroup) and len(exc.exceptions) == 1:
        exc = exc.exceptions[0]
    match exc:
        case Retry():
            return Failed(with_causes(_text(exc), exc), retry_after_s=exc.after_s)
        case GiveUp():
            return Failed(with_causes(_text(exc), exc), is_final=True)
        case Skip():
            return Skipped(_text(exc))
        case PayloadError():
            return Failed(_text(exc), is_final=True)
        case _:
            return Failed(_error_text(task, exc), is_final=isinstance(exc, task.give_up_on))


def with_own_wait(task: LoadedTask, number: int, outcome: Outcome) -> Outcome:
    """The outcome of attempt `number`, with the wait that the task's own backoff function asks for if it has one.

    A function that raises is reported in the error of the failure, and the policy's backoff is used.
    """
    own = task.backoff_fn
    if own is None or not isinstance(outcome, Failed | TimedOut) or outcome.retry_after_s is not None:
        return outcome
    if isinstance(outcome, Failed) and outcome.is_final:
        return outcome
    try:
        wait_s = max(0.0, float(own(number)))
    except BaseException as exc:  # noqa: BLE001 - the user's function, which may also call sys.exit()
        if isinstance(outcome, TimedOut):
            return outcome
        return Failed(f"{outcome.error}\nbackoff() raised {_named(exc)}; the default wait is used")
    if isinstance(outcome, TimedOut):
        return TimedOut(outcome.after_s, wait_s)
    return Failed(outcome.error, retry_after_s=wait_s)


def _error_text(task: LoadedTask, exc: BaseException) -> str:
    lines = []
    if isinstance(exc, BaseExceptionGroup):
        lines += [cut(f"  {with_causes(_named(part), part)}", LINE_MAX) for part in exc.exceptions[:PLACES_SHOWN]]
    lines += [_place(task.folder, frame, line) for frame, line in _places(task.folder, exc)]
    if (cause := first_cause(exc)) is not None:
        where = [_place(task.folder, frame, line) for frame, line in _places(task.folder, cause)][-1:]
        lines += [one for one in where if one not in lines]
    places = "".join(f"\n{line}" for line in lines)
    room = ERROR_TEXT_MAX - len(places) - sum(len(phrase) + 2 for phrase in behind(exc))
    return with_causes(cut(_named(exc), room), exc) + places


def _named(exc: BaseException) -> str:
    name = type(exc).__name__
    text = _text(exc)
    return f"{name}: {text}" if text else name


def _text(exc: BaseException) -> str:
    try:
        text = str(exc)
    except BaseException as raised:  # noqa: BLE001 - the text of an exception is user code, too
        text = f"(its text can't be made: __str__ raised {type(raised).__name__})"
    return cut(redacted(text[:_READ_MAX]), MESSAGE_MAX)


def _places(folder: str, exc: BaseException) -> Iterable[tuple[FrameType, int]]:
    """Where in the user's code it was raised: the innermost calls, the outermost of them first."""
    places: deque[tuple[FrameType, int]] = deque(maxlen=PLACES_SHOWN)
    trace = exc.__traceback__
    while trace is not None:
        if _is_users(folder, trace.tb_frame):
            places.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    return places


def _is_users(folder: str, frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    # an application may hold its virtual environment, and mulligan's own source
    return bool(folder) and file.startswith(folder) and "/site-packages/" not in file and not file.startswith(_MULLIGAN)


def _place(folder: str, frame: FrameType, line: int) -> str:
    file = frame.f_code.co_filename
    source = linecache.getline(file, line, frame.f_globals).strip()
    place = f"  {file[len(folder) :]} line {line} in {frame.f_code.co_name}"
    return cut(redacted(f"{place}: {source}" if source else place), LINE_MAX)
