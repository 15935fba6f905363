"""One AMQP channel: calls and their replies, one after the other, and the contents that come in between."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pamqp import commands, exceptions
from pamqp import frame as pamqp_frame

from mulligan.brokers.rabbitmq import frame
from mulligan.brokers.rabbitmq.error import ChannelClosed, ConnectionLost

if TYPE_CHECKING:
    from mulligan.brokers.rabbitmq.connection import Connection

__all__ = ["Channel", "Got", "Returned"]

CALL_S = 20.0
"""For the reply to a call. A quorum queue without a majority answers late or never."""

Got = tuple[int, bytes, bytes, str, int]
"""A message of basic.get: tag, payload of its header, body, routing key, and how many are left."""
Returned = tuple[int, str, str, str]
"""Code, text, exchange and routing key of a message that no queue took."""


class Channel:
    """A channel that is open once `open` has returned; made by `Connection.channel`.

    Callbacks, to be set before the call that makes them happen: on_message(tag, header payload, body),
    on_confirm(tag, multiple, is_nack), on_return, on_cancel(consumer tag), on_close(why).
    """

    def __init__(self, connection: "Connection", number: int) -> None:
        self.connection = connection
        self.number = number
        self.closed: ChannelClosed | None = None
        self.on_message: Callable[[int, bytes, bytes], None] = _ignore
        self.on_confirm: Callable[[int, bool, bool], None] = _ignore
        self.on_return: Callable[[Returned], None] = _ignore
        self.on_cancel: Callable[[str], None] = _ignore
        self.on_close: Callable[[ChannelClosed], None] = _ignore
        self._turn = asyncio.Lock()
        self._reply: asyncio.Future[Any] | None = None
        # the content that is coming in: what announced it, the size that is missing, its header and the parts so far
        self._tag = 0
        self._announced: Any = None
        self._missing = 0
        self._header = b""
        self._parts: list[bytes] = []

    # -- out

    async def call(self, method: Any) -> Any:
        """Send a method and return its reply. Raises ChannelClosed; a reply that does not come ends the connection.

        Cancelling it leaves the channel in order: the call goes on without its caller.
        """
        call = asyncio.get_running_loop().create_task(self._call(method))
        call.add_done_callback(_heard)
        return await asyncio.shield(call)

    def write(self, data: bytes) -> None:
        """Send frames. Does nothing on a closed channel, whose end is told by `on_close`."""
        if self.closed is None:
            self.connection.write(data)

    def shut(self, why: ChannelClosed | None = None) -> None:
        """Close without waiting: unacknowledged messages go back to their queues."""
        if self.closed is None:
            self._end(why or ChannelClosed(0, "closed by us"))
            self.connection.retire(self.number)
            self.connection.write(pamqp_frame.marshal(commands.Channel.Close(200, "done", 0, 0), self.number))

    async def _call(self, method: Any) -> Any:
        async with self._turn:
            if self.closed is not None:
                raise self.closed
            data = pamqp_frame.marshal(method, self.number)
            self._reply = asyncio.get_running_loop().create_future()
            self.connection.write(data)
            try:
                async with asyncio.timeout(CALL_S):
                    return await self._reply
            except TimeoutError:
                lost = ConnectionLost(0, f"no answer to {method.name} within {CALL_S:g} s")
                self.connection.lose(lost)
                raise lost from None
            finally:
                self._reply = None

    def ack(self, number: int) -> None:
        """Remove a delivery for good."""
        self.write(frame.acks(self.number, [number], None))

    def nack(self, numbers: Sequence[int]) -> None:
        """Give deliveries back."""
        self.write(frame.nacks(self.number, numbers))

    # -- in; called by the connection for each frame

    def method(self, buffer: bytes, at: int, end: int) -> None:
        """A method frame's payload is buffer[at:end]."""
        kind = frame.method_id(buffer, at)
        if kind == frame.DELIVER:
            tag_at = at + 5 + buffer[at + 4]
            self._announced, self._tag = kind, frame.TAG.unpack_from(buffer, tag_at)[0]
        elif kind in {frame.CONFIRM_ACK, frame.CONFIRM_NACK}:
            is_multiple = bool(buffer[at + 12] & 1)
            self.on_confirm(frame.TAG.unpack_from(buffer, at + 4)[0], is_multiple, kind == frame.CONFIRM_NACK)
        else:
            self._rare(kind, buffer[at:end])

    def header(self, payload: bytes) -> None:
        """The header of a content."""
        self._missing = frame.body_size(payload, 4)[0]
        self._header = payload
        self._parts = []
        if not self._missing:
            self._complete(b"")

    def body(self, payload: bytes) -> None:
        """A part of a content."""
        self._missing -= len(payload)
        if self._missing > 0:
            self._parts.append(payload)
        elif self._parts:
            self._parts.append(payload)
            self._complete(b"".join(self._parts))
        else:
            self._complete(payload)

    def lost(self, why: ChannelClosed) -> None:
        """The connection is gone."""
        if self.closed is None:
            self._end(why)

    # -- inside

    def _complete(self, body: bytes) -> None:
        announced, self._announced, self._parts = self._announced, None, []
        if announced == frame.DELIVER:
            if self.closed is None:
                self.on_message(self._tag, self._header, body)
        elif isinstance(announced, commands.Basic.GetOk):
            self._answer(
                (
                    int(announced.delivery_tag or 0),
                    self._header,
                    body,
                    announced.routing_key or "",
                    announced.message_count or 0,
                )
            )
        elif isinstance(announced, commands.Basic.Return):
            self.on_return(
                (
                    announced.reply_code or 0,
                    announced.reply_text or "",
                    announced.exchange or "",
                    announced.routing_key or "",
                )
            )

    def _rare(self, kind: tuple[int, int], payload: bytes) -> None:
        whole = frame.HEAD.pack(frame.METHOD, self.number, len(payload)) + payload + bytes((frame.END,))
        try:
            _, _, method = pamqp_frame.unmarshal(whole)
        except (exceptions.PAMQPException, ValueError, IndexError) as exc:
            self.connection.lose(ConnectionLost(0, f"the method {kind} can't be read: {exc}"))
            return
        match method:
            case commands.Basic.GetOk() | commands.Basic.Return():
                self._announced = method
            case commands.Basic.Cancel():
                self.on_cancel(method.consumer_tag or "")
            case commands.Channel.Close():
                why = ChannelClosed(method.reply_code or 0, method.reply_text or "")
                self.connection.write(pamqp_frame.marshal(commands.Channel.CloseOk(), self.number))
                self.connection.forget(self.number)
                if self.closed is None:
                    self._end(why)
            case commands.Channel.CloseOk():
                self.connection.forget(self.number)
            case _:
                self._answer(method)

    def _answer(self, reply: Any) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_result(reply)

    def _end(self, why: ChannelClosed) -> None:
        self.closed = why
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(why)
        self.on_close(why)


def _heard(call: "asyncio.Task[Any]") -> None:
    """Whoever made the call may have stopped waiting for its error."""
    if not call.cancelled():
        call.exception()


def _ignore(*_: object) -> None:
    """Nobody wants to hear of it."""
