"""Looking at the messages of a queue without taking them: receive all there are, under a lease, then give them back.

No broker offers more than that. While a walk goes on its messages are invisible to others; delayed messages and those
that others hold can't be seen. Every receipt raises a message's receive count.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mulligan.brokers.base import Broker
from mulligan.cli.output import say
from mulligan.cli.retry import released
from mulligan.core.delivery import Delivery
from mulligan.core.error import BrokerError
from mulligan.core.message import QueueName

__all__ = ["LEASE_S", "RECEIVES_ENOUGH", "Walk", "walk"]

RECEIVES_ENOUGH = 50
"""A queue that gives a message less often moves it away after a few looks."""

LEASE_S = 60.0
"""How long messages stay invisible when the walk can't give them back (kill -9)."""

_EMPTIES = 3
"""Receives in a row that bring nothing before a queue counts as seen, on brokers that only estimate."""


class Walk:
    """The messages of one queue, each once, as `async for`; made by `walk`."""

    def __init__(self, broker: Broker, queue: QueueName) -> None:
        self._broker = broker
        self._queue = queue
        self._receipts: dict[str, str] = {}
        self.hidden = 0
        """Messages that could not be seen when the walk began, because they are delayed or somebody holds them."""

    async def batches(self, max_count: int | None = None) -> AsyncIterator[list[Delivery]]:
        """The messages in lists, as they are received, until a receive brings nothing new.

        max_count: of one receive, so that a look at the first few doesn't hold more of them.
        """
        features = self._broker.features
        size = min(features.max_batch, max_count or features.max_batch)
        depth = await self._broker.depth(self._queue)
        self.hidden = depth.delayed + depth.in_flight
        patience = 1 if depth.is_exact else _EMPTIES
        wait_s = 0.0 if depth.is_exact else min(1.0, features.long_poll_s)
        left = patience
        while left:
            batch = await self._broker.receive(self._queue, size, wait_s=wait_s, lease_s=LEASE_S)
            fresh = [delivery for delivery in batch if delivery.id not in self._receipts]
            # one whose lease ended on a long walk comes again; the newest receipt is the one to give back
            self._receipts |= {delivery.id: delivery.receipt for delivery in batch}
            left = patience if fresh else 0 if batch else left - 1
            if fresh:
                yield fresh

    def receipt(self, message_id: str) -> str:
        """The newest receipt of a message that was seen."""
        return self._receipts[message_id]

    def keep_not(self, message_id: str) -> None:
        """The message was removed: it is not to be given back."""
        self._receipts.pop(message_id, None)

    async def give_back(self) -> None:
        """Make everything that was seen visible again."""
        receipts = list(self._receipts.values())
        size = self._broker.features.max_batch
        for start in range(0, len(receipts), size):
            try:
                await released(self._broker, self._queue, receipts[start : start + size])
            except BrokerError as exc:
                say(f"some messages of {self._queue} become visible again only in {LEASE_S:.0f} s: {exc}")
                return


@asynccontextmanager
async def walk(broker: Broker, queue: QueueName) -> AsyncIterator[Walk]:
    """A walk; whatever it saw is given back at its end, on Ctrl-C too."""
    walked = Walk(broker, queue)
    try:
        yield walked
    finally:
        await walked.give_back()
