"""The deliveries of one queue that one channel has not settled, and their acknowledgements.

Deliveries are numbered from 1 per channel. One that no receive has taken yet is in the *buffer*; one that was taken is
*held*. Acknowledgements are batched: one frame for the prefix without a gap, one frame for each number beyond it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from pamqp import commands

from mulligan.brokers.rabbitmq.amqp.channel import Channel
from mulligan.brokers.rabbitmq.amqp.error import ChannelClosed
from mulligan.brokers.rabbitmq.amqp.frame import acks, nacks

__all__ = ["Taken", "Window"]

ACK_EVERY_S = 0.05
ACK_MAX = 32
BUFFER_MAX_BYTES = 64 << 20
"""Above it the connection is not read, until the buffer is below half of it."""
RELEASED_MAX = 10_000

Taken = tuple[int, bytes, bytes]
"""A delivery: its number, the payload of its header, its body."""


class Window:
    """The deliveries of one channel. generation: the channel's name in receipts, unique among all processes.

    on_ready: called when the buffer is no longer empty, or the channel has closed.
    """

    def __init__(self, channel: Channel, queue: str, generation: str, on_ready: Callable[[], None]) -> None:
        self.channel = channel
        self.generation = generation
        self.limit = 0
        """The prefetch of all consumers together: deliveries that the broker sends without an acknowledgement."""
        self.is_reported = False
        """A receive has raised `closed`."""
        self._queue = queue
        self._on_ready = on_ready
        self._loop = asyncio.get_running_loop()
        self._consumers: list[str] = []
        self._consumers_count = 0
        self._open: dict[int, tuple[bytes, bytes]] = {}
        self._order: deque[int] = deque()
        self._buffer: deque[int] = deque()
        self._buffer_bytes = 0
        self._acked: list[int] = []
        self._released: dict[int, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        channel.on_message = self._arrived
        channel.on_cancel = self._cancelled
        channel.on_close = self._closed

    @property
    def closed(self) -> ChannelClosed | None:
        """Why the channel is closed; None while it is open."""
        return self.channel.closed

    @property
    def ready(self) -> int:
        """Deliveries in the buffer."""
        return len(self._buffer)

    @property
    def held(self) -> int:
        """Deliveries that a receive has taken."""
        return len(self._open) - len(self._buffer)

    @property
    def is_full(self) -> bool:
        """The broker sends nothing before an acknowledgement."""
        return len(self._open) >= self.limit

    @property
    def is_consuming(self) -> bool:
        """There is a consumer: the broker sends without being asked."""
        return bool(self._consumers)

    # -- in

    async def consume(self, count: int) -> None:
        """Add a consumer with a prefetch of `count`. Raises ChannelClosed."""
        count = min(count, 65_535)
        await self.channel.call(commands.Basic.Qos(0, count, False))
        # a tag is never used twice: before 3.10.9 the broker crashes the channel when one is, while messages of it are
        # in flight (rabbitmq-server issue 5927)
        tag = f"{self.generation}.{self._consumers_count}"
        self._consumers_count += 1
        await self.channel.call(commands.Basic.Consume(0, self._queue, tag))
        self._consumers.append(tag)
        self.limit += count

    async def get(self, count: int) -> None:
        """Fetch up to `count` messages into the buffer, one call per message. Raises ChannelClosed."""
        for _ in range(count):
            found = await self.channel.call(commands.Basic.Get(0, self._queue))
            if not isinstance(found, tuple):
                return
            number, header, body, _key, _left = found
            self._arrived(number, header, body)

    def take(self, count: int) -> list[Taken]:
        """Take up to `count` deliveries out of the buffer."""
        buffer, opened = self._buffer, self._open
        taken: list[Taken] = []
        for _ in range(min(count, len(buffer))):
            number = buffer.popleft()
            header, body = opened[number]
            self._buffer_bytes -= len(body)
            taken.append((number, header, body))
        self._resume_reading()
        return taken

    async def stop_prefetch(self, may_release: Callable[[bytes], bool]) -> None:
        """Cancel all consumers, and return what is in the buffer. Raises ChannelClosed.

        may_release: given the header's payload, False for a message that stays in the buffer.
        """
        self.channel.connection.read(is_wanted=True)
        consumers, self._consumers, self.limit = self._consumers, [], 0
        for tag in consumers:
            await self.channel.call(commands.Basic.Cancel(tag))
        returned = [number for number in self._buffer if may_release(self._open[number][0])]
        self._buffer_bytes -= sum(len(self._open[number][1]) for number in returned)
        gone = set(returned)
        self._buffer = deque(number for number in self._buffer if number not in gone)
        self.release(returned)

    # -- out

    def content(self, number: int) -> tuple[bytes, bytes] | None:
        """Header and body of a delivery; None when it was settled."""
        return self._open.get(number)

    def ack(self, numbers: Iterable[int]) -> list[bool]:
        """Acknowledge within ACK_EVERY_S. False for what was released; True also for what was acknowledged before."""
        answers = []
        for number in numbers:
            if self._open.pop(number, None) is not None:
                self._acked.append(number)
                answers.append(True)
            else:
                answers.append(number not in self._released)
        if len(self._acked) >= min(ACK_MAX, max(1, self.limit // 4)):
            self.flush()
        elif self._acked and self._timer is None:
            self._timer = self._loop.call_later(ACK_EVERY_S, self.flush)
        return answers

    def release(self, numbers: Iterable[int]) -> list[bool]:
        """Return to the queue now. False for what was settled before."""
        numbers = list(numbers)
        found = [self._open.pop(number, None) is not None for number in numbers]
        returned = [number for number, is_held in zip(numbers, found, strict=True) if is_held]
        if returned:
            self._released.update(dict.fromkeys(returned))
            while len(self._released) > RELEASED_MAX:
                del self._released[next(iter(self._released))]
            self.channel.write(nacks(self.channel.number, returned))
        return found

    def flush(self) -> None:
        """Send the acknowledgements that are waiting."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._acked:
            return
        acked, self._acked = sorted(self._acked), []
        order, opened = self._order, self._open
        while order and order[0] not in opened:
            order.popleft()
        lowest = order[0] if order else acked[-1] + 1
        beyond = [number for number in acked if number > lowest]
        prefix = len(acked) - len(beyond)
        self.channel.write(acks(self.channel.number, beyond, acked[prefix - 1] if prefix else None))

    def ack_all(self) -> None:
        """Acknowledge everything that is held or in the buffer."""
        numbers = list(self._open)
        self._buffer.clear()
        self._buffer_bytes = 0
        self.ack(numbers)
        self.flush()
        self._resume_reading()

    # -- callbacks of the channel

    def _arrived(self, number: int, header: bytes, body: bytes) -> None:
        self._open[number] = header, body
        self._order.append(number)
        self._buffer.append(number)
        self._buffer_bytes += len(body)
        if self._buffer_bytes > BUFFER_MAX_BYTES:
            self.channel.connection.read(is_wanted=False)
        if len(self._buffer) == 1:
            self._on_ready()

    def _resume_reading(self) -> None:
        if self._buffer_bytes < BUFFER_MAX_BYTES // 2:
            self.channel.connection.read(is_wanted=True)

    def _cancelled(self, _: str) -> None:
        self.channel.close_nowait(ChannelClosed(0, "it has cancelled the consumer: the queue was deleted or has moved"))

    def _closed(self, _: ChannelClosed) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._open.clear()
        self._order.clear()
        self._buffer.clear()
        self._acked.clear()
        self._on_ready()
