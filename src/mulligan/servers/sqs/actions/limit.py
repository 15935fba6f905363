"""The limits of the service, as numbers. A test may shorten the waits; a user has no reason to."""

from mulligan.core.value import value

__all__ = ["Limits"]


@value
class Limits:
    """What may not be exceeded, and how long things are remembered.

    in_flight_max: leased messages of one queue; beyond it a standard queue answers OverLimit, a FIFO queue nothing.
    dedup_s: how long a FIFO queue knows a deduplication id, or the id of a receive attempt.
    purge_s: a queue is purged at most once in that time.
    recreate_s: a deleted queue's name can't be taken again before.
    batch_bytes: all messages of one SendMessageBatch together.
    move_rate: messages a second of a move task that doesn't say.
    """

    batch_max: int = 10
    batch_bytes: int = 1_048_576
    message_bytes_min: int = 1_024
    message_bytes_max: int = 1_048_576
    visibility_max_s: int = 43_200
    delay_max_s: int = 900
    wait_max_s: int = 20
    in_flight_max: int = 120_000
    dedup_s: float = 300.0
    purge_s: float = 60.0
    recreate_s: float = 60.0
    move_rate: int = 500
    tags_max: int = 50
