"""One AMQP connection: handshake, frames, heartbeats, and its channels. A lost one stays lost: open another."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any, cast

from pamqp import commands, exceptions
from pamqp import frame as pamqp_frame

from mulligan import dial
from mulligan.brokers.rabbitmq.amqp import frame
from mulligan.brokers.rabbitmq.amqp.channel import Channel
from mulligan.brokers.rabbitmq.amqp.error import ChannelClosed, ConnectionLost, TlsFailed
from mulligan.brokers.rabbitmq.amqp.parameters import ConnectionParameters
from mulligan.fork import keep_transport

__all__ = ["Connection", "connect"]

CONNECT_S = 10.0
CLOSE_S = 2.0
FRAME_MAX_BYTES = 131_072
"""The limit to ask for; RabbitMQ's default."""
HIGH_WATER_BYTES = 1 << 20
_STALL_S = 5.0
"""A heartbeat timer that is later than this: this process's event loop stood still, not the server."""
_USER_TIMEOUT_MS = 20_000

_PROPERTIES = {
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
    """Made by `connect`, whose arguments these are."""

    def __init__(
        self,
        parameters: ConnectionParameters,
        properties: Mapping[str, str],
        on_blocked: Callable[[str | None], None],
    ) -> None:
        self._parameters = parameters
        self._properties = properties
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
        """The server's properties: product, version, capabilities; {} before the handshake."""
        self.peer = ""
        """The server's IP address; "" before there is one."""
        self.blocked: str | None = None
        """Why the server takes no messages now; None while it does."""
        self.lost: ConnectionLost | None = None
        """Why the connection has ended; None while it has not."""

    # -- for users

    @property
    def payload_max_bytes(self) -> int:
        """The longest payload of one frame."""
        return self.frame_max_bytes - frame.OVERHEAD_BYTES

    async def channel(self) -> Channel:
        """A new, open channel. Raises ChannelClosed."""
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
        """Wait until all but a megabyte of what was written has been sent."""
        if not self._writable.is_set():
            await self._writable.wait()

    def read(self, *, is_wanted: bool) -> None:
        """Read from the socket, or leave what the server sends in the network."""
        if self._transport is None or self.lost is not None or is_wanted == self._is_reading:
            return
        self._is_reading = is_wanted
        if is_wanted:
            self._heard_at = self._loop.time()
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    async def close(self) -> None:
        """Close in agreement with the server, so that all that was written arrives. May be called twice."""
        if self.lost is None and self._transport is not None:
            self.read(is_wanted=True)
            method = commands.Connection.Close(200, "done", 0, 0)
            self.write(pamqp_frame.marshal(method, 0))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await asyncio.shield(self._ended)
        self.fail(ConnectionLost(0, "closed by us"))

    def fail(self, why: ConnectionLost) -> None:
        """End the connection and all its channels immediately."""
        if self.lost is not None:
            return
        self.lost = why
        if self._beat is not None:
            self._beat.cancel()
        if self._transport is not None:
            self._transport.abort()
        if not self._opened.done():
            self._opened.set_exception(why)
            self._opened.exception()  # marked as seen: nobody may be waiting any more
        if not self._ended.done():
            self._ended.set_result(None)
        self._writable.set()
        for channel in list(self._channels.values()):
            channel.connection_lost(why)
        self._channels.clear()
        self._retired.clear()

    def retire(self, number: int) -> None:
        """This side is closing the channel: keep its number until the server agrees."""
        channel = self._channels.pop(number, None)
        if channel is not None:
            self._retired[number] = channel

    def forget(self, number: int) -> None:
        """The channel is closed on both sides: its number is free."""
        self._channels.pop(number, None)
        self._retired.pop(number, None)

    async def opened(self) -> None:
        """Wait for the end of the handshake."""
        await asyncio.shield(self._opened)

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._transport = made = cast("asyncio.Transport", transport)  # uvloop's transport does not inherit from it
        made.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        made.write(b"AMQP\0\0\x09\x01")

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        if isinstance(exc, ssl.SSLError):
            self.fail(TlsFailed(exc))
            return
        if not self.server:
            text = "it closed the connection without sending anything: a TLS port needs amqps://"
        else:
            text = f"the connection is lost ({exc or 'closed by the other side'})"
        self.fail(ConnectionLost(0, text))

    def eof_received(self) -> None:
        """The server has closed its end: None closes this one."""

    def pause_writing(self) -> None:
        """More than a megabyte is waiting to be sent."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It has been sent."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Split into frames, and pass each to its channel."""
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
                self._on_other_frame(kind, number, buffer, start, end)
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
        self.fail(ConnectionLost(0, f"what it sent is not an AMQP frame: {buffer[at : at + 8]!r}"))

    # -- inside

    def _on_other_frame(self, kind: int, number: int, buffer: bytes, start: int, end: int) -> None:
        """A frame of the connection itself, or of a channel that is being closed."""
        if number in self._retired:
            retired = self._retired[number]
            if kind == frame.METHOD and buffer[start : start + 2] == b"\0\x14":  # only its end matters
                retired.method(buffer, start, end)
            return
        if kind != frame.METHOD or number:
            return  # a heartbeat, which `data_received` has noted
        whole = frame.HEAD.pack(kind, number, end - start) + buffer[start : end + 1]
        try:
            _, _, method = pamqp_frame.unmarshal(whole)
        except (exceptions.PAMQPException, ValueError, IndexError, KeyError) as exc:
            self.fail(ConnectionLost(0, f"a method of the connection can't be read: {exc}"))
            return
        self._on_method(method)

    def _on_method(self, method: object) -> None:
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
                self.fail(ConnectionLost(method.reply_code or 0, method.reply_text or "closed by the server"))
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
        given = self._parameters
        if "EXTERNAL" in mechanisms and given.certfile is not None and not given.has_user:
            mechanism, response = "EXTERNAL", ""
        else:
            mechanism, response = "PLAIN", f"\0{given.user}\0{given.password}"
        if mechanism not in mechanisms:
            text = f"the server accepts {', '.join(mechanisms)} for a login, and not {mechanism}"
            self.fail(ConnectionLost(403, text))
            return
        properties: dict[str, Any] = {**_PROPERTIES, **self._properties}
        self._reply(commands.Connection.StartOk(properties, mechanism, response, "en_US"))

    def _tune(self, method: commands.Connection.Tune) -> None:
        self._channel_max = method.channel_max or 65_535
        offered = method.frame_max or FRAME_MAX_BYTES
        self.frame_max_bytes = min(offered, FRAME_MAX_BYTES)
        heartbeat = self._parameters.heartbeat_s
        self._heartbeat_s = heartbeat
        # the server may be silent for all of the agreed interval, and drops a client after twice that
        self._reply(commands.Connection.TuneOk(self._channel_max, self.frame_max_bytes, heartbeat // 2))
        self._reply(commands.Connection.Open(self._parameters.vhost))

    def _reply(self, method: Any) -> None:
        self.write(pamqp_frame.marshal(method, 0))

    def _next_beat(self) -> None:
        if self._heartbeat_s and self.lost is None:
            self._beat_due = self._loop.time() + self._heartbeat_s / 8
            self._beat = self._loop.call_later(self._heartbeat_s / 8, self._on_beat)

    def _on_beat(self) -> None:
        now = self._loop.time()
        silent_s = now - self._heard_at
        self.write(frame.HEARTBEAT_FRAME)  # whatever else was sent: the loop may be stopped right after this
        if now - self._beat_due > _STALL_S:
            self._heard_at = max(self._heard_at, now - self._heartbeat_s / 2)
        elif self._is_reading and silent_s > self._heartbeat_s * 5 / 8:
            self.fail(ConnectionLost(0, f"nothing received for {silent_s:.0f} s: the connection is dead"))
            return
        self._next_beat()


async def connect(
    parameters: ConnectionParameters,
    context: ssl.SSLContext | None,
    properties: Mapping[str, str],
    on_blocked: Callable[[str | None], None],
    failed: dial.Failed,
) -> Connection:
    """A connection after its handshake. Raises ConnectionLost.

    context: of TLS, else None. properties: of the client, as the server lists it: product, connection_name.
    on_blocked: called with the reason when the server takes no messages any more, and with None when it does again.
    failed: IP addresses of the host that did not serve; this one is added until its handshake succeeds.
    """
    connection = Connection(parameters, properties, on_blocked)
    try:
        async with asyncio.timeout(CONNECT_S):
            transport, _ = await dial.connect(
                lambda: connection, parameters.host, parameters.port, tls=context, failed=failed
            )
            connection.peer = dial.peer_of(transport)
            failed.add(connection.peer)  # an open port is not yet a server that works
            keep_transport(transport)  # the server would take a copy in a forked child for a live consumer
            _tune_socket(transport.get_extra_info("socket"))
            await connection.opened()
            failed.discard(connection.peer)
    except TimeoutError:
        raise _failed(connection, ConnectionLost(0, f"no answer within {CONNECT_S:g} s")) from None
    except ssl.SSLError as exc:
        raise _failed(connection, TlsFailed(exc)) from None
    except OSError as exc:
        raise _failed(connection, ConnectionLost(0, f"no connection ({exc})")) from None
    except BaseException:
        connection.fail(ConnectionLost(0, "given up"))
        raise
    return connection


def _failed(connection: Connection, why: ConnectionLost) -> ConnectionLost:
    connection.fail(why)
    return why


def _tune_socket(sock: socket.socket | None) -> None:
    if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux: what was sent and is not acknowledged
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
