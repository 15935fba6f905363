"""How one worker process came to its end."""

from enum import Enum

from mulligan.core.value import value

__all__ = ["ExitKind", "WorkerExit"]


class ExitKind(Enum):
    """How the life of a worker ended."""

    DRAINED = "drained"
    DIED = "died"
    PROBLEMS = "problems"
    OTHER_VERSION = "other version"
    FATAL = "fatal"


@value
class WorkerExit:
    """The end of one worker's life. details: how, why, or what the problems are."""

    kind: ExitKind
    details: tuple[str, ...]
