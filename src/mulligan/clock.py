"""The machine's clocks and dice, for all code that takes `now` or `rand` as an argument."""

import random
import time

__all__ = ["SystemClock"]


class SystemClock:
    """The machine's clocks."""

    now = staticmethod(time.time)
    """Epoch seconds (UTC): for what other processes and hosts read."""

    monotonic = staticmethod(time.monotonic)
    """Seconds that never jump, the same for all processes of the host: for leases and timeouts."""

    random = staticmethod(random.random)
    """A number in [0, 1), for jitter."""
