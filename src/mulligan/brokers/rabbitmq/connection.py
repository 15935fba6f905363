"""One AMQP connection: handshake, frames, heartbeats, and the channels on it. It is never mended, only made anew."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any, cast

from pamqp import commands, exceptions
from pamqp import frame as pamqp_frame

from mulligan import dial
from mulligan.brokers.rabbitmq import frame
from mulligan.brokers.rabbitmq.address import Address
from mulligan.brokers.rabbitmq.channel import Channel
from mulligan.brokers.rabbitmq.error import ChannelClosed, ConnectionLost, tls_words
from mulligan.fork import keep_transport

__all__ = ["Connection", "connect"]

CONNECT_S = 10.0
CLOSE_S = 2.0
FRAME_MAX_BYTES = 131_072
"""Asked for; what RabbitMQ has by default."""
HIGH_WATER_BYTES = 1 << 20
_STALL_S = 5.0
"""A heartbeat timer that is late by this: it was our own loop that stood still, not the server."""
_USER_TIMEOUT_MS = 20_000

_PROPERTIES = {
    "product": "mulligan",
    "platform": "Python",
    "capabilities": {
        "authentication_failure_close": True,
        "basic.nack": True,
        "connection.blocked": True,
        "consumer_cancel_notify": True,
        "publisher_confirms": True,
    },
}


class Connection(asyncio.Protocol):
    """Made by `connect`. on_blocked: told why the server takes no messages, and None when it does again."""

    def __init__(self, address: Address, name: str, on_blocked: Callable[[str | None], None]) -> None:
        self._address = address
        self._name = name
        self._on_blocked = on_blocked
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._channels: dict[int, Channel] = {}
        self._retired: dict[int, Channel] = {}
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._writable = asyncio.Event()
        self._writable.set()
        self._beat: asyncio.TimerHandle | None = None
        self._beat_due = 0.0
        self._heard_at = self._loop.time()
        self._heartbeat_s = 0.0
        self._channel_max = 2047
        self._is_reading = True
        self.frame_max_bytes = FRAME_MAX_BYTES
        self.server: dict[str, Any] = {}
        """What the server says of itself."""
        self.peer = ""
        """The server's address."""
        self.blocked: str | None = None
        self.lost: ConnectionLost | None = None

    # -- for users

    @property
    def payload_max_bytes(self) -> int:
        """Of one frame."""
        return self.frame_max_bytes - frame.OVERHEAD_BYTES

    async def channel(self) -> Channel:
        """A new channel, open. Raises ConnectionLost, ChannelClosed."""
        if self.lost is not None:
            raise self.lost
        used = self._channels.keys() | self._retired.keys()
        number = next((one for one in range(1, self._channel_max + 1) if one not in used), None)
        if number is None:
            raise ChannelClosed(504, f"all {self._channel_max} channels of the connection are in use")
        channel = self._channels[number] = Channel(self, number)
        await channel.call(commands.Channel.Open())
        return channel

    def write(self, data: bytes) -> None:
        """Send frames; they are lost if the connection is."""
        if self.lost is None and self._transport is not None:
            self._transport.write(data)

    async def writable(self) -> None:
        """Wait until what was written has left, but for a megabyte."""
        if not self._writable.is_set():
            await self._writable.wait()

    def read(self, *, is_wanted: bool) -> None:
        """Take in what the server sends, or let it wait in the network."""
        if self._transport is None or self.lost is not None or is_wanted == self._is_reading:
            return
        self._is_reading = is_wanted
        if is_wanted:
            self._heard_at = self._loop.time()
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    async def close(self) -> None:
        """Say good-bye, so that all that was written arrives, and let go. Twice is once."""
        if self.lost is None and self._transport is not None:
            self.read(is_wanted=True)
            method = commands.Connection.Close(200, "done", 0, 0)
            self.write(pamqp_frame.marshal(method, 0))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await asyncio.shield(self._ended)
        self.lose(ConnectionLost(0, "closed by us"))

    def lose(self, why: ConnectionLost) -> None:
        """End at once; every channel is told."""
        if self.lost is not None:
            return
        self.lost = why
        if self._beat is not None:
            self._beat.cancel()
        if self._transport is not None:
            self._transport.abort()
        if not self._opened.done():
            self._opened.set_exception(why)
            self._opened.exception()  # somebody may have stopped waiting for it
        if not self._ended.done():
            self._ended.set_result(None)
        self._writable.set()
        for channel in list(self._channels.values()):
            channel.lost(why)
        self._channels.clear()
        self._retired.clear()

    def retire(self, number: int) -> None:
        """A channel is being closed by us: its number is free only when the server has agreed."""
        channel = self._channels.pop(number, None)
        if channel is not None:
            self._retired[number] = channel

    def forget(self, number: int) -> None:
        """A channel is closed on both sides."""
        self._channels.pop(number, None)
        self._retired.pop(number, None)

    async def opened(self) -> None:
        """Wait for the end of the handshake."""
        await asyncio.shield(self._opened)

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._transport = made = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        made.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        made.write(b"AMQP\0\0\x09\x01")

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        if isinstance(exc, ssl.SSLError):
            text = tls_words(exc)
        elif not self.server:
            text = "it closed the connection before it said anything: a port for TLS wants amqps://"
        else:
            text = f"the connection is lost ({exc or 'closed by the other side'})"
        self.lose(ConnectionLost(0, text))

    def eof_received(self) -> None:
        """The server has closed its end; so do we."""

    def pause_writing(self) -> None:
        """More than a megabyte waits to be sent."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It has left."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Cut into frames, and hand each to its channel."""
        self._heard_at = self._loop.time()
        buffer = self._rest + data if self._rest else data
        at, size = 0, len(buffer)
        unpack = frame.HEAD.unpack_from
        channels = self._channels
        while size - at >= frame.OVERHEAD_BYTES:
            kind, number, length = unpack(buffer, at)
            start = at + 7
            end = start + length
            if end >= size:
                if length > self.frame_max_bytes:
                    break
                self._rest = buffer[at:]
                return
            if buffer[end] != frame.END:
                break
            channel = channels.get(number)
            if channel is None:
                self._other(kind, number, buffer, start, end)
            elif kind == frame.METHOD:
                channel.method(buffer, start, end)
            elif kind == frame.HEADER:
                channel.header(buffer[start:end])
            elif kind == frame.BODY:
                channel.body(buffer[start:end])
            if self.lost is not None:
                return
            at = end + 1
        else:
            self._rest = buffer[at:] if at < size else b""
            return
        self.lose(ConnectionLost(0, f"what came is no frame of AMQP: {buffer[at : at + 8]!r}"))

    # -- inside

    def _other(self, kind: int, number: int, buffer: bytes, start: int, end: int) -> None:
        """A frame of the connection itself, or of a channel that is being closed."""
        if number in self._retired:
            retired = self._retired[number]
            if kind == frame.METHOD and buffer[start : start + 2] == b"\0\x14":  # only what ends it is of interest
                retired.method(buffer, start, end)
            return
        if kind != frame.METHOD or number:
            return  # a heartbeat: that it came is all that it says
        whole = frame.HEAD.pack(kind, number, end - start) + buffer[start : end + 1]
        try:
            _, _, method = pamqp_frame.unmarshal(whole)
        except (exceptions.PAMQPException, ValueError, IndexError, KeyError) as exc:
            self.lose(ConnectionLost(0, f"a method of the connection can't be read: {exc}"))
            return
        self._said(method)

    def _said(self, method: object) -> None:
        match method:
            case commands.Connection.Start():
                self._start(method)
            case commands.Connection.Tune():
                self._tune(method)
            case commands.Connection.OpenOk():
                self._opened.set_result(None)
                self._next_beat()
            case commands.Connection.Close():
                self._reply(commands.Connection.CloseOk())
                self.lose(ConnectionLost(method.reply_code or 0, method.reply_text or "closed by the server"))
            case commands.Connection.CloseOk():
                if not self._ended.done():
                    self._ended.set_result(None)
            case commands.Connection.Blocked():
                self.blocked = method.reason or "no reason given"
                self._on_blocked(self.blocked)
            case commands.Connection.Unblocked():
                self.blocked = None
                self._on_blocked(None)
            case _:
                pass

    def _start(self, method: commands.Connection.Start) -> None:
        self.server = dict(method.server_properties or {})
        mechanisms = (method.mechanisms or "").split()
        address = self._address
        if "EXTERNAL" in mechanisms and address.certfile is not None and not address.has_user:
            mechanism, response = "EXTERNAL", ""
        else:
            mechanism, response = "PLAIN", f"\0{address.user}\0{address.password}"
        if mechanism not in mechanisms:
            text = f"the server takes {', '.join(mechanisms)} and not {mechanism} to tell who we are"
            self.lose(ConnectionLost(403, text))
            return
        properties: dict[str, Any] = {**_PROPERTIES, "connection_name": self._name}
        self._reply(commands.Connection.StartOk(properties, mechanism, response, "en_US"))

    def _tune(self, method: commands.Connection.Tune) -> None:
        self._channel_max = method.channel_max or 65_535
        offered = method.frame_max or FRAME_MAX_BYTES
        self.frame_max_bytes = min(offered, FRAME_MAX_BYTES)
        heartbeat = self._address.heartbeat_s
        self._heartbeat_s = heartbeat
        # it may be silent for all that it is told, and gives us up only after twice that
        self._reply(commands.Connection.TuneOk(self._channel_max, self.frame_max_bytes, heartbeat // 2))
        self._reply(commands.Connection.Open(self._address.vhost))

    def _reply(self, method: Any) -> None:
        self.write(pamqp_frame.marshal(method, 0))

    def _next_beat(self) -> None:
        if self._heartbeat_s and self.lost is None:
            self._beat_due = self._loop.time() + self._heartbeat_s / 8
            self._beat = self._loop.call_later(self._heartbeat_s / 8, self._on_beat)

    def _on_beat(self) -> None:
        now = self._loop.time()
        silent_s = now - self._heard_at
        self.write(frame.HEARTBEAT_FRAME)  # whatever else was sent: a task may stop our loop the moment after
        if now - self._beat_due > _STALL_S:
            self._heard_at = max(self._heard_at, now - self._heartbeat_s / 2)
        elif self._is_reading and silent_s > self._heartbeat_s * 5 / 8:
            self.lose(ConnectionLost(0, f"nothing heard for {silent_s:.0f} s: the connection is dead"))
            return
        self._next_beat()


async def connect(
    address: Address,
    context: ssl.SSLContext | None,
    name: str,
    on_blocked: Callable[[str | None], None],
    failed: dial.Failed,
) -> Connection:
    """A connection after its handshake. name: as the server lists it. failed: the addresses of the name that did not
    serve; is told of this one. Raises ConnectionLost.
    """
    connection = Connection(address, name, on_blocked)
    try:
        async with asyncio.timeout(CONNECT_S):
            transport, _ = await dial.connect(
                lambda: connection, address.host, address.port, tls=context, failed=failed
            )
            connection.peer = dial.peer_of(transport)
            failed.add(connection.peer)  # until it has said more than that it is there
            keep_transport(transport)  # one that a forked child holds open is a consumer to the server
            _tune_socket(transport.get_extra_info("socket"))
            await connection.opened()
            failed.discard(connection.peer)
    except TimeoutError:
        raise _given_up(connection, f"no answer within {CONNECT_S:g} s") from None
    except ssl.SSLError as exc:
        raise _given_up(connection, tls_words(exc)) from None
    except OSError as exc:
        raise _given_up(connection, f"no connection ({exc})") from None
    except BaseException:
        connection.lose(ConnectionLost(0, "given up"))
        raise
    return connection


def _given_up(connection: Connection, text: str) -> ConnectionLost:
    lost = ConnectionLost(0, text)
    connection.lose(lost)
    return lost


def _tune_socket(sock: socket.socket | None) -> None:
    if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux: what was sent and is not acknowledged
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
