"""Where time comes from, as a seam: `mulligan.clock` has the real one, the tests another."""

from typing import Protocol

__all__ = ["Clock"]


class Clock(Protocol):
    """Two ways to tell the time. The core itself is handed times, never a clock."""

    def now(self) -> float:
        """Epoch seconds (UTC)."""

    def monotonic(self) -> float:
        """Seconds that never jump, the same for all processes of the host."""
