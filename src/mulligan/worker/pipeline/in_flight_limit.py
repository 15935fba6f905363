"""How full a queue is of messages that are leased, or were released for a long time: some brokers have a limit.

A message that is released is in flight until its time comes, for hours if need be, and beyond the broker's limit
nothing of the queue can be received any more. So above half of it the `settler` has long waits begin anew, as copies.
"""

import contextlib

from mulligan.brokers.base import Broker
from mulligan.clock import SystemClock
from mulligan.core.error import BrokerError
from mulligan.core.message import QueueName

__all__ = ["InFlightLimit"]

_READ_EVERY_S = 60.0


class InFlightLimit:
    """Of one queue, in one process. The broker is asked once a minute at most, and only where it matters."""

    def __init__(self, broker: Broker, queue: QueueName, clock: SystemClock) -> None:
        self._broker = broker
        self._queue = queue
        self._clock = clock
        self._count = 0
        self._read_at: float | None = None

    async def is_over(self, more: int) -> bool:
        """Whether this many more messages would make it more than half of what may be in flight. Counts them if not."""
        limit = self._broker.features.max_in_flight
        if limit is None:
            return False
        now = self._clock.monotonic()
        if self._read_at is None or now - self._read_at >= _READ_EVERY_S:
            self._read_at = now
            with contextlib.suppress(BrokerError):  # the settler and the pollers meet it, too
                self._count = (await self._broker.depth(self._queue)).in_flight
        if self._count + more > limit / 2:
            return True
        self._count += more
        return False
