"""The end of one attempt of one task. User code can raise anything; here it has one of six names."""

from mulligan.core.value import value

__all__ = ["NOT_TAKEN", "Died", "Failed", "Interrupted", "Outcome", "Skipped", "Succeeded", "TimedOut"]


@value
class Succeeded:
    """The task returned."""


@value
class Failed:
    """The task raised, or returned False.

    error: one or more lines for a person.
    is_final: no further attempt (`GiveUp`, an exception of `give_up_on`, a payload that can't be validated).
    retry_after_s: the wait that the task asked for (`Retry`), else None: the policy's backoff.
    """

    error: str
    is_final: bool = False
    retry_after_s: float | None = None


@value
class TimedOut:
    """The task did not end within its timeout.

    retry_after_s: the wait that the task's own backoff function asked for, else None: the policy's backoff.
    """

    after_s: float
    retry_after_s: float | None = None


@value
class Interrupted:
    """Shutdown or a lost lease ended it. Burns no attempt.

    lacks_task: it did not begin: the process in which it was to run doesn't know the task.
    """

    lacks_task: bool = False


@value
class Skipped:
    """The task said that this message is none of its business. Counts as done."""

    reason: str


@value
class Died:
    """The process that ran this task, alone, ended without an end of the attempt.

    how: signal or exit code, for a person.
    """

    how: str


Outcome = Succeeded | Failed | TimedOut | Interrupted | Skipped | Died

NOT_TAKEN = "accepts() said no"
"""The reason of `Skipped` when a task was asked as it was to run, and does not take the message."""

SUCCEEDED = Succeeded()
INTERRUPTED = Interrupted()
