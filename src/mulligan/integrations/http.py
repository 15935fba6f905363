"""One HTTP client a process, and one call of it: a reply, or a `Fault` that says whether the request was sent.

The only module that knows httpx. It is imported when the first call is made, so that the application starts without
the extra as long as no task needs it.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from mulligan.core.url import ESCAPES
from mulligan.core.value import value
from mulligan.integrations.failure import Ambiguous, Fault, NotSent, RateLimited, Refused

if TYPE_CHECKING:
    import httpx

__all__ = ["DEADLINE_S", "REPLY_MAX_BYTES", "Reply", "call", "close", "fault_of", "wait_asked"]

DEADLINE_S = 15.0
"""Seconds for one call in all: below the grace of a shutdown, so that a call ends with an answer rather than cut."""
CONNECT_S = 5.0
REPLY_MAX_BYTES = 32 * 1024 * 1024
WAIT_MAX_S = 6 * 3600.0

# A client belongs to the loop that it was made in; a process has one, whatever number of tasks share it.
_clients: "WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient]" = WeakKeyDictionary()


@value
class Reply:
    """What came back. headers: names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        """The body as JSON; None when it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def text(self) -> str:
        """The beginning of the body in one line, for an error text."""
        return " ".join(self.body[:2000].decode("utf-8", "replace").split())[:300]


async def call(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    params: Mapping[str, str | int] | None = None,
    data: Any = None,
    content: bytes | None = None,
) -> Reply:
    """Send one request; its reply, whatever the status. data: sent as JSON. Redirects are not followed.

    Raises NotSent when the service can't have got it, Ambiguous when it may have, Refused for impossible headers.
    """
    import httpx

    for name, one in headers.items():
        if not (one.isascii() and one.isprintable()):  # the client's own text would show the token
            raise Refused(f"the request can't be sent: its header {name!r} holds a character that none may have")
    client = _client()
    timed_out = Ambiguous(f"no reply within {DEADLINE_S:g} s")
    try:
        async with (
            asyncio.timeout(DEADLINE_S),
            client.stream(method, url, headers=dict(headers), params=params, json=data, content=content) as response,
        ):
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > REPLY_MAX_BYTES:
                    raise Ambiguous(f"its reply has more than {REPLY_MAX_BYTES} bytes")
            return Reply(
                response.status_code, {name.lower(): one for name, one in response.headers.items()}, bytes(body)
            )
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as exc:
        raise NotSent(f"can't be reached: {_reason(exc)}") from None
    except httpx.InvalidURL:  # its words quote the URL, whose path and query may be a secret
        raise NotSent("the request can't be sent: its URL can't be read") from None
    except (httpx.UnsupportedProtocol, httpx.LocalProtocolError) as exc:
        raise NotSent(f"the request can't be sent: {_reason(exc)}") from None
    except (httpx.TransportError, httpx.DecodingError) as exc:
        raise Ambiguous(f"the reply was lost: {_reason(exc)}") from None
    except TimeoutError:
        raise timed_out from None


async def close() -> None:
    """Close the client of the running loop, for programs that close their loop. A later call makes a new one."""
    client = _clients.pop(asyncio.get_running_loop(), None)
    if client is not None:
        await client.aclose()


def wait_asked(reply: Reply, now: float) -> float | None:
    """Seconds that the reply asks to wait (Retry-After, as seconds or as a date); None when it doesn't say."""
    raw = reply.headers.get("retry-after", "").strip()
    try:
        wait_s = float(raw)
    except ValueError:
        try:
            wait_s = parsedate_to_datetime(raw).timestamp() - now
        except (ValueError, TypeError):
            return None
    # `not <=`: NaN, too
    return None if not wait_s <= 1e12 else min(max(0.0, wait_s), WAIT_MAX_S)


def fault_of(reply: Reply, reason: str, now: float, *, limited_s: float = 10.0) -> Fault:
    """The fault of a reply that is not a success, by its status. limited_s: the wait when a 429 names none."""
    text = f"{reply.status} {reason}"
    if reply.status == 429:
        asked_s = wait_asked(reply, now)
        return RateLimited(text, limited_s if asked_s is None else asked_s)
    if reply.status >= 500 or reply.status in (408, 425):
        return Ambiguous(text, wait_asked(reply, now))
    if 200 <= reply.status < 300:
        return Ambiguous(f"{text}: not the reply that was expected")
    return Refused(text)


def _client() -> "httpx.AsyncClient":
    import httpx

    loop = asyncio.get_running_loop()
    client = _clients.get(loop)
    if client is None:
        # at INFO it logs every URL that was called: that of a webhook is a secret
        logging.getLogger("httpx").setLevel(logging.WARNING)
        try:
            client = httpx.AsyncClient(
                timeout=httpx.Timeout(DEADLINE_S, connect=CONNECT_S, pool=CONNECT_S),
                limits=httpx.Limits(max_connections=20, max_keepalive_connections=10, keepalive_expiry=20.0),
                headers={"user-agent": "mulligan"},
                follow_redirects=False,
            )
        except (httpx.InvalidURL, ValueError):  # their words quote the proxy's URL
            raise NotSent(
                "the request can't be sent: the proxy of HTTPS_PROXY, HTTP_PROXY or ALL_PROXY is not http://HOST:PORT; "
                f"{ESCAPES}"
            ) from None
        _clients[loop] = client
    return client


def _reason(exc: Exception) -> str:
    text = str(exc)
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__
