"""What one channel has handed out of one queue and not heard back about: the receipts, and the acknowledgements.

Deliveries are numbered from 1 a channel. One that nobody has asked for yet is in the *buffer*; one that was handed out
is *held*. Acknowledgements are gathered: one frame ends the whole prefix without a gap, single frames what lies beyond.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from pamqp import commands

from mulligan.brokers.rabbitmq.channel import Channel
from mulligan.brokers.rabbitmq.error import ChannelClosed
from mulligan.brokers.rabbitmq.frame import acks, nacks

__all__ = ["Taken", "Window"]

ACK_EVERY_S = 0.05
ACK_MAX = 32
BUFFER_MAX_BYTES = 64 << 20
"""Beyond it the connection is not read, until half of it is handed out or given back."""
RELEASED_MAX = 10_000

Taken = tuple[int, bytes, bytes]
"""A delivery: its number, the payload of its header, its body."""


class Window:
    """The deliveries of one channel. generation: names the channel in receipts, different for each in the world.

    woke: called when something has come or the channel has closed.
    """

    def __init__(self, channel: Channel, queue: str, generation: str, woke: Callable[[], None]) -> None:
        self.channel = channel
        self.generation = generation
        self.limit = 0
        """Deliveries that the broker gives before it hears back, over all consumers."""
        self.is_told = False
        self._queue = queue
        self._woke = woke
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
        """Why it is over; None while it is not."""
        return self.channel.closed

    @property
    def ready(self) -> int:
        """Deliveries in the buffer."""
        return len(self._buffer)

    @property
    def held(self) -> int:
        """Deliveries that were handed out."""
        return len(self._open) - len(self._buffer)

    @property
    def is_full(self) -> bool:
        """The broker gives nothing before it hears back."""
        return len(self._open) >= self.limit

    @property
    def is_consuming(self) -> bool:
        """The broker sends by itself."""
        return bool(self._consumers)

    # -- in

    async def consume(self, count: int) -> None:
        """Have the broker send up to `count` deliveries more. Raises ChannelClosed."""
        count = min(count, 65_535)
        await self.channel.call(commands.Basic.Qos(0, count, False))
        # no tag comes back: before 3.10.9 the broker crashes a channel on which one does while its messages are in
        # flight (rabbitmq-server issue 5927)
        tag = f"{self.generation}.{self._consumers_count}"
        self._consumers_count += 1
        await self.channel.call(commands.Basic.Consume(0, self._queue, tag))
        self._consumers.append(tag)
        self.limit += count

    async def get(self, count: int) -> None:
        """Ask for up to `count` messages, one by one, into the buffer. Raises ChannelClosed."""
        for _ in range(count):
            found = await self.channel.call(commands.Basic.Get(0, self._queue))
            if not isinstance(found, tuple):
                return
            number, header, body, _key, _left = found
            self._arrived(number, header, body)

    def take(self, count: int) -> list[Taken]:
        """Hand out up to `count` deliveries of the buffer."""
        buffer, opened = self._buffer, self._open
        taken: list[Taken] = []
        for _ in range(min(count, len(buffer))):
            number = buffer.popleft()
            header, body = opened[number]
            self._buffer_bytes -= len(body)
            taken.append((number, header, body))
        self._read_again()
        return taken

    async def rest(self, may_release: Callable[[bytes], bool]) -> None:
        """Have nothing sent any more, and give back what nobody has asked for and may_release lets go."""
        self.channel.connection.read(is_wanted=True)
        consumers, self._consumers, self.limit = self._consumers, [], 0
        for tag in consumers:
            await self.channel.call(commands.Basic.Cancel(tag))
        going = [number for number in self._buffer if may_release(self._open[number][0])]
        self._buffer_bytes -= sum(len(self._open[number][1]) for number in going)
        gone = set(going)
        self._buffer = deque(number for number in self._buffer if number not in gone)
        self.release(going)

    # -- out

    def content(self, number: int) -> tuple[bytes, bytes] | None:
        """Header and body of a delivery that is held; None when it is not."""
        return self._open.get(number)

    def ack(self, numbers: Iterable[int]) -> list[bool]:
        """Acknowledge soon. False for what was given back; what is acknowledged already is True."""
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
        """Give back at once. False for what is not held."""
        numbers = list(numbers)
        found = [self._open.pop(number, None) is not None for number in numbers]
        going = [number for number, is_held in zip(numbers, found, strict=True) if is_held]
        if going:
            self._released.update(dict.fromkeys(going))
            while len(self._released) > RELEASED_MAX:
                del self._released[next(iter(self._released))]
            self.channel.write(nacks(self.channel.number, going))
        return found

    def flush(self) -> None:
        """Send the acknowledgements."""
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

    def take_all(self) -> list[int]:
        """Acknowledge everything that is held or in the buffer, as if it had never come."""
        numbers = list(self._open)
        self._buffer.clear()
        self._buffer_bytes = 0
        self.ack(numbers)
        self.flush()
        self._read_again()
        return numbers

    # -- told by the channel

    def _arrived(self, number: int, header: bytes, body: bytes) -> None:
        self._open[number] = header, body
        self._order.append(number)
        self._buffer.append(number)
        self._buffer_bytes += len(body)
        if self._buffer_bytes > BUFFER_MAX_BYTES:
            self.channel.connection.read(is_wanted=False)
        if len(self._buffer) == 1:
            self._woke()

    def _read_again(self) -> None:
        if self._buffer_bytes < BUFFER_MAX_BYTES // 2:
            self.channel.connection.read(is_wanted=True)

    def _cancelled(self, _: str) -> None:
        self.channel.shut(ChannelClosed(0, "it has cancelled the consumer: the queue was deleted or has moved"))

    def _closed(self, _: ChannelClosed) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._open.clear()
        self._order.clear()
        self._buffer.clear()
        self._acked.clear()
        self._woke()
