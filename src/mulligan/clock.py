"""The machine's clocks and dice, for all code that takes `now` or `rand`: the one module that reads them."""

import random
import time

__all__ = ["SystemClock"]


class SystemClock:
    """The machine's clocks."""

    now = staticmethod(time.time)
    """Epoch seconds (UTC): for what other processes and hosts read."""

    monotonic = staticmethod(time.monotonic)
    """Seconds that never jump, the same for all processes of the host: for leases and timeouts."""

    precise = staticmethod(time.perf_counter)
    """Seconds that never jump, of this process only: to measure what takes microseconds."""

    pause = staticmethod(time.sleep)
    """Let this many seconds pass, and hold the thread meanwhile."""

    random = staticmethod(random.random)
    """A number in [0, 1), for jitter."""
