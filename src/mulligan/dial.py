"""Opens TCP connections to hosts by name: every address of a name gets its try, within the one limit of the caller.

A name may have an address that swallows what is sent to it: an IPv6 one without a route, a node that is gone. So the
tries are staggered as RFC 8305 ("happy eyeballs") says: the next one begins when one has failed or has been silent for
a moment, none is given up for that, and the first that connects is taken. asyncio has this built in, uvloop has not.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, zip_longest
from typing import Any, TypeVar

from mulligan.blocking import in_thread

__all__ = ["STAGGER_S", "Failed", "connect", "dial", "peer_of"]

P = TypeVar("P", bound=asyncio.BaseProtocol)
N = TypeVar("N")

STAGGER_S = 0.25
"""How long an address may be silent before the next one is tried as well (RFC 8305, 5)."""

_FAILED_MAX = 100
"""Addresses that are remembered: a name may have new ones each hour."""

_Address = tuple[socket.AddressFamily, Any]
"""Family, and what `connect` of such a socket takes."""


class Failed:
    """Addresses whose server did not serve, of one client: it takes connections and says nothing, or can't do what is
    asked of it. The next connection tries the others first, then what failed longest ago.
    """

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def add(self, name: str) -> None:
        """This one did not serve just now. "" is none."""
        if not name:
            return
        self._names.pop(name, None)
        self._names[name] = None
        if len(self._names) > _FAILED_MAX:
            del self._names[next(iter(self._names))]

    def discard(self, name: str) -> None:
        """This one has served."""
        self._names.pop(name, None)

    def last(self, names: Iterable[N], key: Callable[[N], str]) -> list[N]:
        """The names in their order, but those that failed last, the latest at the end. key: as `add` has it."""
        ranks = {name: rank for rank, name in enumerate(self._names)}
        return sorted(names, key=lambda one: ranks.get(key(one), -1))


async def connect(
    make: Callable[[], P],
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext | None = None,
    failed: Failed | None = None,
) -> tuple[asyncio.Transport, P]:
    """A connection by `dial`, and the protocol that `make` makes for it. tls: certificates are checked for `host`.

    failed: as in `dial`; an address that doesn't answer the TLS handshake is one more.
    Raises OSError (ssl.SSLError is one). Has no limit of its own: set one around it.
    """
    sock = await dial(host, port, failed=failed)
    peer = sock.getpeername()[0] if failed is not None else ""
    try:
        return await asyncio.get_running_loop().create_connection(
            make, sock=sock, ssl=tls, server_hostname=host if tls is not None else None
        )
    except BaseException:
        if failed is not None:
            failed.add(peer)
        sock.close()
        raise


async def dial(host: str, port: int, *, failed: Failed | None = None) -> socket.socket:
    """A connected socket to that port of the host, non-blocking; the caller closes it.

    host: a name or an address, IPv6 without brackets. failed: addresses to be tried last. Raises OSError, with what
    each address said, when none connects, and when the name has none. Has no limit of its own: set one around it, which
    then holds for all of this.
    """
    addresses = _in_turns(await _addresses(host, port))
    waiting = deque(addresses if failed is None else failed.last(addresses, lambda one: str(one[1][0])))
    trying: set[asyncio.Task[socket.socket]] = set()
    faults: list[OSError] = []
    try:
        while waiting or trying:
            if waiting:
                trying.add(asyncio.get_running_loop().create_task(_try(*waiting.popleft())))
            ended, _ = await asyncio.wait(
                trying, timeout=STAGGER_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in ended:
                if (error := task.exception()) is None:
                    trying.discard(task)
                    return task.result()
                trying.discard(task)
                if not isinstance(error, OSError):
                    raise error
                faults.append(error)
    finally:
        for task in trying:
            task.cancel()
            task.add_done_callback(_close)
    raise _fault(host, faults)


async def _addresses(host: str, port: int) -> list[_Address]:
    try:
        found = _look_up(host, port, socket.AI_NUMERICHOST)
    except socket.gaierror:  # a name: the resolver may take long
        found = await in_thread(lambda: _look_up(host, port, 0))
    return list(dict.fromkeys(found))


def _look_up(host: str, port: int, flags: int) -> list[_Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError as exc:  # a label that is empty or too long
        raise OSError(f"{host[:100]!r} is not a name of a host: {exc}") from None
    return [(family, address) for family, _, _, _, address in found]


def _in_turns(addresses: Sequence[_Address]) -> list[_Address]:
    """Families by turns (RFC 8305, 4): one that doesn't work as a whole costs one wait then. Their own order stays."""
    families = dict.fromkeys(family for family, _ in addresses)
    rows = ([one for one in addresses if one[0] == family] for family in families)
    return [one for one in chain.from_iterable(zip_longest(*rows)) if one is not None]


async def _try(family: socket.AddressFamily, address: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _close(task: "asyncio.Task[socket.socket]") -> None:
    """Close what a try brings that nobody needs any more."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _fault(host: str, faults: Sequence[OSError]) -> OSError:
    if len(faults) == 1:
        return faults[0]
    if not faults:
        return OSError(f"{host} has no address")
    return OSError(f"none of the {len(faults)} addresses of {host} takes a connection: {'; '.join(map(str, faults))}")


def peer_of(transport: asyncio.BaseTransport) -> str:
    """The address at the other end, as `Failed` takes it; "" where there is none: a file, or closed by now."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""
