"""How often a task is tried, and how long it waits between attempts."""

from mulligan.core.value import value

__all__ = ["Backoff", "Policy", "delay_s"]


@value
class Backoff:
    """Exponential waits with half jitter: before attempt n + 1, between half and all of first_s * factor**(n - 1).

    All in seconds; never above max_s.
    """

    first_s: float = 10.0
    factor: float = 2.0
    max_s: float = 3600.0


@value
class Policy:
    """What a task says about its retries.

    max_attempts: all attempts, the first included (>= 1).
    timeout_s: seconds that one attempt may take.
    """

    max_attempts: int = 2
    backoff: Backoff = Backoff()
    timeout_s: float = 60.0


def delay_s(backoff: Backoff, attempts: int, rand: float) -> float:
    """Seconds to wait after `attempts` failed ones.

    rand: in [0, 1); 0 gives the shortest wait (half), 1 the longest.
    """
    try:
        whole = min(backoff.max_s, backoff.first_s * backoff.factor ** (attempts - 1))
    except OverflowError:  # of the power: the cap has long been reached
        whole = backoff.max_s
    return whole / 2 + whole / 2 * rand
