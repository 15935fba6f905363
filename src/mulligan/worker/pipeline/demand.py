"""How much to ask a queue for, and with how many receives at once. No clock of its own."""

from mulligan.core.value import value

__all__ = ["CompletionRate", "PollerCount", "batch_size", "scale"]

_SAMPLE_S = 0.5


@value
class PollerCount:
    """How many receives of one queue this process should have in flight. is_short: the last one came back short."""

    pollers: int = 1
    is_short: bool = False


class CompletionRate:
    """How fast messages end: over half a second at least, so that many that end together are not a high rate."""

    __slots__ = ("_ended", "_ended_before", "_since", "_since_before")

    def __init__(self, now: float) -> None:
        self._since_before = self._since = now
        self._ended_before = self._ended = 0

    def per_s(self, now: float, ended: int) -> float:
        """Messages a second. ended: how many have ended so far. It has to be asked often while any end."""
        if now - self._since >= _SAMPLE_S:
            self._since_before, self._ended_before = self._since, self._ended
            self._since, self._ended = now, ended
        return (ended - self._ended_before) / max(_SAMPLE_S, now - self._since_before)


def batch_size(free: int, soon_free: int, capacity: int, max_batch: int, *, has_waited: bool) -> int:
    """How many messages the next receive should ask for; 0: not yet.

    free: places that nobody has or has asked for; below 0 where more was asked for. soon_free: with those that will
    have come free when the answer is there.
    A receive is asked for a whole batch, so that its request is full. When not enough places come free in time
    (has_waited: one latency has passed), what is free is asked for: a slow neighbour must not starve the other places.
    """
    batch = min(max_batch, capacity)
    if soon_free >= batch:
        return batch
    return max(0, free) if has_waited else 0


def scale(width: PollerCount, asked: int, got: int, pollers_max: int) -> PollerCount:
    """The width after a receive: half more pollers after a full one, half of them after a short one."""
    if got >= asked:
        return PollerCount(min(pollers_max, width.pollers + max(1, width.pollers // 2)))
    return PollerCount(max(1, width.pollers // 2), is_short=got > 0)
