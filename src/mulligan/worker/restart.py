"""When a dead worker is started again. Pure."""

__all__ = ["STEADY_S", "delay_s"]

STEADY_S = 10.0
"""A worker that lived so long is healthy: its next death counts as the first again."""

_LONGEST_S = 30.0


def delay_s(quick_deaths: int) -> float:
    """Seconds to wait before the next start, after so many deaths in a row that came soon after a start.

    The first restart is at once: most deaths are one bad message, and the other messages should not wait for it.
    """
    if quick_deaths <= 1:
        return 0.0
    return min(_LONGEST_S, 0.5 * 2.0 ** min(quick_deaths - 2, 16))
