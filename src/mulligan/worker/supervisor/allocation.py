"""How consumers are allocated to worker processes. Pure."""

from mulligan.core.value import value

__all__ = ["WorkerShare", "allocate", "isolated_for"]


@value
class WorkerShare:
    """The consumers of one worker process."""

    requests: int
    rejects: int


def isolated_for(workers: int, cores: int) -> int:
    """How many processes for suspects each worker may have: all together one a core, and one a worker at least."""
    return max(1, -(-cores // max(1, workers)))


def allocate(requests: int, rejects: int, pool_size: int) -> list[WorkerShare]:
    """One share per process, as even as can be; no more processes than consumers, and every consumer in one of them."""
    size = min(pool_size, requests + rejects)
    hands = [WorkerShare(0, 0)] * size
    for seat in range(requests + rejects):
        hand = hands[seat % size]
        hands[seat % size] = (
            WorkerShare(hand.requests + 1, hand.rejects)
            if seat < requests
            else WorkerShare(hand.requests, hand.rejects + 1)
        )
    return hands
