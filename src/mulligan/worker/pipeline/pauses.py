"""How long the receives of a queue rest: in an outage, after a refusal, and where the server keeps no long poll."""

import asyncio
import contextlib

from mulligan.core.error import BrokerRefused, BrokerUnavailable
from mulligan.core.event import BrokerWarning, ReceiveRefused
from mulligan.core.message import QueueName
from mulligan.worker.outage import of_broker
from mulligan.worker.pipeline.runtime import Runtime

__all__ = ["Pauses"]

_RETRY_FIRST_S = 0.25
_RETRY_MAX_S = 30.0
_RETRY_SHARE = 0.2  # of what an outage has lasted: after twenty seconds of it the next call is within four
_RETRY_SHORT_S = 2.0  # and that share does not count below this
_REFUSED_RETRY_S = 60.0
_AT_ONCE_FREE = 3
_AT_ONCE_PAUSE_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
"""After that number of empty answers in a row. Asked again at once, it was thousands of requests a second, each of them
paid for."""


class Pauses:
    """Of all receives of one queue in one process; each reports its reason.

    wait_s: seconds that a receive is to wait for messages. stopping: ends every pause.
    """

    def __init__(self, runtime: Runtime, queue: QueueName, wait_s: float, stopping: asyncio.Event) -> None:
        self._clock = runtime.clock
        self._emit = runtime.emit
        self._queue = queue
        self._wait_s = wait_s
        self._stopping = stopping
        self._has_warned = False
        self._outage = of_broker(runtime.clock, runtime.emit, f"receiving from {queue}")

    def has_answered(self) -> None:
        """A receive has succeeded."""
        self._outage.is_over()

    async def after_outage(self, exc: BrokerUnavailable, failures: int) -> None:
        """After the n-th call in a row (from 1) that found the broker away: jitter below a doubling bound."""
        self._outage.goes_on(exc)
        longest_s = min(_RETRY_MAX_S, max(_RETRY_SHORT_S, _RETRY_SHARE * self._outage.lasts_s))
        bound_s: float = min(longest_s, _RETRY_FIRST_S * 2.0 ** min(failures, 16))
        await self.rest(bound_s / 4 + bound_s * 3 / 4 * self._clock.random())

    async def after_refusal(self, exc: BrokerRefused) -> None:
        """After a call that the broker refused."""
        self._emit(ReceiveRefused(self._queue, str(exc)))
        await self.rest(_REFUSED_RETRY_S)

    async def after_empties(self, count: int) -> None:
        """After this many receives in a row that came back with nothing, at once. The first few are free."""
        count -= _AT_ONCE_FREE
        if count <= 0:
            return
        if count == len(_AT_ONCE_PAUSE_S) and not self._has_warned:
            self._has_warned = True
            text = (
                f"receives come back with nothing, at once, though they are asked to wait for {self._wait_s:g} s: the "
                f"server, or something on the way, keeps no long poll. It is asked once a second meanwhile, which is "
                f"paid for; look at what is between."
            )
            self._emit(BrokerWarning(self._queue, text))
        await self.rest(_AT_ONCE_PAUSE_S[min(count, len(_AT_ONCE_PAUSE_S)) - 1])

    async def rest(self, seconds: float) -> None:
        """Wait, but not beyond the stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
