"""How much to ask a queue for, and with how many receives at once. Pure."""

from mulligan.core.value import value

__all__ = ["Width", "adapt", "wanted"]


@value
class Width:
    """How many receives of one queue this process should have in flight. is_short: the last one came back short."""

    pollers: int = 1
    is_short: bool = False


def wanted(free: int, capacity: int, max_batch: int, *, has_waited: bool) -> int:
    """How many messages the next receive should ask for; 0: not yet.

    A receive is asked for a whole batch, so that its request is full. When not enough slots come free in time
    (has_waited: one latency has passed), what is free is asked for: a slow neighbour must not starve the other slots.
    """
    batch = min(max_batch, capacity)
    if free >= batch:
        return batch
    return max(0, free) if has_waited else 0


def adapt(width: Width, asked: int, got: int, pollers_max: int) -> Width:
    """The width after a receive: half more pollers after a full one, half of them after a short one."""
    if got >= asked:
        return Width(min(pollers_max, width.pollers + max(1, width.pollers // 2)))
    return Width(max(1, width.pollers // 2), is_short=got > 0)
