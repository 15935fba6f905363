"""Publishing with confirms: one result per message, in order, however the broker answers.

A message is on its queue when the broker has confirmed it and has not returned it: a message that no queue took is
confirmed as well.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from pamqp import commands

from mulligan.brokers.rabbitmq.amqp.channel import Channel, Returned
from mulligan.brokers.rabbitmq.amqp.error import ChannelClosed, ConnectionLost
from mulligan.brokers.rabbitmq.amqp.frame import publish_frames, publish_head
from mulligan.brokers.rabbitmq.error import broker_error
from mulligan.brokers.rabbitmq.topology import Place
from mulligan.core.delivery import EntryFault, Fault
from mulligan.core.error import BrokerRefused, BrokerUnavailable
from mulligan.core.value import value

__all__ = ["Publication", "Publisher"]

CONFIRM_S = 30.0
CHUNK_BYTES = 262_144
"""Written before waiting until the connection can take more."""
_HEADS_MAX = 256

Results = list[EntryFault | None]


@value
class Publication:
    """One message to publish: its place, the payload of its header frame, its body."""

    place: Place
    header: bytes
    body: bytes


class _Batch:
    """Publications whose confirms are awaited together."""

    __slots__ = ("done", "left", "results")

    def __init__(self, count: int) -> None:
        self.results: Results = [_UNANSWERED] * count
        self.left = count
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


_UNANSWERED = EntryFault(Fault.RETRY, "the broker did not confirm it")


class Publisher:
    """Publishes on one confirm channel. open_channel: opens a channel of the connection for publishing."""

    def __init__(self, open_channel: Callable[[], Awaitable[Channel]]) -> None:
        self._open_channel = open_channel
        self._opening = asyncio.Lock()
        self._singly = asyncio.Lock()
        self._confirms: _ConfirmChannel | None = None

    async def publish(self, where: str, publications: Sequence[Publication]) -> Results:
        """Publish all, and wait for their confirms. where: the queue's name, for error texts.

        Raises BrokerUnavailable or BrokerRefused where none of them was sent for the same reason.
        """
        if not publications:
            return []
        try:
            confirms = await self._ready()
            results, why = await confirms.send(publications)
        except ChannelClosed as exc:
            raise broker_error(where, exc) from None
        if why is None:
            return results
        if why.code == 0 or isinstance(why, ConnectionLost):
            error = broker_error(where, why)
            if all(result is _UNANSWERED for result in results):
                raise error
            return [EntryFault(Fault.RETRY, str(error)) if one is _UNANSWERED else one for one in results]
        # the server closed the channel because of one message, and doesn't say which; it may be of another call
        return await self._one_by_one(where, publications, results)

    async def _one_by_one(self, where: str, publications: Sequence[Publication], results: Results) -> Results:
        refused: BrokerRefused | None = None
        async with self._singly:
            confirms: _ConfirmChannel | None = None
            for at, publication in enumerate(publications):
                if results[at] is not _UNANSWERED:
                    continue
                try:
                    if confirms is None or confirms.channel.closed is not None:
                        confirms = await self._open()
                    (result,), why = await confirms.send([publication])
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
            if confirms is not None:
                confirms.channel.close_nowait()
        if refused is not None and all(one is not None and one.fault is Fault.REFUSED for one in results):
            raise refused
        return results

    async def _ready(self) -> "_ConfirmChannel":
        async with self._opening:
            if self._confirms is None or self._confirms.channel.closed is not None:
                self._confirms = await self._open()
            blocked = self._confirms.channel.connection.blocked
            if blocked is not None:
                raise ChannelClosed(0, f"it accepts no messages until an alarm ends: {blocked}")
            return self._confirms

    async def _open(self) -> "_ConfirmChannel":
        channel = await self._open_channel()
        await channel.call(commands.Confirm.Select())
        return _ConfirmChannel(channel)


class _ConfirmChannel:
    """One channel in confirm mode, and the publications on it that are not confirmed."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        channel.on_confirm = self._confirmed
        channel.on_return = self._returned
        channel.on_close = self._closed
        self._next = 1
        self._lowest = 1
        self._open: dict[int, tuple[_Batch, int, Place]] = {}
        self._heads: dict[Place, bytes] = {}

    async def send(self, publications: Sequence[Publication]) -> tuple[Results, ChannelClosed | None]:
        """The results, and why some of them are unanswered; None when all are answered."""
        batch = _Batch(len(publications))
        connection, number = self.channel.connection, self.channel.number
        limit = connection.payload_max_bytes
        at = 0
        while at < len(publications) and self.channel.closed is None:
            frames: list[bytes] = []
            size = 0
            while at < len(publications) and size < CHUNK_BYTES:
                one = publications[at]
                # numbered and written without an await between: the server counts in order of arrival
                self._open[self._next] = (batch, at, one.place)
                self._next += 1
                frames += publish_frames(number, self._head(one.place), one.header, one.body, limit)
                size += len(one.body) + len(one.header)
                at += 1
            self.channel.write(b"".join(frames))
            await connection.writable()
        if self.channel.closed is None:
            try:
                async with asyncio.timeout(CONFIRM_S):
                    await batch.done
            except TimeoutError:
                why = ChannelClosed(0, f"not confirmed within {CONFIRM_S:g} s ({connection.blocked or 'no alarm'})")
                self.channel.close_nowait()
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
        result = EntryFault(Fault.RETRY, "the broker rejected it (queue full, or no leader)") if is_nack else None
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

    def _returned(self, returned: Returned) -> None:
        """No queue took a message for this place; the same holds for all others that are being sent there."""
        _, text, exchange, key = returned
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
