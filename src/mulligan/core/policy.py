"""How often a task is tried, and how long it waits between attempts."""

from mulligan.core.value import value

__all__ = ["Backoff", "Policy", "again_in_s", "delay_s"]


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


def again_in_s(first_s: float, longest_s: float, receive_count: int, age_s: float | None) -> float:
    """Seconds for which a copy that nothing can be done for is left alone: first_s, then twice that, up to longest_s.

    receive_count: of the copy, this receipt included.
    age_s: None where the count says how often it was looked at; else seconds for which it has been on its queue, since
    a wait for as long as it has waited doubles, too.
    """
    if age_s is not None:
        return min(max(first_s, age_s), longest_s)
    return min(first_s * 2.0 ** min(receive_count - 1, 32), longest_s)


def delay_s(backoff: Backoff, attempts: int, rand: float) -> float:
    """Seconds to wait after `attempts` failed ones.

    rand: in [0, 1); 0 gives the shortest wait (half), 1 the longest.
    """
    try:
        whole = min(backoff.max_s, backoff.first_s * backoff.factor ** (attempts - 1))
    except OverflowError:  # of the power: the cap has long been reached
        whole = backoff.max_s
    return whole / 2 + whole / 2 * rand
