"""When a worker that crashed is started again. Pure."""

__all__ = ["STEADY_S", "consecutive_crashes", "delay_s"]

STEADY_S = 10.0
"""A worker that lived so long is healthy: its next crash counts as the first again."""

_LONGEST_S = 30.0


def consecutive_crashes(before: int, *, lived_s: float, settled: int) -> int:
    """Consecutive crashes without a settled message, this one included.

    before: what this gave at the last crash. settled: messages that the worker had settled in its life.
    A message that kills its worker does so once, so a worker that gets work done in between needs no pause: that would
    hold the other messages up for as many bad ones as there are.
    """
    return 1 if settled or lived_s >= STEADY_S else before + 1


def delay_s(crashes: int) -> float:
    """Seconds to wait before the next start, after this many consecutive crashes.

    The first restart is at once: most crashes are one bad message, and the other messages should not wait for it.
    """
    if crashes <= 1:
        return 0.0
    return min(_LONGEST_S, 0.5 * 2.0 ** min(crashes - 2, 16))
