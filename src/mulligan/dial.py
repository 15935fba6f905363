"""Opens TCP connections to hosts by name: every address of a name gets its try, within the one limit of the caller.

A name may have an address that swallows what is sent to it: an IPv6 one without a route, a node that is gone. So the
tries are staggered as RFC 8305 ("happy eyeballs") says: the next one begins when one has failed or has been silent for
a moment, none is given up for that, and the first that connects is taken. asyncio can do it by itself, uvloop can't.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import Any, TypeVar

from mulligan.blocking import in_thread

__all__ = ["STAGGER_S", "connect", "dial"]

P = TypeVar("P", bound=asyncio.BaseProtocol)

STAGGER_S = 0.25
"""How long an address may be silent before the next one is tried as well (RFC 8305, 5)."""

_Address = tuple[socket.AddressFamily, Any]
"""Family, and what `connect` of such a socket takes."""


async def connect(
    make: Callable[[], P], host: str, port: int, *, tls: ssl.SSLContext | None = None
) -> tuple[asyncio.Transport, P]:
    """A connection by `dial`, and the protocol that `make` makes for it. tls: certificates are checked for `host`.

    Raises OSError (ssl.SSLError is one). Has no limit of its own: set one around it.
    """
    sock = await dial(host, port)
    try:
        return await asyncio.get_running_loop().create_connection(
            make, sock=sock, ssl=tls, server_hostname=host if tls is not None else None
        )
    except BaseException:
        sock.close()
        raise


async def dial(host: str, port: int) -> socket.socket:
    """A connected socket to that port of the host, non-blocking; the caller closes it.

    host: a name or an address, IPv6 without brackets. Raises OSError, with what each address said, when none connects,
    and when the name has none. Has no limit of its own: set one around it, which then holds for all of this.
    """
    waiting = deque(_in_turns(await _addresses(host, port)))
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
    except socket.gaierror:  # a name: whoever answers may take his time
        found = await in_thread(lambda: _look_up(host, port, 0))
    return list(dict.fromkeys(found))


def _look_up(host: str, port: int, flags: int) -> list[_Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError as exc:  # a label that is empty or too long
        raise OSError(f"{host[:100]!r} is no name of a host: {exc}") from None
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
