"""The real time, for a server that runs as a program of its own. Everything else is handed a clock."""

import time

__all__ = ["SystemClock"]


class SystemClock:
    """Fills `brokers.base.Clock`."""

    def now(self) -> float:
        """Epoch seconds (UTC)."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()
