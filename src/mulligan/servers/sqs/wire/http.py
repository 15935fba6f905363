"""HTTP/1.1 on a socket: whole requests in, whole responses out, in order. Knows nothing about SQS.

Each connection answers one request at a time. Requests that a client sends ahead wait, up to a bound; beyond it the
socket is not read. A request must be complete within a time limit, and each part of it has a maximum size. All
connections together have a bound as well, for requests (beyond it: 503) and for unread responses (the connection with
the most unread bytes is cut).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import cast

from mulligan.core.error import ConfigurationError
from mulligan.core.extra import install_hint
from mulligan.core.value import value

try:
    import httptools
except ModuleNotFoundError:
    raise ConfigurationError(
        [f"The SQS server needs the package httptools, which is not installed: {install_hint('sqs')}"]
    ) from None

__all__ = ["Connections", "HttpRequest", "HttpResponse", "response_bytes"]

_HEADER_MAX = 64 * 1024
_HEADERS_MAX = 100
_BODY_MAX = 8 * 1024 * 1024  # 1 MiB of message, each character escaped as \u00XX, and the JSON around it
_HELD_MAX_BYTES = 64 * 1024 * 1024  # of all requests, from their first byte to their answer
_SMALL_BYTES = 16 * 1024  # of each request, always accepted: large requests of some clients must not shut out others
_UNREAD_MAX_BYTES = 64 * 1024 * 1024  # of all responses that clients haven't read
_AHEAD_MAX = 32
_AHEAD_MAX_BYTES = 1024 * 1024
_LINGER_S = 5.0
_LINGER_MAX_BYTES = 64 * 1024 * 1024

_REASONS = {
    200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    408: "Request Timeout", 413: "Content Too Large", 431: "Request Header Fields Too Large",
    500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
}  # fmt: skip


@value
class HttpRequest:
    """One request. headers: names in lower case; of a repeated header, the last. size_bytes: header and body."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    keeps_alive: bool
    size_bytes: int = 0


@value
class HttpResponse:
    """What to write, and whether the connection stays open.

    is_cut: abort the connection after `data`, which may be only a part of a response.
    """

    data: bytes
    is_cut: bool = False


Handler = Callable[[HttpRequest], HttpResponse | Awaitable[HttpResponse]]


def response_bytes(status: int, headers: bytes, body: bytes) -> bytes:
    """A whole response. headers: complete lines."""
    head = b"HTTP/1.1 %d %s\r\n%sContent-Length: %d\r\n\r\n"
    return head % (status, _REASONS.get(status, "Status").encode(), headers, len(body)) + body


class Connections:
    """All connections of one server: creates them, closes those that time out, and closes the rest at the end.

    request_s: within which a request that has begun must be complete.
    idle_s: after which a connection is closed when it has no request, or its client doesn't read its responses.
    held_bytes: of all requests that are being read, are waiting, or are being answered.
    """

    def __init__(
        self, handler: Handler, loop: asyncio.AbstractEventLoop, *, request_s: float = 30.0, idle_s: float = 120.0
    ) -> None:
        self.handler = handler
        self.loop = loop
        self.request_s = request_s
        self.idle_s = idle_s
        self.open: set[_Connection] = set()
        self.slow: set[_Connection] = set()
        """Connections whose clients don't read their responses."""
        self.held_bytes = 0
        self.is_closing = False
        self._timer: asyncio.TimerHandle | None = None

    def make(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        if self._timer is None:
            self._timer = self.loop.call_later(1.0, self._sweep)
        return _Connection(self)

    def failed(self, exc: Exception) -> HttpResponse:
        """The response when the handler raised, which is a bug in the handler."""
        self.loop.call_exception_handler({"message": "A request's handler raised", "exception": exc})
        return HttpResponse(
            response_bytes(500, b"Content-Type: text/plain\r\n", b"The server failed; its log says why.\n")
        )

    def close(self, *, grace: bool) -> None:
        """Finish the current requests and close; without grace, abort them too."""
        self.is_closing = True
        if self._timer is not None:
            self._timer.cancel()
        for connection in list(self.open):
            connection.end(grace=grace)

    def bound_unread(self) -> None:
        """Abort the connections with the most unread bytes until the rest is within the bound."""
        unread = {connection: connection.unread_bytes for connection in self.slow}
        while sum(unread.values()) > _UNREAD_MAX_BYTES:
            worst = max(unread, key=unread.__getitem__)
            del unread[worst]
            self.slow.discard(worst)
            worst.end(grace=False)

    def _sweep(self) -> None:
        # one timer for all connections: a timer per request would cost more than many requests do
        self._timer = self.loop.call_later(1.0, self._sweep)
        now = self.loop.time()
        for connection in list(self.open):
            connection.check_time(now)


class _Connection(asyncio.Protocol):
    __slots__ = (
        "_ahead",
        "_ahead_bytes",
        "_body",
        "_body_bytes",
        "_deadline",
        "_header_bytes",
        "_headers",
        "_held_bytes",
        "_is_full",
        "_is_paused",
        "_lingering_bytes",
        "_owner",
        "_parser",
        "_reading_bytes",
        "_target",
        "_task",
        "_transport",
        "_wants_end",
    )  # fmt: skip

    def __init__(self, owner: Connections) -> None:
        self._owner = owner
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._ahead: deque[HttpRequest] = deque()
        self._ahead_bytes = 0
        self._held_bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._deadline = owner.loop.time() + owner.request_s
        self._is_paused = False  # we don't read
        self._is_full = False  # the client doesn't read
        self._wants_end = False
        self._lingering_bytes: int | None = None  # discarded since the refusal, which was the last response
        self._clear()

    def _clear(self) -> None:
        self._target: list[bytes] = []
        self._headers: dict[str, str] = {}
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._reading_bytes = 0  # the part of _held_bytes that belongs to the request being read

    # -- the socket ------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's class isn't a subclass
        self._owner.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._transport = None
        self._ahead.clear()
        self._hold(-self._held_bytes)
        self._owner.slow.discard(self)
        self._owner.open.discard(self)
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        if self._lingering_bytes is not None:
            self._lingering_bytes += len(data)
            if self._lingering_bytes > _LINGER_MAX_BYTES and self._transport is not None:
                self._transport.abort()
            return
        try:
            self._parser.feed_data(data)
        except _RefusedError as refused:
            self._refuse(refused.status, str(refused))
        except httptools.HttpParserUpgrade:
            self._refuse(400, "This server offers no protocol upgrade.")
        except httptools.HttpParserCallbackError as exc:
            refusal = exc.__context__
            if not isinstance(refusal, _RefusedError):
                raise
            self._refuse(refusal.status, str(refusal))
        except httptools.HttpParserError as exc:
            self._refuse(400, f"This is not an HTTP/1.1 request: {exc}.")

    def pause_writing(self) -> None:
        self._is_full = True
        self._owner.slow.add(self)
        self._owner.bound_unread()

    def resume_writing(self) -> None:
        self._is_full = False
        self._owner.slow.discard(self)
        self._next()

    @property
    def unread_bytes(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    # -- the parser ------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._clear()
        self._deadline = self._owner.loop.time() + self._owner.request_s

    def on_url(self, url: bytes) -> None:
        self._grow_header(len(url))
        self._target.append(url)

    def on_header(self, name: bytes, text: bytes) -> None:
        self._grow_header(len(name) + len(text))
        if len(self._headers) >= _HEADERS_MAX:
            raise _RefusedError(431, f"More than {_HEADERS_MAX} header fields.")
        self._headers[name.decode("latin-1").lower()] = text.decode("utf-8", "surrogateescape")

    def on_headers_complete(self) -> None:
        length = self._headers.get("content-length", "")
        if length.isdigit() and int(length) > _BODY_MAX:
            raise _RefusedError(413, f"The body is larger than {_BODY_MAX} bytes.")
        if self._headers.get("expect", "").lower() == "100-continue" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > _BODY_MAX:
            raise _RefusedError(413, f"The body is larger than {_BODY_MAX} bytes.")
        self._read(len(body))
        self._body.append(body)

    def on_message_complete(self) -> None:
        request = HttpRequest(
            method=self._parser.get_method().decode("latin-1"),
            target=b"".join(self._target).decode("latin-1"),
            headers=self._headers,
            body=self._body[0] if len(self._body) == 1 else b"".join(self._body),
            keeps_alive=self._parser.should_keep_alive(),
            size_bytes=self._reading_bytes,
        )
        self._clear()
        self._deadline = self._owner.loop.time() + self._owner.idle_s
        self._ahead.append(request)
        self._ahead_bytes += len(request.body)
        self._next()
        is_much = len(self._ahead) >= _AHEAD_MAX or self._ahead_bytes >= _AHEAD_MAX_BYTES
        if is_much and self._ahead and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def _grow_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > _HEADER_MAX:
            raise _RefusedError(431, f"The header is larger than {_HEADER_MAX} bytes.")
        self._read(size)

    def _read(self, size: int) -> None:
        if self._reading_bytes + size > _SMALL_BYTES and self._owner.held_bytes + size > _HELD_MAX_BYTES:
            raise _RefusedError(503, f"The requests in progress hold {_HELD_MAX_BYTES} bytes together: try again.")
        self._reading_bytes += size
        self._hold(size)

    def _hold(self, size: int) -> None:
        self._held_bytes += size
        self._owner.held_bytes += size

    # -- answers ---------------------------------------------------------------------------------------------------

    def _next(self) -> None:
        while self._ahead and self._task is None and not self._is_full and self._transport is not None:
            request = self._ahead.popleft()
            self._ahead_bytes -= len(request.body)
            try:
                answer = self._owner.handler(request)
            except Exception as exc:  # noqa: BLE001 - one request must not end the others; the loop's handler reports it
                answer = self._owner.failed(exc)
            if isinstance(answer, HttpResponse):
                self._hold(-request.size_bytes)
                self._write(answer, request)
            else:
                self._task = self._owner.loop.create_task(self._answer(answer, request))
        if self._is_paused and not self._ahead and not self._wants_end and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()

    async def _answer(self, answer: Awaitable[HttpResponse], request: HttpRequest) -> None:
        try:
            response = await answer
        except Exception as exc:  # noqa: BLE001 - as above
            response = self._owner.failed(exc)
        finally:
            self._task = None
            if self._transport is not None:  # otherwise connection_lost has released everything
                self._hold(-request.size_bytes)
        self._write(response, request)
        self._next()

    def _write(self, response: HttpResponse, request: HttpRequest) -> None:
        transport = self._transport
        if transport is None:
            return
        if response.data:
            transport.write(response.data)
        if response.is_cut and not response.data:
            transport.abort()
        elif response.is_cut or not request.keeps_alive or self._owner.is_closing:
            self._ahead.clear()
            transport.close()
        elif self._wants_end and not self._ahead:
            transport.close()
        self._deadline = self._owner.loop.time() + self._owner.idle_s

    def _refuse(self, status: int, text: str) -> None:
        """Answer an invalid request after the requests before it, and close."""
        self._wants_end = True
        self._hold(-self._reading_bytes)
        self._clear()
        transport = self._transport
        if transport is None:
            return
        if self._task is None and not self._ahead:
            headers = b"Content-Type: text/plain\r\nConnection: close\r\n"
            transport.write(response_bytes(status, headers, text.encode() + b"\n"))
            self._linger(transport)
        elif not self._is_paused:
            self._is_paused = True
            transport.pause_reading()

    def _linger(self, transport: asyncio.Transport) -> None:
        """Keep reading for a while and discard it.

        Closing with unread bytes resets the connection, and a client that sends its whole request before it reads would
        lose the response.
        """
        self._lingering_bytes = 0
        self._deadline = self._owner.loop.time() + _LINGER_S
        transport.write_eof()

    def check_time(self, now: float) -> None:
        """Close the connection if its client takes too long to send, or is idle for too long."""
        transport = self._transport
        if transport is None or self._task is not None or now < self._deadline:
            return
        if self._lingering_bytes is not None:
            transport.close()
        elif self._is_full:
            transport.abort()  # the client has stopped reading
        elif self._target or self._header_bytes:
            self._refuse(408, f"The request was not complete after {self._owner.request_s:g} s.")
        else:
            transport.close()

    def end(self, *, grace: bool) -> None:
        """Close now, or after the current response."""
        self._wants_end = True
        if self._transport is None:
            return
        if not grace:
            self._transport.abort()
        elif self._task is None:
            self._transport.close()


class _RefusedError(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
