"""The seam between mulligan and a message broker. Implementations know their service and nothing of one another.

Batch calls take many entries and answer one result per entry, in order: None for success, otherwise an `EntryFault`.
A call that fails as a whole raises `BrokerUnavailable` (may be repeated) or `BrokerRefused` (will not get better).
A broker reads no clock and writes no log of its own: it is handed a clock and an `emit` where it needs them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Protocol

from mulligan.core.clock import Clock, Lead
from mulligan.core.delivery import Delivery, Depth, EntryFault, Outgoing, Queues
from mulligan.core.event import Event
from mulligan.core.message import AttributeValue, QueueName
from mulligan.core.packing import Limits
from mulligan.core.value import value

__all__ = ["MEANT", "Broker", "Clock", "Declared", "Emit", "Features", "Owners", "Queues", "not_there"]

Emit = Callable[[Event], None]


@value
class Features:
    """What a broker can do, so that the worker needs to know no broker by name.

    max_batch: entries of one batch call, and messages of one receive.
    max_pollers: receives of one queue in one process that are worth having in flight at once.
    max_delay_s, max_lease_s: the longest that a send or a release may be delayed; the longest lease.
    time_unit_s: delays and leases are rounded up to it.
    max_message_bytes: body and attributes together, as `core.packing.size_bytes` counts them.
    max_attributes: None for no limit.
    type_bytes: what a plain text or bytes attribute counts beyond its name and value.
    is_text: bodies are text; bytes have to be encoded.
    long_poll_s: the longest wait of one receive.
    linger_s: how long a settlement may wait for others to share its request; 0 where requests cost nothing.
    has_price: every request is paid for, so receives and settlements should be full.
    keeps_lease: False where a lease is the connection and `extend` has nothing to do.
    cancels_receive: a receive that waits can be cancelled without hiding messages for a lease; elsewhere it must end.
    counts_releases: False where a message that was released with a delay comes back with a receive count of 1.
    max_in_flight: messages of one queue that can be leased or released with a delay at once; None for no limit.
    """

    max_batch: int
    max_pollers: int
    max_delay_s: float
    max_lease_s: float
    time_unit_s: float
    max_message_bytes: int
    max_attributes: int | None = None
    type_bytes: int = 0
    is_text: bool = False
    long_poll_s: float = 20.0
    linger_s: float = 0.0
    has_price: bool = False
    keeps_lease: bool = True
    cancels_receive: bool = False
    counts_releases: bool = True
    max_in_flight: int | None = None

    @property
    def limits(self) -> Limits:
        """What a copy has to be packed into."""
        return Limits(self.max_message_bytes, self.max_attributes, self.type_bytes, self.is_text)


@value
class Declared:
    """What `declare` found. created: queues that it made.

    problems: sentences about what can't work so. notes: about what differs from what is best, and works.
    missing: queues that are not there; the first problem is about them all.
    receives: by queue, how often it delivers one message before the broker moves it away; the others never do.
    """

    created: tuple[QueueName, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    missing: tuple[QueueName, ...] = ()
    receives: Mapping[QueueName, int] = field(default_factory=dict)


MEANT = "If it is meant as it is, set ADOPT_REJECTS=true."
"""The way out that a problem of `Owners` names."""


@value
class Owners:
    """Whose queues they are. problems: why the rejects queue seems to be somebody else's.

    notes: other doubts, and what others do with the queues just now.
    """

    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def judged(self, *, is_meant: bool) -> "Owners":
        """As they are, or where the queue is meant (ADOPT_REJECTS) with its problems as notes."""
        if not is_meant:
            return self
        notes = [
            f"ADOPT_REJECTS is true, and this is let pass. {text.replace(f' {MEANT}', '')}" for text in self.problems
        ]
        return Owners((), (*self.notes, *notes))


def not_there(queues: Sequence[str], place: str = "") -> str:
    """The sentence about queues that aren't there, one at least, as a problem of `Declared` or an error.

    place: where they aren't, and what is there in their stead; "" where nothing more is known.
    """
    *others, last = queues
    names = f"queues {', '.join(others)} and {last} aren't" if others else f"queue {last} isn't"
    return (
        f"The {names} there{f' ({place})' if place else ''}. `mulligan setup` makes {'them' if others else 'it'}, "
        "and so does a start with CREATE_QUEUES=true (the default)."
    )


class Broker(Protocol):
    """Three queues on some service. All methods may be called side by side from one event loop."""

    @property
    def features(self) -> Features:
        """What this broker can do; known before `declare`, exact after it."""

    @property
    def billed(self) -> Mapping[str, int]:
        """Requests since the start as the service bills them, by its own names of its actions; {} where it doesn't."""

    @property
    def lead(self) -> Lead | None:
        """By how much this machine's clock is ahead of the service's, by its last answers; None where it
        doesn't tell, or is this machine.
        """

    async def declare(self, queues: Queues, *, create: bool, only: QueueName | None = None) -> Declared:
        """Check the queues, and create those that are missing if `create`. Must be the first call.

        A queue that is missing and not to be created is a problem of the answer. Declaring twice changes nothing.
        only: the one of them that the caller uses and may see; a broker that gives rights queue by queue leaves the
        others alone if this one is there, the rest look at all.
        """

    async def owners(self, queues: Queues) -> Owners:
        """Whether somebody else's messages lie where ours are to go; after `declare`, of the queues that it found.

        Nothing to say where only this application can have made the queues. Messages may be received and given back.
        """

    async def receive(self, queue: QueueName, max_count: int, *, wait_s: float, lease_s: float) -> list[Delivery]:
        """Up to max_count messages (<= Features.max_batch), leased for lease_s seconds.

        Waits up to wait_s for the first one, then returns what is there. [] proves nothing about the queue.
        If the call is cancelled, messages that it may have received come back when their lease ends.
        """

    async def rest(self, queue: QueueName) -> None:
        """Nobody will ask this queue for a while: what was fetched ahead of the receives goes back to it at once.

        A receive that is under way, or comes later, is not disturbed. Never raises.
        """

    async def send(self, queue: QueueName, entries: Sequence[Outgoing]) -> list[EntryFault | None]:
        """Put messages on a queue. None for an entry means that it is durable there.

        After BrokerUnavailable any of them may be there all the same: a repeated send may make twins.
        """

    async def ack(self, queue: QueueName, receipts: Sequence[str]) -> list[EntryFault | None]:
        """Remove messages permanently. A receipt whose message somebody else received in the meantime is LEASE_LOST,
        where the broker can tell.
        """

    async def release(self, queue: QueueName, entries: Sequence[tuple[str, float]]) -> list[EntryFault | None]:
        """Give messages back: (receipt, seconds until it may be received again)."""

    async def extend(self, queue: QueueName, entries: Sequence[tuple[str, float]]) -> list[EntryFault | None]:
        """Let leases end that many seconds from now: (receipt, seconds)."""

    async def depth(self, queue: QueueName) -> Depth:
        """How full the queue is."""

    async def attributes(self, queue: QueueName, max_count: int) -> list[Mapping[str, AttributeValue]] | None:
        """Those of up to max_count messages of the queue, delayed and leased ones too, without receiving any.

        None where the service can show messages to their receivers only.
        """

    async def purge(self, queue: QueueName) -> None:
        """Remove every message of the queue, leased ones too."""

    async def close(self) -> None:
        """Let go of connections and files. Receives in flight return []. Twice is once."""
