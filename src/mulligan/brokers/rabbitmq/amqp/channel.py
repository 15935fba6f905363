"""One AMQP channel: calls and their replies, one at a time, and the messages that arrive in between."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from pamqp import commands, exceptions
from pamqp import frame as pamqp_frame

from mulligan.brokers.rabbitmq.amqp import frame
from mulligan.brokers.rabbitmq.amqp.error import ChannelClosed, ConnectionLost

__all__ = ["Channel", "ChannelConnection", "Got", "Returned"]

CALL_S = 20.0
"""The longest wait for the reply to a call. A quorum queue without a majority answers late or never."""

Got = tuple[int, bytes, bytes, str, int]
"""The reply to basic.get: tag, payload of the header, body, routing key, and how many messages are left."""
Returned = tuple[int, str, str, str]
"""Code, text, exchange and routing key of a message that no queue took."""


class ChannelConnection(Protocol):
    """What a channel and its users need of the connection below."""

    @property
    def payload_max_bytes(self) -> int:
        """The longest payload of one frame."""

    @property
    def blocked(self) -> str | None:
        """Why the server takes no messages now; None while it does."""

    def write(self, data: bytes) -> None:
        """Send frames; they are lost if the connection is."""

    async def writable(self) -> None:
        """Wait until all but a megabyte of what was written has been sent."""

    def read(self, *, is_wanted: bool) -> None:
        """Read from the socket, or leave what the server sends in the network."""

    def fail(self, why: ConnectionLost) -> None:
        """End the connection and all its channels immediately."""

    def retire(self, number: int) -> None:
        """This side is closing the channel: keep its number until the server agrees."""

    def forget(self, number: int) -> None:
        """The channel is closed on both sides: its number is free."""


class Channel:
    """One channel of a connection; made by `Connection.channel`, which opens it.

    Callbacks, to be set before the call that leads to them: on_message(tag, header payload, body),
    on_confirm(tag, is_multiple, is_nack), on_return, on_cancel(consumer tag), on_close(why).
    """

    def __init__(self, connection: ChannelConnection, number: int) -> None:
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
        # the message that is arriving: the method before it, the bytes that are missing, its header and parts so far
        self._tag = 0
        self._announced: Any = None
        self._missing = 0
        self._header = b""
        self._parts: list[bytes] = []

    # -- out

    async def call(self, method: Any) -> Any:
        """Send a method and return its reply. Raises ChannelClosed; without a reply in CALL_S the connection ends.

        A cancelled caller leaves the channel usable: the call continues without it.
        """
        call = asyncio.get_running_loop().create_task(self._call(method))
        call.add_done_callback(_retrieve_exception)
        return await asyncio.shield(call)

    def write(self, data: bytes) -> None:
        """Send frames. Does nothing on a closed channel; `on_close` has reported its end."""
        if self.closed is None:
            self.connection.write(data)

    def close_nowait(self, why: ChannelClosed | None = None) -> None:
        """Close without waiting for the server: unacknowledged messages return to their queues."""
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
                self.connection.fail(lost)
                raise lost from None
            finally:
                self._reply = None

    def ack(self, number: int) -> None:
        """Remove a delivery from its queue."""
        self.write(frame.acks(self.number, [number], None))

    def nack(self, numbers: Sequence[int]) -> None:
        """Return deliveries to their queues."""
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
            self._on_rare_method(kind, buffer[at:end])

    def header(self, payload: bytes) -> None:
        """The header of a message."""
        self._missing = frame.body_size(payload, 4)[0]
        self._header = payload
        self._parts = []
        if not self._missing:
            self._complete(b"")

    def body(self, payload: bytes) -> None:
        """A part of a message's body."""
        self._missing -= len(payload)
        if self._missing > 0:
            self._parts.append(payload)
        elif self._parts:
            self._parts.append(payload)
            self._complete(b"".join(self._parts))
        else:
            self._complete(payload)

    def connection_lost(self, why: ConnectionLost) -> None:
        """The connection is gone, and the channel with it."""
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

    def _on_rare_method(self, kind: tuple[int, int], payload: bytes) -> None:
        whole = frame.HEAD.pack(frame.METHOD, self.number, len(payload)) + payload + bytes((frame.END,))
        try:
            _, _, method = pamqp_frame.unmarshal(whole)
        except (exceptions.PAMQPException, ValueError, IndexError) as exc:
            self.connection.fail(ConnectionLost(0, f"the method {kind} can't be read: {exc}"))
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


def _retrieve_exception(call: "asyncio.Task[Any]") -> None:
    """Mark the call's error as seen: its caller may have been cancelled."""
    if not call.cancelled():
        call.exception()


def _ignore(*_: object) -> None:
    """The callback where none was set."""
