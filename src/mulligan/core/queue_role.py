"""One of the queues that a worker consumes, and what follows from how it is used. Pure."""

from mulligan.core.value import value

__all__ = ["PATIENT_S", "QueueRole"]

PATIENT_S = 900.0
"""Of a message that could be moved away by its queue soon: the state that can't be read, the body that is missing, or
the other copy that is worked on, have time to change."""

_HELD_S = 1.0
"""How long a copy waits at most for the claim of another where a dead worker's messages come back by themselves: the
supervisor is about to end that claim."""

_HELD_LEAST_S = 0.05

_RECEIVES_KEPT = 2
"""Receives that a suspect must have left, beyond the present one, to be given back for another worker: its worker may
die, and an answer may be lost."""


@value
class QueueRole:
    """The queue that a pipeline serves, and how.

    index: as the lease table names it: 0 requests, 1 rejects. is_trusted: its messages' retry states are believed.
    prefix: of the queues' names. lease_s: as messages are received.
    suspects_repeats: there is no ledger that knows of deaths, so a message that comes again may have killed a worker.
    holds_groups: on a FIFO queue a message that is to be tried again keeps its group waiting; else it steps aside.
    holds_deliveries: a delivery is held until it is settled or its connection ends, and never comes back before.
    counts_releases: as in the broker's `Features`.
    buries_strays: what comes to rejects without a retry state becomes a dead letter; else all its tasks run.
    max_bytes: the largest message of the queues.
    missing_grace_s: for how long a message waits for a task that this process doesn't know.
    receives: how often the queue delivers one message before it moves it away without its retry state; None: it never
    does.
    max_delay_s, max_lease_s: as in the broker's `Features`.
    """

    index: int
    is_trusted: bool
    prefix: str
    lease_s: float
    suspects_repeats: bool = False
    holds_groups: bool = False
    holds_deliveries: bool = False
    counts_releases: bool = True
    buries_strays: bool = False
    max_bytes: int = 2**20
    missing_grace_s: float = 86_400.0
    receives: int | None = None
    max_delay_s: float = 0.0
    max_lease_s: float = 43_200.0

    def hands_on(self, receive_count: int, delay_s: float) -> bool:
        """Whether a message that is to be given back for delay_s has to go to rejects as a copy: else one of its next
        receives could be one too many. One is kept in reserve, for a worker that dies, or an answer that is lost.

        Where a copy can't be sent with a delay, the reserve is used to wait: a copy would come back at once.
        """
        if self.receives is None:
            return False
        left = self.receives - receive_count
        return left <= 0 or (left == 1 and (delay_s <= 0 or self.max_delay_s > 0))

    def patient_s(self, receive_count: int, wait_s: float) -> float:
        """How long a message is left alone that must not be copied: longer, where few receives are left for it."""
        if self.receives is None or receive_count < self.receives - 1:
            return wait_s
        return self.max_lease_s if receive_count >= self.receives else max(wait_s, PATIENT_S)

    def held_s(self, until: float, now: float, receive_count: int) -> float:
        """How long a copy waits for the claim of another one. until: the end of that claim; now: both epoch seconds."""
        wait_s = max(_HELD_LEAST_S, until - now)
        wait_s = min(wait_s, _HELD_S if self.holds_deliveries else self.lease_s)
        return max(wait_s, min(self.patient_s(receive_count, wait_s), PATIENT_S))

    def has_receives_for_rest(self, receive_count: int) -> bool:
        """Whether a suspect may be given back once more, so that another worker runs it sooner."""
        return self.receives is None or self.receives - receive_count > _RECEIVES_KEPT

    def is_repeat(self, receive_count: int) -> bool:
        """Whether a message that comes again may have killed a worker. Where there is a ledger, that knows."""
        return self.suspects_repeats and receive_count > 1
