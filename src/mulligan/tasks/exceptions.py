"""What a task raises to say explicitly how its attempt ends, and what mulligan raises when a body can't be read."""

from mulligan.core.error import MulliganError

__all__ = ["GiveUp", "PayloadError", "Retry", "Skip"]

RETRY_AFTER_MAX_S = 366 * 86_400.0  # a wait beyond a year is a unit mixed up


class Retry(Exception):
    """Try this task again later. Counts as an attempt; with none left the task is exhausted.

    after_s: seconds to wait, at most a year. None: the task's backoff decides.
    reason: for the log and the dead letter.
    """

    def __init__(self, after_s: float | None = None, reason: str = "") -> None:
        if after_s is not None:
            after_s = _checked_seconds(after_s)
        self.after_s = after_s
        self.reason = _checked_text("Retry", reason)
        super().__init__(after_s, reason)

    def __str__(self) -> str:
        return self.reason or "the task asked for another attempt"


class GiveUp(Exception):
    """This task can't handle this message: no further attempt. reason: for the log and the dead letter."""

    def __init__(self, reason: str) -> None:
        self.reason = _checked_text("GiveUp", reason)
        super().__init__(reason)

    def __str__(self) -> str:
        return self.reason or "the task gave up"


class Skip(Exception):
    """This message is not for this task. Counts as done. reason: for the log."""

    def __init__(self, reason: str) -> None:
        self.reason = _checked_text("Skip", reason)
        super().__init__(reason)

    def __str__(self) -> str:
        return self.reason or "not for this task"


class PayloadError(MulliganError):
    """The body is not what `run` takes. Final: the same body would fail again."""


def _checked_seconds(after_s: object) -> float:
    if isinstance(after_s, bool) or not isinstance(after_s, int | float):
        raise TypeError(f"Retry(after_s={after_s!r}): expected seconds as a number, or None for the task's backoff")
    if not 0 <= after_s <= RETRY_AFTER_MAX_S:
        raise ValueError(f"Retry(after_s={after_s!r}): expected seconds from 0 to {RETRY_AFTER_MAX_S:.0f} (a year)")
    return float(after_s)


def _checked_text(name: str, reason: object) -> str:
    if not isinstance(reason, str):
        raise TypeError(f"{name}(reason={reason!r}): expected text, e.g. {name}({str(reason)[:50]!r})")
    return reason
