"""Publishing with confirms: messages out, one result a message, in order, however the broker answers.

A message counts as there when the broker has confirmed it and has not returned it: a confirm alone also comes for one
that no queue took.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from pamqp import commands

from mulligan.brokers.rabbitmq.channel import Channel, Returned
from mulligan.brokers.rabbitmq.connection import Connection
from mulligan.brokers.rabbitmq.error import ChannelClosed, ConnectionLost, broker_error
from mulligan.brokers.rabbitmq.frame import publication, publish_head
from mulligan.brokers.rabbitmq.topology import Place
from mulligan.core.delivery import EntryFault, Fault
from mulligan.core.error import BrokerRefused, BrokerUnavailable
from mulligan.core.value import value

__all__ = ["Letter", "Publisher"]

CONFIRM_S = 30.0
CHUNK_BYTES = 262_144
"""Written before the connection is asked whether it can take more."""
_HEADS_MAX = 256

Results = list[EntryFault | None]


@value
class Letter:
    """One message to publish: where to, the payload of its header, its body."""

    place: Place
    header: bytes
    body: bytes


class _Batch:
    """Letters that are waited for together."""

    __slots__ = ("done", "left", "results")

    def __init__(self, count: int) -> None:
        self.results: Results = [_UNANSWERED] * count
        self.left = count
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


_UNANSWERED = EntryFault(Fault.RETRY, "the broker did not confirm it")


class Publisher:
    """The confirm channel of one process. connect: gives the connection for publishing, a new one when it was lost."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._connect = connect
        self._opening = asyncio.Lock()
        self._careful = asyncio.Lock()
        self._line: _Line | None = None

    async def payload_max_bytes(self) -> int:
        """Of one frame, as agreed with the server. Raises ChannelClosed."""
        return (await self._connect()).payload_max_bytes

    async def publish(self, where: str, letters: Sequence[Letter]) -> Results:
        """Send all, wait for their confirms. where: the queue's name, for texts.

        Raises BrokerUnavailable or BrokerRefused when that is the answer to all of them.
        """
        if not letters:
            return []
        try:
            line = await self._ready()
            results, why = await line.send(letters)
        except ChannelClosed as exc:
            raise broker_error(where, exc) from None
        if why is None:
            return results
        if why.code == 0 or isinstance(why, ConnectionLost):
            error = broker_error(where, why)
            if all(result is _UNANSWERED for result in results):
                raise error
            return [EntryFault(Fault.RETRY, str(error)) if one is _UNANSWERED else one for one in results]
        # the server closed the channel because of one message, and doesn't say of which, or of whose
        return await self._one_by_one(where, letters, results)

    async def _one_by_one(self, where: str, letters: Sequence[Letter], results: Results) -> Results:
        refused: BrokerRefused | None = None
        async with self._careful:
            line: _Line | None = None
            for at, letter in enumerate(letters):
                if results[at] is not _UNANSWERED:
                    continue
                try:
                    if line is None or line.channel.closed is not None:
                        line = await self._open()
                    (result,), why = await line.send([letter])
                except ChannelClosed as exc:
                    result, why = _UNANSWERED, exc
                if why is not None:
                    error = broker_error(where, why)
                    if isinstance(error, BrokerUnavailable):
                        result = EntryFault(Fault.RETRY, str(error))
                    else:
                        refused = refused or BrokerRefused(str(error))
                        result = EntryFault(Fault.REFUSED, str(error))
                results[at] = result
            if line is not None:
                line.channel.shut()
        if refused is not None and all(one is not None and one.fault is Fault.REFUSED for one in results):
            raise refused
        return results

    async def _ready(self) -> "_Line":
        async with self._opening:
            if self._line is None or self._line.channel.closed is not None:
                self._line = await self._open()
            blocked = self._line.channel.connection.blocked
            if blocked is not None:
                raise ChannelClosed(0, f"it takes no messages until an alarm ends: {blocked}")
            return self._line

    async def _open(self) -> "_Line":
        channel = await (await self._connect()).channel()
        await channel.call(commands.Confirm.Select())
        return _Line(channel)


class _Line:
    """One channel in confirm mode, and what is on its way on it."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        channel.on_confirm = self._confirmed
        channel.on_return = self._returned
        channel.on_close = self._closed
        self._next = 1
        self._lowest = 1
        self._open: dict[int, tuple[_Batch, int, Place]] = {}
        self._heads: dict[Place, bytes] = {}

    async def send(self, letters: Sequence[Letter]) -> tuple[Results, ChannelClosed | None]:
        """The results, and why those that are still unanswered are."""
        batch = _Batch(len(letters))
        connection, number = self.channel.connection, self.channel.number
        limit = connection.payload_max_bytes
        at = 0
        while at < len(letters) and self.channel.closed is None:
            frames: list[bytes] = []
            size = 0
            while at < len(letters) and size < CHUNK_BYTES:
                letter = letters[at]
                # numbered and written without a wait between: the server counts what arrives
                self._open[self._next] = (batch, at, letter.place)
                self._next += 1
                frames += publication(number, self._head(letter.place), letter.header, letter.body, limit)
                size += len(letter.body) + len(letter.header)
                at += 1
            self.channel.write(b"".join(frames))
            await connection.writable()
        if self.channel.closed is None:
            try:
                async with asyncio.timeout(CONFIRM_S):
                    await batch.done
            except TimeoutError:
                why = ChannelClosed(0, f"not confirmed within {CONFIRM_S:g} s ({connection.blocked or 'no alarm'})")
                self.channel.shut()
                return batch.results, why
        return batch.results, self.channel.closed if batch.left else None

    def _head(self, place: Place) -> bytes:
        head = self._heads.get(place)
        if head is None:
            if len(self._heads) >= _HEADS_MAX:
                self._heads.clear()
            head = self._heads[place] = publish_head(self.channel.number, place.exchange, place.key)
        return head

    def _confirmed(self, tag: int, is_multiple: bool, is_nack: bool) -> None:
        first = self._lowest if is_multiple else tag
        if is_multiple:
            self._lowest = tag + 1
        result = (
            EntryFault(Fault.RETRY, "the queue is full, or has no leader: the broker took it not") if is_nack else None
        )
        for number in range(first, tag + 1):
            found = self._open.pop(number, None)
            if found is None:
                continue
            batch, at, _ = found
            if batch.results[at] is _UNANSWERED:
                batch.results[at] = result
            batch.left -= 1
            if not batch.left and not batch.done.done():
                batch.done.set_result(None)

    def _returned(self, told: Returned) -> None:
        """No queue took a message for this place: so it is with all that are on their way there."""
        _, text, exchange, key = told
        place = Place(exchange, key)
        fault = EntryFault(
            Fault.REFUSED,
            f"exchange {exchange!r} has no queue for the key {key!r} ({text}): the queue or its binding is gone. "
            f"`mulligan setup` makes what is missing.",
        )
        for batch, at, to in self._open.values():
            if to == place:
                batch.results[at] = fault

    def _closed(self, _: ChannelClosed) -> None:
        for batch, _at, _place in self._open.values():
            if not batch.done.done():
                batch.done.set_result(None)
        self._open.clear()
