"""What the server keeps: queues, messages, and the few things that it remembers about them. Values only."""

from collections.abc import Mapping
from types import MappingProxyType

from mulligan.core.message import AttributeValue
from mulligan.core.value import value

__all__ = ["EMPTY", "TASKS_KEPT", "Counts", "Draft", "MoveTask", "Queue", "Record", "Seen", "sequence_number"]

TASKS_KEPT = 100
"""How many move tasks a store remembers."""

EMPTY: Mapping[str, AttributeValue] = MappingProxyType({})


@value
class Queue:
    """One queue and what was set on it.

    attributes: those that were set by somebody, as text, without those that are counted or follow from the name.
    tags: the user's labels.
    policy: the queue's access policy as JSON text, "" for none.
    created_at, modified_at: epoch seconds.
    purged_at: time of the last purge, 0 for never.
    is_adopted: it was not created here but by the main job: its messages never grow too old.
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
        """The kind of a queue is in its name."""
        return self.name.endswith(".fifo")


@value
class Draft:
    """A message about to enter a queue.

    message_id: what the sender is told; "" for one that the store makes.
    sent_at: when it first entered a queue; a dead letter of a standard queue keeps it.
    due_at: when it may first be received.
    trace: the AWSTraceHeader, the only system attribute that a sender may set.
    source: name of the queue from which it came as a dead letter.
    is_copy: a twin that the fault script made; it is not copied again.
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
    """A message in a queue. id: the store's own number of it, growing in order of arrival."""

    id: int
    draft: Draft
    receive_count: int
    first_received_at: float | None
    due_at: float
    is_leased: bool

    def is_in_flight(self, now: float) -> bool:
        """Whether somebody holds it at that time."""
        return self.is_leased and self.due_at > now


@value
class Counts:
    """How many messages may be received, are leased, or wait for their time."""

    visible: int
    in_flight: int
    delayed: int


@value
class Seen:
    """What a FIFO queue remembers of a send, to answer the same send again."""

    message_id: str
    sequence: str


@value
class MoveTask:
    """One move of a dead-letter queue's messages.

    source, destination: names; no destination means: each to where it came from.
    status: RUNNING, COMPLETED, CANCELLING, CANCELLED or FAILED.
    rate: messages a second.
    asked_rate: what the caller asked for, None when it didn't.
    to_move: how many there were at the start.
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
