"""Receives of one queue: from a buffer that the broker fills ahead, as far as the worker is quick enough for it.

What waits in the buffer is hidden from every other worker. So it goes back when a receive is cancelled, which is how a
worker stops, and when nobody has asked for a while: a worker with long tasks then gets no more than it can start.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from mulligan.brokers.rabbitmq import content
from mulligan.brokers.rabbitmq.channel import Channel
from mulligan.brokers.rabbitmq.error import ChannelClosed, broker_error
from mulligan.brokers.rabbitmq.window import Taken, Window
from mulligan.core.delivery import EntryFault, Fault
from mulligan.core.error import BrokerRefused
from mulligan.core.message import QueueName

__all__ = ["Fetcher"]

AHEAD_MIN, AHEAD_MAX = 20, 300
IDLE_S = 10.0
GRACE_S = 0.2
"""A receive that doesn't wait still gives a consumer the time to bring what is there."""
TIRED = 100
"""A message that came so often is not sent round any more only because nobody asked: the broker counts to 1,000."""


class Fetcher:
    """All receives and settlements of one queue in one process.

    open_channel: gives a new channel of the connection for consuming. new_generation: names each channel.
    """

    def __init__(
        self, queue: QueueName, open_channel: Callable[[], Awaitable[Channel]], new_generation: Callable[[], str]
    ) -> None:
        self._queue = queue
        self._open_channel = open_channel
        self._new_generation = new_generation
        self._window: Window | None = None
        self._turn = asyncio.Lock()
        self._arrival = asyncio.Event()
        self._asking = 0
        self._is_slow = False
        self._idle: asyncio.TimerHandle | None = None
        self._resting: set[asyncio.Task[None]] = set()
        self._is_closing = False

    @property
    def held(self) -> int:
        """Messages that were handed out and are not settled."""
        return 0 if self._window is None else self._window.held

    @property
    def ready(self) -> int:
        """Messages that were fetched ahead."""
        return 0 if self._window is None else self._window.ready

    async def receive(self, max_count: int, wait_s: float) -> tuple[str, list[Taken]]:
        """The generation, and up to max_count deliveries. Raises BrokerUnavailable, BrokerRefused."""
        self._asking += 1
        self._stop_idling()
        try:
            return await self._receive(max_count, wait_s)
        except ChannelClosed as exc:
            if self._is_closing:
                return "", []
            raise broker_error(self._queue, exc) from None
        except asyncio.CancelledError:
            if self._asking == 1:
                self._rest(lambda _: True)
            raise
        finally:
            self._asking -= 1
            self._idle_from_now()

    async def rest(self) -> None:
        """Give back what was fetched ahead, unless somebody asks for it."""
        window = self._window
        if window is not None and window.closed is None and not self._asking:
            await self._let_rest(window, lambda _: True)

    def ack(self, receipts: Sequence[str]) -> list[EntryFault | None]:
        """Acknowledge. LEASE_LOST for what is another channel's, or was given back."""
        window, numbers = self._ours(receipts)
        if window is None:
            return [_lost(receipt) for receipt in receipts]
        known = iter(window.ack([number for number in numbers if number]))
        return [
            None if number and next(known) else _lost(receipt)
            for number, receipt in zip(numbers, receipts, strict=True)
        ]

    async def release(self, receipts: Sequence[str]) -> list[EntryFault | None]:
        """Give back at once. LEASE_LOST for what is not held here."""
        window, numbers = self._ours(receipts)
        if window is None:
            return [_lost(receipt) for receipt in receipts]
        if window.is_consuming and not self._asking:
            # else the broker would send it here again, where nobody waits for it
            await self._let_rest(window, lambda _: True)
        found = iter(window.release([number for number in numbers if number]))
        return [
            None if number and next(found) else _lost(receipt)
            for number, receipt in zip(numbers, receipts, strict=True)
        ]

    def content(self, receipt: str) -> tuple[bytes, bytes] | None:
        """Header and body of a message that is held; None when it is not."""
        window, (number,) = self._ours([receipt])
        return window.content(number) if window is not None and number else None

    def flush(self) -> None:
        """Send the acknowledgements that wait for company."""
        if self._window is not None and self._window.closed is None:
            self._window.flush()

    def forget_all(self) -> None:
        """Acknowledge whatever is held or fetched ahead: the queue is purged."""
        if self._window is not None and self._window.closed is None:
            self._window.take_all()

    def stop(self) -> None:
        """Receives that wait return []; acknowledgements go out."""
        self._is_closing = True
        self._stop_idling()
        self.flush()
        self._arrival.set()

    async def close(self) -> None:
        """Wait for what is under way. After `stop`."""
        for task in list(self._resting):
            task.cancel()
        if self._resting:
            await asyncio.wait(self._resting)

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
            self._arrival.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._arrival.wait()
            except TimeoutError:
                continue
            if window.closed is not None:
                window.is_told = True
                raise window.closed
            if not window.ready:
                await self._consume(window, max_count)  # another receive may have taken it, or have rested
        if self._is_closing:
            return "", []
        return window.generation, window.take(max_count)

    async def _ready(self) -> Window:
        async with self._turn:
            window = self._window
            if window is not None and window.closed is not None and not window.is_told:
                window.is_told = True
                raise window.closed
            if window is None or window.closed is not None:
                channel = await self._open_channel()
                window = Window(channel, self._queue, self._new_generation(), self._arrival.set)
                self._window = window
            return window

    async def _consume(self, window: Window, max_count: int) -> None:
        """See to it that the broker sends, and that what is held is not all that it sends."""
        async with self._turn:
            if window.closed is not None:
                window.is_told = True
                raise window.closed
            if not window.is_consuming:
                ahead = min(max(3 * max_count, AHEAD_MIN), AHEAD_MAX)
                await window.consume(max_count if self._is_slow else ahead)
            while window.is_full and not window.ready:
                await window.consume(max(window.limit, AHEAD_MIN))

    def _idle_from_now(self) -> None:
        if self._asking == 0 and self._idle is None and not self._is_closing and self._window is not None:
            self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._idled)

    def _stop_idling(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _idled(self) -> None:
        self._idle = None
        window = self._window
        if window is None or window.closed is not None or not window.is_consuming:
            return
        if window.ready:
            self._is_slow = True
            self._rest(_is_fresh)
        else:
            self._idle_from_now()

    def _rest(self, may_release: Callable[[bytes], bool]) -> None:
        window = self._window
        if window is None or window.closed is not None or self._is_closing:
            return
        task = asyncio.get_running_loop().create_task(self._let_rest(window, may_release))
        self._resting.add(task)
        task.add_done_callback(self._resting.discard)

    async def _let_rest(self, window: Window, may_release: Callable[[bytes], bool]) -> None:
        async with self._turn:
            if self._asking:
                return
            try:
                await window.rest(may_release)
            except ChannelClosed:
                return  # whatever it held is back already

    def _ours(self, receipts: Sequence[str]) -> tuple[Window | None, list[int]]:
        """The window if it is open, and the numbers of the receipts that are of it; 0 for those of others."""
        window = self._window
        generation = "" if window is None else window.generation
        numbers = []
        for receipt in receipts:
            given, _, number = receipt.rpartition(":")
            if not given or not number.isdecimal():
                raise BrokerRefused(f"{self._queue}: {receipt!r} is no receipt of this broker.")
            numbers.append(int(number) if given == generation else 0)
        return (None if window is None or window.closed is not None else window), numbers


def _is_fresh(header: bytes) -> bool:
    return content.receive_count(header) < TIRED


def _lost(receipt: str) -> EntryFault:
    return EntryFault(Fault.LEASE_LOST, f"receipt {receipt}: its channel is closed, or the message was given back")
