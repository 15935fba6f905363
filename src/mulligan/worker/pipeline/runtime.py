"""What every part of a pipeline needs of the process that it is in."""

from collections.abc import Callable

from mulligan.brokers.base import Emit
from mulligan.clock import SystemClock
from mulligan.core.value import value
from mulligan.worker.ipc.channel import LeftAlone

__all__ = ["Runtime"]


def _nobody(_: object) -> None:
    """Where nobody needs to know."""


@value
class Runtime:
    """clock: the process's. emit: where events go.

    failed: called with a fault of the program that ends the process. recycle: called with the reason for which this
    process is to be replaced by another. left_alone: called with what the supervisor has to know of a message that is
    held.
    """

    clock: SystemClock
    emit: Emit
    failed: Callable[[BaseException], None]
    recycle: Callable[[str], None] = _nobody
    left_alone: Callable[[LeftAlone], None] = _nobody
