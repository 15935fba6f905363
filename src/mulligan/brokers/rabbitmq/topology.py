"""Which exchanges and queues there are, with which arguments, and how a delay is routed through them. Pure.

Requests, rejects and dead are quorum queues behind exchanges of the names that the original program's publishers use. A
message with a delay passes *delay levels*, each an exchange and a queue: level n holds a message for 2^n seconds and
hands it to the exchange of level n-1. The routing key spells the delay in bits, highest first, then the queue's role:

    9 s to rejects: level 3 -(8 s)-> 2 -> 1 -> level 0 -(1 s)-> delivery -> rejects     key 0. ... .1.0.0.1.rejects

What the delivery exchange can't route goes to `unrouted`: at-least-once dead-lettering would retry it for ever, and 32
such messages block a level for all others.
"""

import math
from collections.abc import Mapping

from mulligan.core.delivery import Queues
from mulligan.core.message import QueueName
from mulligan.core.value import value

__all__ = ["DELAY_MAX_S", "DELIVERY_LIMIT", "LEVELS", "Binding", "Exchange", "Place", "Queue", "Topology", "rounded_up"]

LEVELS = 17
DELAY_MAX_S = (1 << LEVELS) - 1
"""36 hours. A message with a longer delay comes back early and is released for the rest."""
_BITS = 5
"""The most bits set in a delay. Each costs one queue to pass; rounding up to five makes a delay 1/16 longer at most."""

DELIVERY_LIMIT = 1_000
"""Before RabbitMQ 4.3 every return counts; beyond the limit a message goes to dead, without its retry state."""
_NO_LIMIT = 1_000_000_000
"""Without a limit of the queue, 4.0 and later drop a message after 20 receipts."""

Arguments = Mapping[str, str | int]


@value
class Exchange:
    """An exchange as it is declared."""

    name: str
    kind: str
    arguments: Arguments


@value
class Queue:
    """A queue as it is declared; all are durable quorum queues."""

    name: str
    arguments: Arguments


@value
class Binding:
    """What an exchange routes where."""

    source: str
    target: str
    key: str
    to_exchange: bool = False


@value
class Place:
    """Where a message is published to."""

    exchange: str
    key: str


class Topology:
    """Everything that belongs to one prefix."""

    def __init__(self, queues: Queues) -> None:
        prefix = queues.prefix
        self.queues = queues
        self.delay_prefix = f"{prefix}-delay-"
        self._roles = {queues.requests: "requests", queues.rejects: "rejects", queues.dead: "dead"}
        self._places = {
            name: Place(f"{prefix}-{role}-xchange", f"{prefix}-{role}") for name, role in self._roles.items()
        }
        self._delivery = f"{prefix}-delivery"
        self.unrouted = f"{prefix}-unrouted"

    def place(self, queue: QueueName, delay_s: float = 0.0) -> Place:
        """Where to publish for the queue. delay_s: 0 to DELAY_MAX_S; see `rounded_up`."""
        seconds = rounded_up(delay_s)
        if seconds == 0:
            return self._places[queue]
        level = seconds.bit_length() - 1
        bits = ".".join(f"{seconds:0{LEVELS}b}")
        return Place(self._level(level), f"{bits}.{self._roles[queue]}")

    def role(self, queue: QueueName) -> str:
        """requests, rejects or dead. Raises KeyError for any other queue."""
        return self._roles[queue]

    def is_for(self, key: str, queue: QueueName) -> bool:
        """Whether a message with this routing key, on a delay queue, is bound for the queue."""
        return key.rpartition(".")[2] == self._roles[queue]

    @property
    def delay_queues(self) -> tuple[Queue, ...]:
        """The queues of the delay levels, from the longest delay down, the order in which messages pass them."""
        return tuple(
            Queue(
                self._level(level),
                {
                    **_KEPT,
                    "x-message-ttl": 1000 * 2**level,
                    "x-dead-letter-exchange": self._level(level - 1) if level else self._delivery,
                    "x-delivery-limit": _NO_LIMIT,
                },
            )
            for level in reversed(range(LEVELS))
        )

    @property
    def main(self) -> tuple[Queue, ...]:
        """Dead, rejects, requests: each after the one to which the broker moves its messages."""
        to_dead = self._places[self.queues.dead]
        dead = Queue(
            self.queues.dead,
            {**_KEPT, "x-dead-letter-exchange": self.unrouted, "x-delivery-limit": _NO_LIMIT},
        )
        others = [
            Queue(
                name,
                {
                    **_KEPT,
                    "x-dead-letter-exchange": to_dead.exchange,
                    "x-dead-letter-routing-key": to_dead.key,
                    "x-delivery-limit": DELIVERY_LIMIT,
                },
            )
            for name in (self.queues.rejects, self.queues.requests)
        ]
        return dead, *others

    @property
    def receives(self) -> dict[QueueName, int]:
        """How often requests and rejects deliver one message: once, and again after each return within the limit.

        This is how they were declared. A policy may allow fewer, and AMQP doesn't show policies.
        """
        return dict.fromkeys((self.queues.requests, self.queues.rejects), DELIVERY_LIMIT + 1)

    @property
    def unrouted_queue(self) -> Queue:
        """Where messages go whose queue is gone, for a person to look at."""
        arguments: Arguments = {"x-queue-type": "quorum", "x-overflow": "reject-publish", "x-delivery-limit": _NO_LIMIT}
        return Queue(self.unrouted, arguments)

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """All exchanges, each after those that it refers to."""
        return (
            Exchange(self.unrouted, "fanout", {}),
            *(Exchange(place.exchange, "direct", {}) for place in self._places.values()),
            Exchange(self._delivery, "topic", {"alternate-exchange": self.unrouted}),
            *(Exchange(self._level(level), "topic", {}) for level in range(LEVELS)),
        )

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """All bindings."""
        main = [Binding(place.exchange, name, place.key) for name, place in self._places.items()]
        delivery = [Binding(self._delivery, name, f"#.{role}") for name, role in self._roles.items()]
        levels: list[Binding] = []
        for level in range(LEVELS):
            before = "*." * (LEVELS - 1 - level)
            below = self._level(level - 1) if level else self._delivery
            levels.append(Binding(self._level(level), self._level(level), f"{before}1.#"))
            levels.append(Binding(self._level(level), below, f"{before}0.#", to_exchange=True))
        return (*main, *delivery, Binding(self.unrouted, self.unrouted, ""), *levels)

    def _level(self, level: int) -> str:
        return f"{self.delay_prefix}{level}"


_KEPT: Arguments = {
    "x-queue-type": "quorum",
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",  # at-least-once requires it; a full queue then refuses what is published
}


def rounded_up(delay_s: float) -> int:
    """Whole seconds, not less than the delay, with at most five bits set; DELAY_MAX_S at most."""
    seconds = math.ceil(delay_s)
    unit = int(2 ** max(0, seconds.bit_length() - _BITS))
    return min(-(-seconds // unit) * unit, DELAY_MAX_S)
