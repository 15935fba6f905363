"""The seam between the actions and the storage: the values that a store keeps, and the calls that it offers.

Calls are plain and never wait: a store is used inside one step. The memory store is used directly; the embedded queue's
store lives inside one transaction of the database's writer. In both cases all calls of one action take effect
completely or not at all, so the actions need no locks.
"""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from mulligan.core.message import AttributeValue
from mulligan.core.value import value

__all__ = [
    "EMPTY",
    "TASKS_KEPT",
    "Counts",
    "DedupEntry",
    "MoveTask",
    "NewMessage",
    "Queue",
    "Record",
    "Store",
    "sequence_number",
]

TASKS_KEPT = 100
"""How many move tasks a store remembers."""

EMPTY: Mapping[str, AttributeValue] = MappingProxyType({})


@value
class Queue:
    """One queue and its settings.

    attributes: those that a client set, as text, without those that are counted or follow from the name.
    tags: the user's labels.
    policy: the queue's access policy as JSON text, "" for none.
    created_at, modified_at: epoch seconds.
    purged_at: time of the last purge, 0 for never.
    is_adopted: the main job created it, not a client of this server: its messages never expire.
    """

    name: str
    region: str
    attributes: Mapping[str, str]
    tags: Mapping[str, str]
    created_at: float
    modified_at: float
    policy: str = ""
    purged_at: float = 0.0
    is_adopted: bool = False

    @property
    def is_fifo(self) -> bool:
        """Whether it is a FIFO queue, which its name says."""
        return self.name.endswith(".fifo")


@value
class NewMessage:
    """A message about to enter a queue.

    message_id: returned to the sender; "" lets the store make one.
    sent_at: when it first entered a queue; a dead letter of a standard queue keeps it.
    due_at: when it may first be received.
    trace: the AWSTraceHeader, the only system attribute that a sender may set.
    source: name of the queue from which it came as a dead letter.
    is_copy: a duplicate that the fault script made; it is not duplicated again.
    """

    message_id: str
    body: bytes
    attributes: Mapping[str, AttributeValue]
    sent_at: float
    due_at: float
    sender: str
    group: str | None = None
    dedup_id: str | None = None
    trace: str | None = None
    source: str | None = None
    receive_count: int = 0
    first_received_at: float | None = None
    is_copy: bool = False


@value
class Record:
    """A message in a queue. id: the store's own number, which grows in order of arrival."""

    id: int
    message: NewMessage
    receive_count: int
    first_received_at: float | None
    due_at: float
    is_leased: bool

    def is_in_flight(self, now: float) -> bool:
        """Whether a receiver holds it at that time."""
        return self.is_leased and self.due_at > now


@value
class Counts:
    """How many messages can be received, are leased, or are delayed."""

    visible: int
    in_flight: int
    delayed: int


@value
class DedupEntry:
    """What a FIFO queue remembers of a send, to answer a repetition in the same way."""

    message_id: str
    sequence: str


@value
class MoveTask:
    """One move of a dead-letter queue's messages.

    source, destination: queue names; without a destination each message goes back to the queue that it came from.
    status: RUNNING, COMPLETED, CANCELLING, CANCELLED or FAILED.
    rate: messages per second.
    asked_rate: the rate in the request, None for none.
    to_move: how many messages there were at the start.
    """

    id: str
    source: str
    destination: str | None
    region: str
    status: str
    rate: int
    asked_rate: int | None
    to_move: int
    moved: int
    started_at: float
    failure: str | None = None


def sequence_number(record_id: int) -> str:
    """The SequenceNumber of a FIFO message: 20 digits that grow with the record's id."""
    return str(18_849_496_460_467_696_128 + record_id * 256)


class Store(Protocol):
    """Queues by name, messages by queue and number."""

    def queues(self) -> list[Queue]:
        """All queues, sorted by name."""

    def queue(self, name: str) -> Queue | None:
        """One queue."""

    def save_queue(self, queue: Queue) -> None:
        """Create a queue, or replace it."""

    def drop_queue(self, name: str, at: float) -> None:
        """Remove a queue with its messages; `dropped_at` returns that time from then on."""

    def dropped_at(self, name: str) -> float | None:
        """When a queue of that name was last removed."""

    def add(self, queue: Queue, messages: Sequence[NewMessage]) -> list[Record]:
        """Add messages. One without a message id gets one."""

    def take(self, queue: Queue, limit: int, now: float) -> list[Record]:
        """Up to `limit` messages that can be received, oldest first.

        On a FIFO queue only those whose group is not blocked by an earlier message in flight or delayed.

        The caller must lease, move, remove or set the due time of each before the step ends.
        """

    def lease(self, queue: Queue, records: Sequence[Record], now: float, until: float) -> list[Record]:
        """Count one receive of each and hide it until then. Returns the new values."""

    def find(self, queue: Queue, ids: Iterable[int]) -> dict[int, Record]:
        """The messages that still exist, by id."""

    def remove(self, queue: Queue, ids: Sequence[int]) -> None:
        """Remove messages; unknown ids are ignored."""

    def set_due(self, queue: Queue, ids: Sequence[int], due_at: float, *, is_leased: bool) -> None:
        """Make messages visible at that time."""

    def purge(self, queue: Queue) -> None:
        """Remove all messages, and all remembered sends and receive attempts."""

    def expire(self, queue: Queue, before: float) -> None:
        """Remove messages that entered a queue before that time."""

    def counts(self, queue: Queue, now: float) -> Counts:
        """The queue's messages, counted by state."""

    def in_flight(self, queue: Queue, now: float) -> int:
        """How many of the queue's messages are leased."""

    def next_due(self, queue: Queue, now: float) -> float | None:
        """When the next hidden message becomes visible; None when none is hidden."""

    def recall(self, queue: Queue, key: str, now: float) -> DedupEntry | None:
        """The send that is remembered under a key, unless it has expired."""

    def remember(self, queue: Queue, key: str, entry: DedupEntry, now: float, until: float) -> None:
        """Remember a send."""

    def recall_attempt(self, queue: Queue, attempt: str, now: float) -> tuple[str, ...]:
        """The receipt handles that a receive attempt returned, unless it has expired."""

    def remember_attempt(self, queue: Queue, attempt: str, handles: tuple[str, ...], now: float, until: float) -> None:
        """Remember a receive attempt."""

    def tasks(self) -> list[MoveTask]:
        """All move tasks, the newest first."""

    def save_task(self, task: MoveTask) -> None:
        """Create a move task, or replace it."""
