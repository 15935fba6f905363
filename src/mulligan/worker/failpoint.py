"""Places at which a test has a process killed, stopped or failing: `MULLIGAN_FAILPOINT=name:nth:kill|stop|raise`.

    if ARMED is not None:
        ARMED.reach(Point.RECEIVED)

This module alone reads the environment when it is imported: `ARMED` is a constant, so in a normal run a place costs one
look at a None. docs/reliability.md lists the places and says how they are used.
"""

import difflib
import os
import signal
from collections.abc import Mapping
from enum import Enum
from typing import Final

from mulligan.core.error import ConfigurationError
from mulligan.environ import ENVIRON

__all__ = ["ARMED", "Action", "Failpoint", "FailpointError", "Point", "armed", "inherited"]

VARIABLE = "MULLIGAN_FAILPOINT"


class Point(Enum):
    """The places, in the order in which a message comes by; then those of the supervisor. The value is the name."""

    POLLING = "polling"
    RECEIVED = "received"
    STARTING = "starting"
    RUNNING = "running"
    ENDED = "ended"
    RECORDED = "recorded"
    FINISHED = "finished"
    ACKED = "acked"
    COPIED = "copied"
    EXHAUSTED = "exhausted"
    BURIED = "buried"
    ALERTING = "alerting"
    ALERTED = "alerted"
    SUPERVISING = "supervising"
    SPAWNING = "spawning"
    DRAINING = "draining"


class Action(Enum):
    """What is done to the process. STOP: as by SIGSTOP, until somebody continues it."""

    KILL = "kill"
    STOP = "stop"
    RAISE = "raise"


class FailpointError(Exception):
    """What RAISE raises: an error that no code expects."""


class Failpoint:
    """Acts on its process when `point` is reached for the nth time, once."""

    def __init__(self, point: Point, nth: int, action: Action) -> None:
        self.point = point
        self.nth = nth
        self.action = action
        self._count = 0

    def reach(self, point: Point) -> None:
        """Say that a place is reached. From the event loop's thread only."""
        if point is not self.point:
            return
        self._count += 1
        if self._count != self.nth:
            return
        match self.action:
            case Action.KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            case Action.STOP:
                os.kill(os.getpid(), signal.SIGSTOP)
            case Action.RAISE:
                raise FailpointError(f"{VARIABLE}: {point.value} was reached for the {self.nth}. time")


def armed(environ: Mapping[str, str]) -> Failpoint | None:
    """What the variable asks for; None when it is not set. Raises ConfigurationError."""
    text = environ.get(VARIABLE, "")
    if not text:
        return None
    name, _, rest = text.partition(":")
    nth, _, action = rest.partition(":")
    names, actions = [one.value for one in Point], [one.value for one in Action]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise _problem(text, f"there is no point {name!r}: {hint}expected one of {', '.join(names)}")
    if not (nth.isascii() and nth.isdigit() and int(nth) > 0) or action not in actions:
        raise _problem(text, f"expected {name}:NTH:ACTION with NTH from 1 on and ACTION one of {', '.join(actions)}")
    return Failpoint(Point(name), int(nth), Action(action))


def inherited(environ: Mapping[str, str], *, is_first: bool) -> dict[str, str] | None:
    """The environment of a worker; None for the same as ours.

    A worker that takes the place of one that has ended gets no failpoint: else none would ever get beyond it.
    """
    if is_first or VARIABLE not in environ:
        return None
    return {name: item for name, item in environ.items() if name != VARIABLE}


def _problem(text: str, what: str) -> ConfigurationError:
    return ConfigurationError([f"environment variable {VARIABLE} is {text!r}: {what}. Correct or unset it."])


ARMED: Final[Failpoint | None] = armed(ENVIRON)
