"""Where time comes from, as a seam: `mulligan.clock` has the real one, the tests another."""

from typing import Protocol

from mulligan.core.value import value

__all__ = ["CLOCKS_DIFFER_S", "Clock", "Lead", "lead"]

CLOCKS_DIFFER_S = 5.0
"""Seconds by which the clocks of two machines may differ before it matters."""


class Clock(Protocol):
    """Two ways to tell the time. The core itself is handed times, never a clock."""

    def now(self) -> float:
        """Epoch seconds (UTC)."""

    def monotonic(self) -> float:
        """Seconds that never jump, the same for all processes of the host."""


@value
class Lead:
    """By how many seconds this machine's clock is ahead of another's (behind, below 0), give or take error_s."""

    ahead_s: float
    error_s: float

    @property
    def matters(self) -> bool:
        """Whether it is surely more than CLOCKS_DIFFER_S."""
        return abs(self.ahead_s) - self.error_s > CLOCKS_DIFFER_S


def lead(asked_at: float, answered_at: float, answered: float, unit_s: float = 0.0) -> Lead:
    """What an answer shows of this machine's clock: half of the round trip is the error.

    asked_at, answered_at: epoch seconds (UTC) by it. answer: by the other's, cut to a multiple of unit_s.
    """
    middle, trip_s = (asked_at + answered_at) / 2, max(0.0, answered_at - asked_at)
    return Lead(middle - (answered + unit_s / 2), (trip_s + unit_s) / 2)
