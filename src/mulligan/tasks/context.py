"""What a task may know about its attempt."""

from typing import TYPE_CHECKING

from mulligan.core import fingerprint
from mulligan.core.message import Message, TaskName, Uid
from mulligan.core.value import value

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

__all__ = ["FIRST_AND_ONLY", "AttemptFacts", "Failure", "TaskContext"]


@value
class Failure:
    """A task that was exhausted for a message, as reported to the message's default tasks.

    task: its name. reason: the last error. attempts: how many were made.
    failed_at: epoch seconds (UTC) of the last failure.
    """

    task: TaskName
    reason: str
    attempts: int
    failed_at: float | None = None


@value
class AttemptFacts:
    """Which attempt of its task a context is of. The fields as in `TaskContext`; number is its `attempt`."""

    number: int = 1
    max_attempts: int = 1
    previous_error: str | None = None
    may_repeat: bool = False


FIRST_AND_ONLY = AttemptFacts()


class TaskContext:
    """One attempt of one task on one message. Each attempt gets a new one.

    message: as it was sent. task: the name of this task.
    attempt: 1 for the first. max_attempts: the number of attempts that this task gets.
    generation: 0, plus 1 per replay as a dead letter.
    first_seen_at: epoch seconds (UTC) at which the message was first received in this generation.
    failures: the exhausted tasks of the message, for default tasks; () for others.
    succeeded: the tasks that succeeded, for default tasks; () for others.
    previous_error: why the previous attempt failed; None on the first.
    may_repeat: this attempt may have been started before without a recorded result, because its worker died or was
        stopped. Its side effects may already exist. May be true unnecessarily; with a ledger it is almost never
        wrongly false.
    """

    __slots__ = (
        "_log",
        "attempt",
        "failures",
        "first_seen_at",
        "generation",
        "max_attempts",
        "may_repeat",
        "message",
        "previous_error",
        "succeeded",
        "task",
    )
    message: Message
    task: TaskName
    attempt: int
    max_attempts: int
    generation: int
    first_seen_at: float
    failures: tuple[Failure, ...]
    succeeded: tuple[TaskName, ...]
    previous_error: str | None
    may_repeat: bool

    def __init__(
        self,
        message: Message,
        task: TaskName,
        facts: AttemptFacts = FIRST_AND_ONLY,
        *,
        generation: int = 0,
        first_seen_at: float = 0.0,
        failures: tuple[Failure, ...] = (),
        succeeded: tuple[TaskName, ...] = (),
    ) -> None:
        self.message = message
        self.task = task
        self.attempt = facts.number
        self.max_attempts = facts.max_attempts
        self.generation = generation
        self.first_seen_at = first_seen_at
        self.failures = failures
        self.succeeded = succeeded
        self.previous_error = facts.previous_error
        self.may_repeat = facts.may_repeat
        self._log: FilteringBoundLogger | None = None

    def __repr__(self) -> str:
        return f"TaskContext(uid={self.uid!r}, task={self.task!r}, attempt={self.attempt} of {self.max_attempts})"

    @property
    def uid(self) -> Uid:
        """The identity of the message, the same on every attempt."""
        return self.message.uid

    @property
    def is_last_attempt(self) -> bool:
        """Whether a failure now exhausts the task."""
        return self.attempt >= self.max_attempts

    @property
    def idempotency_key(self) -> str:
        """A key that all attempts of this task on this message share, and nothing else has.

        Pass it to the service that you call, so that an attempt repeated after a crash takes effect only once.
        """
        return fingerprint.idempotency_key(self.message.uid, self.task)

    @property
    def log(self) -> "FilteringBoundLogger":
        """A structlog logger that adds uid, task and attempt to every line: `context.log.info("sent", to=address)`."""
        if self._log is None:
            import structlog

            self._log = structlog.get_logger().bind(uid=self.message.uid, task=self.task, attempt=self.attempt)
        return self._log
