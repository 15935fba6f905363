"""HTTP/1.1 to one endpoint over kept-alive connections: head and body are sent in one write, a `Response` is returned.

Knows nothing of AWS. Every failure of an exchange is an `Unreachable`; statuses are for the caller to read.

Life of a connection: connect -> exchange -> idle -> exchange ... -> closed. One exchange at a time; a connection whose
exchange did not complete is closed and never used again. An idle one that the other side closed without answering is
replaced once (a server may close an idle connection just when a request is sent).
"""

import asyncio
import ssl
from base64 import b64encode
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import unquote

import httptools

from mulligan.core.secret import redacted_url
from mulligan.core.url import UrlFault, split_url
from mulligan.core.value import value
from mulligan.dial import Failed, connect, peer_of
from mulligan.fork import keep_transport

__all__ = ["Endpoint", "OnAbandoned", "Pool", "Proxy", "Response", "Unreachable"]

CONNECT_S = 5.0
"""Limit for DNS, TCP to any of the addresses, a proxy's CONNECT and TLS together."""
IDLE_S = 50.0
"""A connection that was idle for longer is not used: load balancers and NATs drop it from 60 s on."""
IDLE_MAX = 64
REPLACE_S = 1.0
"""A connection that the other side closed while it was idle fails within this; a later cut has another cause."""
RESPONSE_MAX_BYTES = 128 << 20
"""Ten messages of 1 MiB with every character escaped are 60 MiB; more is not the answer of a queue."""
STALL_MAX_S = 60.0
"""An answer that arrives slowly may take this much longer than its read timeout."""


class Unreachable(Exception):
    """No answer: not connected, cut, timed out, or not HTTP. The request may have been executed.

    cut_after_s: seconds of silence after which the other side closed the connection; None for another failure.
    """

    def __init__(self, text: str, cut_after_s: float | None = None) -> None:
        super().__init__(text)
        self.cut_after_s = cut_after_s


@value
class Endpoint:
    """Where requests go. host: a name or an address, IPv6 without brackets."""

    host: str
    port: int
    is_tls: bool

    @property
    def authority(self) -> str:
        """As in the Host header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_tls else 80) else f"{host}:{self.port}"


@value
class Proxy:
    """A proxy that tunnels by CONNECT. authorization: value of Proxy-Authorization, or None."""

    host: str
    port: int
    authorization: str | None = None

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port})"

    @classmethod
    def parse(cls, url: str) -> "Proxy":
        """From `http://user:password@host:port`. Raises ValueError, without the password, when it is not one."""
        url = url if "://" in url else f"http://{url}"
        try:
            parts = split_url(url)
        except UrlFault as exc:
            raise ValueError(
                f"a proxy {redacted_url(url)!r} that can't be read: {exc}; expected http://HOST:PORT"
            ) from None
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"a proxy {parts.scheme}://{parts.hostname or ''}; expected http://HOST:PORT")
        authorization = None
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = f"Basic {b64encode(pair.encode()).decode()}"
        return cls(parts.hostname, parts.port or 80, authorization)


@value
class Response:
    """An answer. headers: names in lower case; the last one of a name. sent_count: requests sent for it, 1 or 2."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    sent_count: int = 1


OnAbandoned = Callable[["asyncio.Future[Response]"], None]
"""Gets the future of an answer whose caller was cancelled."""


class _Connection(asyncio.Protocol):
    """One connection. Its timer is checked only when it fires, so most exchanges set none."""

    def __init__(self, pool: "Pool", loop: asyncio.AbstractEventLoop) -> None:
        self._pool = pool
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[Response] | None = None
        self._headers: dict[bytes, bytes] = {}
        self._chunks: list[bytes] = []
        self._received_bytes = 0
        self._seen_bytes = 0  # of the answer and of what still had to be written, when the timer last fired
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = self._deadline = self._last_deadline = self._timeout_s = self._began_at = 0.0
        self.idle_since = 0.0
        self.exchanges = 0
        self.has_timed_out = False

    # -- used by the pool

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def has_answered(self) -> bool:
        """Part of the current answer has arrived."""
        return self._received_bytes > 0

    def start(self, request: bytes, timeout_s: float) -> "asyncio.Future[Response]":
        """Send a request; the future is the answer or an `Unreachable`."""
        waiter = self._loop.create_future()
        if self._transport is None:
            waiter.set_exception(Unreachable("the connection was closed as soon as it was made"))
            return waiter
        self._waiter = waiter
        self._received_bytes = self._seen_bytes = 0
        self.exchanges += 1
        self._timeout_s = timeout_s
        self._began_at = self._loop.time()
        self._deadline = self._began_at + timeout_s
        self._last_deadline = self._deadline + STALL_MAX_S
        if self._timer is None or self._timer_at > self._deadline:
            self._arm()
        self._transport.write(request)
        return waiter

    def renew_answer(self) -> "asyncio.Future[Response] | None":
        """A new future for the answer in flight, after the first was cancelled; None when nothing is in flight."""
        if self._waiter is None or not self.is_open:
            return None
        self._waiter = self._loop.create_future()
        return self._waiter

    def abort(self, exc: Unreachable | None = None) -> None:
        """Close now, also while an answer is awaited."""
        self._end(exc or Unreachable("the connection was closed by this side"))

    # -- called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # it is both, for asyncio and uvloop alike

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiter is None:
            self._end(Unreachable("closed"))
            return
        how = f"was cut ({exc or 'closed by the other side'})"
        silent_s: float | None = None
        if self.has_answered:
            how += f" after {self._received_bytes} bytes of the answer"
        else:
            silent_s = self._loop.time() - self._began_at
        self._end(Unreachable(f"the connection to {self._pool.endpoint.authority} {how}", silent_s))

    def data_received(self, data: bytes) -> None:
        self._received_bytes += len(data)
        if self._waiter is None:
            self.abort()  # an answer without a request: this connection can't be trusted any more
            return
        if self._received_bytes > RESPONSE_MAX_BYTES:
            self._end(Unreachable(f"the answer of {self._pool.endpoint.authority} is over {RESPONSE_MAX_BYTES} bytes"))
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._end(Unreachable(f"{self._pool.endpoint.authority} answered something that is not HTTP ({exc})"))

    # -- called by the parser

    def on_message_begin(self) -> None:
        if self._waiter is None:
            self.abort()  # a second answer right after the first: later answers would be matched to the wrong requests

    def on_header(self, name: bytes, text: bytes) -> None:
        self._headers[name.lower()] = text

    def on_body(self, chunk: bytes) -> None:
        self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        headers, chunks = self._headers, self._chunks
        self._headers, self._chunks = {}, []
        waiter = self._waiter
        if status < 200 or waiter is None:  # "100 Continue" and the like come before the answer
            return
        self._waiter = None
        if self._parser.should_keep_alive():
            self._pool.put_back(self)
        else:
            self._end(Unreachable("closed"))
        if not waiter.done():
            waiter.set_result(Response(status, headers, chunks[0] if len(chunks) == 1 else b"".join(chunks)))

    # -- inside

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._deadline
        self._timer = self._loop.call_at(self._deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        now = self._loop.time()
        if now < self._deadline:
            self._arm()
            return
        unsent = self._transport.get_write_buffer_size() if self._transport else 0
        seen = self._received_bytes - unsent
        if seen != self._seen_bytes and now < self._last_deadline:
            self._seen_bytes = seen  # there was progress: the connection is slow, not dead
            self._deadline = now + self._timeout_s
            self._arm()
            return
        self.has_timed_out = True
        if self._transport is not None:
            self._pool.failed.add(peer_of(self._transport))
        self._pool.drop_idle()  # the idle connections go the same way
        self._end(Unreachable(f"{self._pool.endpoint.authority} sent no answer within {self._timeout_s:g} s"))

    def _end(self, exc: Unreachable) -> None:
        waiter, self._waiter = self._waiter, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        self._pool.forget(self)
        if waiter is not None and not waiter.done():
            waiter.set_exception(exc)


class _Tunnel(asyncio.Protocol):
    """Asks a proxy for a tunnel; `opened` is done when it has answered."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.opened: asyncio.Future[None] = loop.create_future()
        self._head = b""

    def data_received(self, data: bytes) -> None:
        self._head += data
        if self.opened.done() or (b"\r\n\r\n" not in self._head and len(self._head) < 65536):
            return
        line = self._head.split(b"\r\n", 1)[0].decode("latin-1")
        words = line.split(" ", 2)
        if len(words) >= 2 and words[0].startswith("HTTP/") and words[1].startswith("2"):
            self.opened.set_result(None)
        else:
            hint = ": give user and password in HTTPS_PROXY" if words[1:2] == ["407"] else ""
            self.opened.set_exception(Unreachable(f"it answered {line[:200]!r} to CONNECT{hint}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(Unreachable(f"it closed ({exc or 'without an answer'})"))


async def _answer(
    connection: _Connection, request: bytes, timeout_s: float, on_abandoned: OnAbandoned | None
) -> Response:
    waiter = connection.start(request, timeout_s)
    try:
        return await waiter
    except asyncio.CancelledError:
        answer = connection.renew_answer() if on_abandoned is not None else None
        if answer is not None and on_abandoned is not None:
            on_abandoned(answer)
        else:
            connection.abort()
        raise


class Pool:
    """The connections to one endpoint. Belongs to one event loop. The newest idle one is used first."""

    def __init__(self, endpoint: Endpoint, *, tls: ssl.SSLContext | None = None, proxy: Proxy | None = None) -> None:
        self.endpoint = endpoint
        self._tls = tls
        self._proxy = proxy
        self._idle: deque[_Connection] = deque()
        self._all: set[_Connection] = set()
        self._is_closed = False
        self.failed = Failed()
        """IP addresses that accepted a request and did not answer."""

    async def exchange(
        self,
        request: bytes,
        timeout_s: float,
        on_abandoned: "OnAbandoned | None" = None,
    ) -> Response:
        """The answer to a request (head and body as bytes).

        timeout_s: the longest time in which nothing is received or sent. on_abandoned: called if the caller is
        cancelled while it waits for the answer, with the future of that answer; without it the connection is closed.
        Raises Unreachable.
        """
        connection = self._take() or await self._connect()
        is_reused = connection.exchanges > 0
        try:
            return await _answer(connection, request, timeout_s, on_abandoned)
        except Unreachable as exc:
            if not is_reused or connection.has_answered or connection.has_timed_out or self._is_closed:
                raise
            if exc.cut_after_s is not None and exc.cut_after_s > REPLACE_S:
                raise
        # the server closed an idle connection as the request was sent: retry once, on a new one
        response = await _answer(await self._connect(), request, timeout_s, on_abandoned)
        return replace(response, sent_count=2)

    async def close(self) -> None:
        """Close every connection. Running exchanges raise Unreachable. May be called twice."""
        self._is_closed = True
        for connection in list(self._all):
            connection.abort()

    # -- used by the connections

    def put_back(self, connection: _Connection) -> None:
        """The exchange is complete, and the connection can be used again."""
        if self._is_closed or len(self._idle) >= IDLE_MAX:
            connection.abort()
            return
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)

    def forget(self, connection: _Connection) -> None:
        """A connection is closed."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def drop_idle(self) -> None:
        """Close the idle connections."""
        for connection in list(self._idle):
            connection.abort()

    # -- inside

    def _take(self) -> _Connection | None:
        oldest = asyncio.get_running_loop().time() - IDLE_S
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and connection.idle_since > oldest:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> _Connection:
        if self._is_closed:
            raise Unreachable("the client is closed")
        at = self.endpoint
        where = at.authority if self._proxy is None else f"{at.authority} through the proxy {self._proxy!r}"
        try:
            async with asyncio.timeout(CONNECT_S):
                connection = await (self._connect_directly() if self._proxy is None else self._connect_through())
        except TimeoutError:
            raise Unreachable(f"no connection to {where} within {CONNECT_S:g} s") from None
        except ssl.SSLCertVerificationError as exc:
            raise Unreachable(
                f"the certificate of {at.host} can't be trusted: {exc.verify_message}. If a proxy or a company's own "
                f"authority signs it, name that authority's file in AWS_CA_BUNDLE.",
            ) from None
        except (OSError, Unreachable) as exc:
            raise Unreachable(f"no connection to {where}: {exc}") from None
        self._all.add(connection)
        return connection

    async def _connect_directly(self) -> _Connection:
        at, loop = self.endpoint, asyncio.get_running_loop()
        transport, connection = await connect(
            lambda: _Connection(self, loop),
            at.host,
            at.port,
            tls=self._tls if at.is_tls else None,
            failed=self.failed,
        )
        keep_transport(transport)
        return connection

    async def _connect_through(self) -> _Connection:
        proxy, at, loop = self._proxy, self.endpoint, asyncio.get_running_loop()
        assert proxy is not None
        transport, tunnel = await connect(lambda: _Tunnel(loop), proxy.host, proxy.port, failed=self.failed)
        keep_transport(transport)
        try:
            target = f"[{at.host}]:{at.port}" if ":" in at.host else f"{at.host}:{at.port}"
            allow = f"proxy-authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
            transport.write(f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n{allow}\r\n".encode())
            await tunnel.opened
            connection = _Connection(self, loop)
            if at.is_tls:
                assert self._tls is not None
                upgraded = await loop.start_tls(transport, connection, self._tls, server_hostname=at.host)
                assert upgraded is not None
                connection.connection_made(upgraded)
            else:
                transport.set_protocol(connection)
                connection.connection_made(transport)
        except BaseException:
            self.failed.add(peer_of(transport))
            transport.abort()
            raise
        return connection
