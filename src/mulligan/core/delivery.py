"""What passes between the worker and a broker: one receipt of a message, one message to send, the end of one entry.

A broker fills these in; what they mean (identity, progress, trust) is decided in `core.retry_state`.
"""

from collections.abc import Mapping
from enum import Enum

from mulligan.core.locator import Locator
from mulligan.core.message import AttributeValue, QueueName
from mulligan.core.value import value

__all__ = ["Delivery", "Depth", "EntryFault", "Fault", "Outgoing", "Queues"]


@value
class Delivery:
    """One receipt of one message from one queue.

    receipt: names this receipt to the broker that gave it; opaque text to everyone else.
    id: the broker's id of the message.
    attributes: all of them, mulligan's own included and not yet believed.
    sent_at: epoch seconds (UTC) at which this copy entered the queue.
    receive_count: receipts of this copy so far, this one included (>= 1).
    group: the message group on a FIFO queue, whose messages are worked on in order; None where nothing is ordered.
    is_dated: False where neither broker nor producer says when; sent_at is then the time of this receipt.
    tenant: the message group on a queue that orders nothing: whose message it is, so that the queue can be fair.
    trace: the trace that the message belongs to, in the broker's own words (on SQS: AWSTraceHeader).
    """

    queue: QueueName
    receipt: str
    id: str
    body: bytes
    attributes: Mapping[str, AttributeValue]
    sent_at: float
    receive_count: int = 1
    group: str | None = None
    is_dated: bool = True
    tenant: str | None = None
    trace: str | None = None


@value
class Outgoing:
    """One message to send.

    delay_s: seconds until it may be received; the caller keeps it within the broker's `Features.max_delay_s`.
    group, dedup_id: for FIFO queues; ignored elsewhere.
    tenant, trace: as a delivery brought them; ignored where the broker has no such thing.
    """

    body: bytes
    attributes: Mapping[str, AttributeValue]
    delay_s: float = 0.0
    group: str | None = None
    dedup_id: str | None = None
    tenant: str | None = None
    trace: str | None = None


class Fault(Enum):
    """What a caller can do about one failed entry of a batch."""

    RETRY = "retry"  # a passing fault: the same entry again
    REFUSED = "refused"  # the entry itself is wrong: never again as it is
    LEASE_LOST = "lease lost"  # the receipt is no longer ours: leave the message to its next receiver


@value
class EntryFault:
    """Why one entry of a batch failed. None stands in the place of an entry that succeeded."""

    fault: Fault
    reason: str


@value
class Depth:
    """How full a queue is: messages that may be received now, that wait for their time, and that are leased.

    oldest_age_s: age of the oldest message in seconds, None when the queue is empty or the broker can't say.
    is_exact: False when the broker only estimates (SQS).
    """

    ready: int
    delayed: int
    in_flight: int
    oldest_age_s: float | None = None
    is_exact: bool = True

    @property
    def total(self) -> int:
        """All messages of the queue."""
        return self.ready + self.delayed + self.in_flight


@value
class Queues:
    """The names of the three queues, and the prefix that they share.

    locators: of those that the settings name by a URL or an ARN.
    """

    prefix: str
    requests: QueueName
    rejects: QueueName
    dead: QueueName
    locators: tuple[Locator, ...] = ()

    @property
    def all(self) -> tuple[QueueName, QueueName, QueueName]:
        """The three names, in the order in which a message may see them."""
        return self.requests, self.rejects, self.dead
