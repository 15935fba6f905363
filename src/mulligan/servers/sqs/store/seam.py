"""The seam between the rules and where messages lie. Plain calls, no waiting: a store is used inside one step.

The memory store is used directly; the embedded queue's store lives inside one transaction of the database's writer. In
both cases all calls of one action happen as a whole or not at all, so the rules need no locks.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from mulligan.servers.sqs.store.protocol import Counts, Draft, MoveTask, Queue, Record, Seen

__all__ = ["Store"]


class Store(Protocol):
    """Queues by name, messages by queue and number."""

    def queues(self) -> list[Queue]:
        """All queues in order of their names."""

    def queue(self, name: str) -> Queue | None:
        """One queue."""

    def save_queue(self, queue: Queue) -> None:
        """Create a queue, or put a new value in its place."""

    def drop_queue(self, name: str, at: float) -> None:
        """Remove a queue with its messages; `dropped_at` tells the time from then on."""

    def dropped_at(self, name: str) -> float | None:
        """When a queue of that name was last removed."""

    def add(self, queue: Queue, drafts: Sequence[Draft]) -> list[Record]:
        """Put messages in. A draft without a message id gets one."""

    def take(self, queue: Queue, limit: int, now: float) -> list[Record]:
        """Up to `limit` messages that may be received, oldest first.

        On a FIFO queue only those that no earlier message of their group blocks, by being in flight or delayed.

        The caller must lease, move, remove or set each of them due before the step ends.
        """

    def lease(self, queue: Queue, records: Sequence[Record], now: float, until: float) -> list[Record]:
        """Count a receipt for each and hide it until then. The new values."""

    def find(self, queue: Queue, ids: Iterable[int]) -> dict[int, Record]:
        """Those that are still there."""

    def remove(self, queue: Queue, ids: Sequence[int]) -> None:
        """Remove messages; ids that aren't there are passed over."""

    def set_due(self, queue: Queue, ids: Sequence[int], due_at: float, *, is_leased: bool) -> None:
        """Let messages come back at that time."""

    def purge(self, queue: Queue) -> None:
        """Remove all messages, and what is remembered of sends and receives."""

    def expire(self, queue: Queue, before: float) -> None:
        """Remove messages that entered a queue before that time."""

    def counts(self, queue: Queue, now: float) -> Counts:
        """How full the queue is."""

    def in_flight(self, queue: Queue, now: float) -> int:
        """How many of its messages are leased."""

    def next_due(self, queue: Queue, now: float) -> float | None:
        """When the next hidden message comes back; None when none is hidden."""

    def recall(self, queue: Queue, key: str, now: float) -> Seen | None:
        """What was remembered under a key, if its time isn't over."""

    def remember(self, queue: Queue, key: str, seen: Seen, now: float, until: float) -> None:
        """Remember a send."""

    def recall_attempt(self, queue: Queue, attempt: str, now: float) -> tuple[str, ...]:
        """The receipt handles that a receive attempt was given, if its time isn't over."""

    def remember_attempt(self, queue: Queue, attempt: str, given: tuple[str, ...], now: float, until: float) -> None:
        """Remember a receive attempt."""

    def tasks(self) -> list[MoveTask]:
        """All move tasks, the newest first."""

    def save_task(self, task: MoveTask) -> None:
        """Keep a move task, or put a new value in its place."""
