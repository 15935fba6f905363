"""Receives of one queue, from a buffer that the broker fills ahead while the worker keeps up with it.

Messages in the buffer are hidden from every other worker. So they are returned when a receive is cancelled, which is
how a worker stops, and when there was no receive for a while: a worker with long tasks then fetches no more than it can
start.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from mulligan.brokers.rabbitmq import codec
from mulligan.brokers.rabbitmq.amqp.channel import Channel
from mulligan.brokers.rabbitmq.amqp.error import ChannelClosed
from mulligan.brokers.rabbitmq.error import broker_error
from mulligan.brokers.rabbitmq.window import Taken, Window
from mulligan.core.delivery import EntryFault, Fault
from mulligan.core.error import BrokerRefused
from mulligan.core.message import QueueName

__all__ = ["Fetcher"]

AHEAD_MIN, AHEAD_MAX = 20, 300
IDLE_S = 10.0
GRACE_S = 0.2
"""The least wait of a receive with a consumer, so that messages on the queue have the time to arrive."""
RECEIVE_COUNT_HIGH = 100
"""A message received this often is not returned just because there was no receive: the delivery limit is 1,000."""


class Fetcher:
    """All receives and settlements of one queue in one process.

    open_channel: opens a channel of the connection for consuming. new_generation: makes a name for each channel.
    """

    def __init__(
        self, queue: QueueName, open_channel: Callable[[], Awaitable[Channel]], new_generation: Callable[[], str]
    ) -> None:
        self._queue = queue
        self._open_channel = open_channel
        self._new_generation = new_generation
        self._window: Window | None = None
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._receiving = 0
        self._is_slow = False
        self._idle: asyncio.TimerHandle | None = None
        self._stopping: set[asyncio.Task[None]] = set()
        self._is_closing = False

    @property
    def held(self) -> int:
        """Messages that receives returned and that are not settled."""
        return 0 if self._window is None else self._window.held

    @property
    def ready(self) -> int:
        """Messages in the buffer."""
        return 0 if self._window is None else self._window.ready

    async def receive(self, max_count: int, wait_s: float) -> tuple[str, list[Taken]]:
        """The channel's generation, and up to max_count deliveries. Raises BrokerUnavailable, BrokerRefused."""
        self._receiving += 1
        self._stop_idle_timer()
        try:
            return await self._receive(max_count, wait_s)
        except ChannelClosed as exc:
            if self._is_closing:
                return "", []
            raise broker_error(self._queue, exc) from None
        except asyncio.CancelledError:
            if self._receiving == 1:
                self._stop_prefetch_soon(lambda _: True)
            raise
        finally:
            self._receiving -= 1
            self._start_idle_timer()

    async def stop_prefetch(self) -> None:
        """Return the messages in the buffer, unless a receive is waiting."""
        window = self._window
        if window is not None and window.closed is None and not self._receiving:
            await self._stop_prefetch(window, lambda _: True)

    def ack(self, receipts: Sequence[str]) -> list[EntryFault | None]:
        """Acknowledge. LEASE_LOST for a delivery of another channel, or one that was released."""
        window, numbers = self._numbers(receipts)
        if window is None:
            return [_lost(receipt) for receipt in receipts]
        known = iter(window.ack([number for number in numbers if number]))
        return [
            None if number and next(known) else _lost(receipt)
            for number, receipt in zip(numbers, receipts, strict=True)
        ]

    async def release(self, receipts: Sequence[str]) -> list[EntryFault | None]:
        """Return to the queue now. LEASE_LOST for a delivery that is not held here."""
        window, numbers = self._numbers(receipts)
        if window is None:
            return [_lost(receipt) for receipt in receipts]
        if window.is_consuming and not self._receiving:
            # otherwise the broker would send it here again, where no receive waits
            await self._stop_prefetch(window, lambda _: True)
        found = iter(window.release([number for number in numbers if number]))
        return [
            None if number and next(found) else _lost(receipt)
            for number, receipt in zip(numbers, receipts, strict=True)
        ]

    def content(self, receipt: str) -> tuple[bytes, bytes] | None:
        """Header and body of a delivery that is held here; None when it is not."""
        window, (number,) = self._numbers([receipt])
        return window.content(number) if window is not None and number else None

    def flush(self) -> None:
        """Send the acknowledgements that are waiting."""
        if self._window is not None and self._window.closed is None:
            self._window.flush()

    def ack_all(self) -> None:
        """Acknowledge everything that is held or in the buffer: the queue is purged."""
        if self._window is not None and self._window.closed is None:
            self._window.ack_all()

    def stop(self) -> None:
        """Let waiting receives return [], and send the acknowledgements."""
        self._is_closing = True
        self._stop_idle_timer()
        self.flush()
        self._changed.set()

    async def close(self) -> None:
        """End the background work. Call `stop` first."""
        for task in list(self._stopping):
            task.cancel()
        if self._stopping:
            await asyncio.wait(self._stopping)

    # -- inside

    async def _receive(self, max_count: int, wait_s: float) -> tuple[str, list[Taken]]:
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        window = await self._ready()
        if not window.ready:
            window.flush()
            if wait_s <= 0 and not window.is_consuming:
                async with self._turn:
                    await window.get(max_count)
            else:
                await self._consume(window, max_count)
                until = max(until, loop.time() + GRACE_S)
        while not window.ready and not self._is_closing:
            left_s = until - loop.time()
            if left_s <= 0:
                return "", []
            self._changed.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._changed.wait()
            except TimeoutError:
                continue
            if window.closed is not None:
                window.is_reported = True
                raise window.closed
            if not window.ready:
                await self._consume(window, max_count)  # another receive may have taken it, or ended the prefetch
        if self._is_closing:
            return "", []
        return window.generation, window.take(max_count)

    async def _ready(self) -> Window:
        async with self._turn:
            window = self._window
            if window is not None and window.closed is not None and not window.is_reported:
                window.is_reported = True
                raise window.closed
            if window is None or window.closed is not None:
                channel = await self._open_channel()
                window = Window(channel, self._queue, self._new_generation(), self._changed.set)
                self._window = window
            return window

    async def _consume(self, window: Window, max_count: int) -> None:
        """Make sure that there is a consumer, and that its prefetch is more than what is held."""
        async with self._turn:
            if window.closed is not None:
                window.is_reported = True
                raise window.closed
            if not window.is_consuming:
                ahead = min(max(3 * max_count, AHEAD_MIN), AHEAD_MAX)
                await window.consume(max_count if self._is_slow else ahead)
            while window.is_full and not window.ready:
                await window.consume(max(window.limit, AHEAD_MIN))

    def _start_idle_timer(self) -> None:
        if self._receiving == 0 and self._idle is None and not self._is_closing and self._window is not None:
            self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._on_idle)

    def _stop_idle_timer(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _on_idle(self) -> None:
        self._idle = None
        window = self._window
        if window is None or window.closed is not None or not window.is_consuming:
            return
        if window.ready:
            self._is_slow = True
            self._stop_prefetch_soon(_is_fresh)
        else:
            self._start_idle_timer()

    def _stop_prefetch_soon(self, may_release: Callable[[bytes], bool]) -> None:
        window = self._window
        if window is None or window.closed is not None or self._is_closing:
            return
        task = asyncio.get_running_loop().create_task(self._stop_prefetch(window, may_release))
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    async def _stop_prefetch(self, window: Window, may_release: Callable[[bytes], bool]) -> None:
        async with self._turn:
            if self._receiving:
                return
            try:
                await window.stop_prefetch(may_release)
            except ChannelClosed:
                return  # its messages are on the queue again already

    def _numbers(self, receipts: Sequence[str]) -> tuple[Window | None, list[int]]:
        """The window if it is open, and a number per receipt; 0 for a receipt of another channel."""
        window = self._window
        generation = "" if window is None else window.generation
        numbers = []
        for receipt in receipts:
            given, _, number = receipt.rpartition(":")
            if not given or not number.isdecimal():
                raise BrokerRefused(f"{self._queue}: {receipt!r} is not a receipt of this broker.")
            numbers.append(int(number) if given == generation else 0)
        return (None if window is None or window.closed is not None else window), numbers


def _is_fresh(header: bytes) -> bool:
    return codec.receive_count(header) < RECEIVE_COUNT_HIGH


def _lost(receipt: str) -> EntryFault:
    return EntryFault(Fault.LEASE_LOST, f"receipt {receipt}: its channel is closed, or the message was released")
