"""Asks a queue for messages: as many as there is room for, with as many receives at once as bring full batches."""

import asyncio
import math
from collections import deque

from mulligan.brokers.base import Broker, Features
from mulligan.core.delivery import Delivery
from mulligan.core.error import BrokerRefused, BrokerUnavailable, Meddled
from mulligan.core.message import QueueName
from mulligan.core.value import value
from mulligan.worker.failpoint import ARMED, Point
from mulligan.worker.pipeline.capacity import Capacity
from mulligan.worker.pipeline.demand import PollerCount, batch_size, scale
from mulligan.worker.pipeline.intake import Intake
from mulligan.worker.pipeline.pauses import Pauses
from mulligan.worker.pipeline.runtime import Runtime

__all__ = ["Pace", "Pollers", "poll_s"]

_TOOK_MAX_S = 0.25
_AT_ONCE_S = 0.5
"""A receive that was to wait, and comes back with nothing before: some services do so now and then."""
_FREE_PAUSE_S = 0.002  # without a price, waiting for fuller receives is worth no more than this


@value
class Pace:
    """How a queue is asked. capacity: messages in flight. lease_s, receive_linger_s: as in the settings.

    grace_s: what a shutdown leaves to running tasks. A receive that can't be cancelled waits no longer than that, for
    the shutdown waits for it.
    """

    capacity: int
    lease_s: float
    receive_linger_s: float
    grace_s: float = math.inf


def poll_s(features: Features, grace_s: float) -> float:
    """Seconds for which a receive waits for messages. grace_s: as in `Pace`."""
    if features.cancels_receive:
        return features.long_poll_s
    # the next one costs as much as this one: no less than a second
    return min(features.long_poll_s, max(1.0, grace_s))


class Pollers:
    """All receives of one queue in one process. intake: gets the deliveries of each."""

    def __init__(
        self, runtime: Runtime, broker: Broker, queue: QueueName, pace: Pace, capacity: Capacity, intake: Intake
    ) -> None:
        self._broker = broker
        self._queue = queue
        self._pace = pace
        self._clock = runtime.clock
        self._failed = runtime.failed
        self._capacity = capacity
        self._intake = intake
        capacity.on_change(self._freed)
        features = broker.features
        self._max_batch = features.max_batch
        self._has_price = features.has_price
        self._pause_s = pace.receive_linger_s if features.has_price else min(pace.receive_linger_s, _FREE_PAUSE_S)
        self._width = PollerCount()
        self._batch = min(features.max_batch, pace.capacity)
        self._wait_s = poll_s(features, pace.grace_s)
        # more would wait for room, or bring what only waits: with twice as many no-op tasks cost a fifth more
        self._pollers_max = min(features.max_pollers, -(-pace.capacity // self._batch))
        self._took_s = 0.0  # a full receive, of late
        self._asked = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._woken = 0
        self._is_looking = False
        self._patience: asyncio.TimerHandle | None = None
        self._is_patience_over = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._receives: set[asyncio.Task[list[Delivery]]] = set()
        self._stopping = asyncio.Event()
        self._pauses = Pauses(runtime, queue, self._wait_s, self._stopping)

    def start(self) -> None:
        """Begin to ask."""
        self._widen()

    def _freed(self) -> None:
        """There is room for one more; looked at once for all of this turn of the loop."""
        if self._waiters and not self._is_looking:
            self._is_looking = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._is_looking = False
        free, soon_free = self._room()
        taken = self._woken * self._batch  # by those who were woken and have not asked yet
        while self._waiters and soon_free - taken >= self._batch:
            self._wake()
            taken += self._batch
        if self._waiters and free > taken:
            self._be_patient()

    async def stop(self) -> None:
        """Ask no more. Receives under way end, and what they bring is taken; then this returns.

        What the broker has fetched ahead goes back.
        """
        self._stopping.set()
        while self._waiters:
            self._wake()
        self._end_patience()
        if self._broker.features.cancels_receive:
            for receive in self._receives:
                receive.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._broker.rest(self._queue)

    def _widen(self) -> None:
        while len(self._tasks) < self._width.pollers and not self._stopping.is_set():
            task = asyncio.get_running_loop().create_task(self._poll())
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            if not self._stopping.is_set():
                self._failed(Meddled("a poller"))
        elif (error := task.exception()) is not None:
            self._failed(error)

    async def _poll(self) -> None:
        me = asyncio.current_task()
        assert me is not None
        failures = empties = 0
        while not self._stopping.is_set():
            count = await self._demand()
            if count == 0:
                return
            self._asked += count
            asked_at = self._clock.monotonic()
            try:
                deliveries = await self._receive(count)
            except BrokerUnavailable as exc:
                self._asked -= count
                failures += 1
                await self._pauses.after_outage(exc, failures)
                continue
            except BrokerRefused as exc:
                self._asked -= count
                self._width = PollerCount()
                await self._pauses.after_refusal(exc)
                continue
            failures = 0
            self._pauses.has_answered()
            # from here on they count as in flight
            self._asked -= count
            empties = 0 if deliveries or self._clock.monotonic() - asked_at > _AT_ONCE_S else empties + 1
            if empties:
                await self._pauses.after_empties(empties)
            if deliveries:
                now = self._clock.monotonic()
                if len(deliveries) == count:  # others have waited for messages
                    self._took_s += (min(now - asked_at, _TOOK_MAX_S) - self._took_s) / 8
                await self._intake.take(deliveries, now + self._pace.lease_s)
            self._width = scale(self._width, count, len(deliveries), self._pollers_max)
            if len(self._tasks) > self._width.pollers:
                # counted out here, not when the loop gets to it: another that ends in this turn must not see it
                self._tasks.discard(me)
                return
            self._widen()
            if not self._width.is_short:
                continue
            if self._has_price and self._pace.receive_linger_s > 0:
                await self._pauses.rest(self._pace.receive_linger_s)
            else:
                await asyncio.sleep(0)  # what was started begins now, not once the next request has been made

    async def _receive(self, count: int) -> list[Delivery]:
        features = self._broker.features
        receiving = self._broker.receive(self._queue, count, wait_s=self._wait_s, lease_s=self._pace.lease_s)
        if not features.cancels_receive and ARMED is None:
            return await receiving  # a task of its own is needed to cancel it, or to look at it on its way
        receive = asyncio.get_running_loop().create_task(receiving)
        self._receives.add(receive)
        try:
            if ARMED is not None:
                await asyncio.sleep(0)  # the receive is under way then
                ARMED.reach(Point.POLLING)
            return await receive
        except asyncio.CancelledError:
            if self._stopping.is_set() and receive.cancelled():
                return []
            raise
        finally:
            self._receives.discard(receive)

    async def _demand(self) -> int:
        """How many to ask for, as soon as there is room; 0 at the end."""
        while not self._stopping.is_set():
            free, soon_free = self._room()
            count = batch_size(free, soon_free, self._pace.capacity, self._max_batch, has_waited=self._is_patience_over)
            if count:
                self._end_patience()
                return count
            self._is_patience_over = False  # it was, and there is no room all the same
            if free > 0:
                self._be_patient()
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
            self._woken -= 1
        return 0

    def _wake(self) -> None:
        """Let one poller look again."""
        self._woken += 1
        self._waiters.popleft().set_result(None)

    def _room(self) -> tuple[int, int]:
        """Places that nobody has or has asked for, now, and a little after the answer to a receive is there."""
        free, soon_free = self._capacity.room(self._took_s + self._pause_s / 2)
        return free - self._asked, soon_free - self._asked

    def _be_patient(self) -> None:
        """Wait a little for a whole batch of room; then ask for what there is."""
        if self._patience is None and not self._is_patience_over:
            self._patience = asyncio.get_running_loop().call_later(self._pause_s, self._lose_patience)

    def _lose_patience(self) -> None:
        self._patience = None
        self._is_patience_over = True
        if self._waiters:
            self._wake()

    def _end_patience(self) -> None:
        self._is_patience_over = False
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
