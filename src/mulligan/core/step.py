"""What the flow says next: run tasks, bury, or settle the delivery. A closed union, ended by `assert_never`."""

from mulligan.core.message import TaskName
from mulligan.core.value import value

__all__ = ["ACK", "BURY", "Ack", "Bury", "Reject", "Release", "Run", "Settlement", "Step"]


@value
class Run:
    """Start these tasks now, side by side."""

    tasks: tuple[TaskName, ...]


@value
class Bury:
    """Put a copy with its whole retry state on the dead queue, then ask again."""


@value
class Ack:
    """Remove the message: all its tasks are done, or it is buried and its default tasks have ended."""


@value
class Release:
    """Give the message back as it is, to be received again after delay_s seconds."""

    delay_s: float


@value
class Reject:
    """Put a copy with the new progress on the rejects queue, due after delay_s seconds, then remove this one."""

    delay_s: float


Settlement = Ack | Release | Reject
Step = Run | Bury | Settlement

ACK = Ack()
BURY = Bury()
