"""One connection to the server: made when it is first needed, and again after it was lost."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ssl import SSLContext
from typing import Any, TypeVar

import asyncpg

from mulligan import dial
from mulligan.core.error import LedgerError, LedgerUnavailable
from mulligan.fork import keep_transport
from mulligan.ledger.postgres.address import Address
from mulligan.ledger.postgres.fault import (
    CLIENT_ERRORS,
    breaks_connection,
    connecting_fault,
    fault_of_all,
    is_nameless,
    nameless,
    opening_fault,
    translate,
)

__all__ = ["Connection", "Limits", "Servers", "Session"]

T = TypeVar("T")
P = TypeVar("P", bound=asyncio.BaseProtocol)
Host = tuple[str | None, int | None]
"""Name and port; None for what the URL says."""
Connection = Any
"""asyncpg's, which has no types."""

CONNECT_S = 10.0
CALL_S = 10.0
"""A statement takes milliseconds; after this long the server is taken as gone."""

_USER_TIMEOUT_MS = 5_000
"""How long what was sent may be unacknowledged: the kernel of a host that lives does that at once, however busy its
server is.
"""

CLOSE_S = 2.0
_SERVER_ENDS_AFTER = 0.8  # of our own patience: so that a statement that waits is ended there, and its session stays

# set after connecting, not with it: a pooler in between refuses start-up parameters that it doesn't know.
# Every statement finds its rows by primary key. A plan that was made while the table was small would read it whole, and
# is kept for as long as the session lives.
_SETTINGS = """
SELECT set_config('statement_timeout', $1, false), set_config('lock_timeout', $1, false),
    set_config('idle_in_transaction_session_timeout', '60s', false),
    set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off', false),
    set_config('enable_mergejoin', 'off', false), set_config('jit', 'off', false),
    set_config('synchronous_commit', CASE current_setting('synchronous_commit')
        WHEN 'off' THEN 'on' WHEN 'local' THEN 'on' ELSE current_setting('synchronous_commit') END, false)"""


class Limits:
    """Seconds for connecting and for one call; a test makes them short."""

    def __init__(self, connect_s: float = CONNECT_S, call_s: float = CALL_S) -> None:
        self.connect_s = connect_s
        self.call_s = call_s


class Servers:
    """Which of the hosts, and which of a host's addresses, is tried first: what did not serve comes last.

    One for all sessions of a ledger: what one has learned holds for the others.
    """

    def __init__(self, address: Address) -> None:
        self._hosts = address.servers or ((None, None),)
        self._failed = dial.Failed()
        self.addresses = dial.Failed()
        """The same of the addresses that the hosts' names stand for."""

    def __len__(self) -> int:
        return len(self._hosts)

    def in_turn(self) -> list[Host]:
        """Those that have not failed first."""
        return self._failed.last(self._hosts, _name)

    def failed(self, host: Host, peer: str = "") -> None:
        """It did not serve. peer: the address that it was, if it came to that."""
        self._failed.add(_name(host))
        self.addresses.add(peer)

    def served(self, host: Host, peer: str) -> None:
        """It can be used."""
        self._failed.discard(_name(host))
        self.addresses.discard(peer)


class _Dialling:
    """An event loop for asyncpg whose connections try all addresses of a host, those last that did not serve.

    peer: the address of the last one that was made; "" before, and for a socket file.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, failed: dial.Failed) -> None:
        self._loop = loop
        self._failed = failed
        self.peer = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(
        self, make: Callable[[], P], host: str, port: int, *, ssl: SSLContext | None = None
    ) -> tuple[asyncio.Transport, P]:
        """As the client calls it. Raises OSError."""
        transport, protocol = await dial.connect(make, host, port, tls=ssl, failed=self._failed)
        self.peer = dial.peer_of(transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux: what was sent and is not acknowledged
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
        return transport, protocol


class Session:
    """A connection for one use at a time; other callers wait."""

    def __init__(self, address: Address, limits: Limits, servers: Servers | None = None) -> None:
        self._address = address
        self._limits = limits
        self._servers = servers or Servers(address)
        self._lock = asyncio.Lock()
        self._connection: Connection | None = None
        self._host: Host = (None, None)
        self._peer = ""
        self._is_closed = False

    async def run(self, action: Callable[[Connection], Awaitable[T]], *, is_opening: bool = False) -> T:
        """What `action` gives for the connection. Raises LedgerUnavailable, LedgerError, StorageBroken.

        After LedgerUnavailable the statement may have happened all the same.
        is_opening: what the user can correct is a ConfigurationError. Later it is waited for: it was right once.
        """
        async with self._lock:
            if self._is_closed:
                raise LedgerError(f"ledger {self._address.shown} is closed. Create a new object to open it again.")
            fault = opening_fault if is_opening else connecting_fault
            try:
                connection = await self._connected()
                fault = opening_fault if is_opening else translate
                return await action(connection)
            except CLIENT_ERRORS as exc:
                if breaks_connection(exc):
                    self._pass_over()
                raise fault(exc, self._address.shown) from None
            except LedgerUnavailable:  # the action found that this server is of no use now
                self._pass_over()
                raise
            except asyncio.CancelledError:
                self._drop()  # whatever comes next would be the answer to what was cancelled
                raise

    async def close(self) -> None:
        """Let go of the connection. Twice is once."""
        self._is_closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close(timeout=CLOSE_S)
            except CLIENT_ERRORS:
                connection.terminate()

    async def _connected(self) -> Connection:
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        faults: list[tuple[str, Exception]] = []
        silent: list[Host] = []
        for host in self._servers.in_turn():
            dialling = _Dialling(asyncio.get_running_loop(), self._servers.addresses)
            try:
                async with asyncio.timeout(self._limits.connect_s / len(self._servers)):
                    self._connection, self._host = await self._connect(host, dialling), host
            except CLIENT_ERRORS as exc:
                if is_nameless(exc):
                    raise nameless(self._address.shown) from None
                faults.append((_name(host), exc))
                self._servers.failed(host, dialling.peer)
                if isinstance(exc, TimeoutError):
                    silent.append(host)
            except KeyError as exc:
                if is_nameless(exc):
                    raise nameless(self._address.shown) from None
                raise
            else:
                self._peer = dialling.peer
                self._servers.served(host, dialling.peer)
                return self._connection
        for host in silent:  # it takes its whole share of the time, so the others come before it
            self._servers.failed(host)
        raise fault_of_all(faults, self._address.shown)

    async def _connect(self, host: Host, dialling: _Dialling) -> Connection:
        """Of that host, or of what the URL says: ready for use. Has no limit of its own."""
        address, limits = self._address, self._limits
        name, port = host
        connection = await asyncpg.connect(
            address.url,
            host=name or (list(address.hosts) if address.hosts else None),
            port=port,
            ssl=address.ssl,
            timeout=limits.connect_s,
            command_timeout=limits.call_s,
            loop=dialling,
        )
        try:
            connection._loop = asyncio.get_running_loop()  # noqa: SLF001 - it asks asyncio for the task that runs on it
            keep_transport(connection._transport)  # noqa: SLF001 - there is no other way to its socket
            await connection.execute(_SETTINGS, f"{int(limits.call_s * 1000 * _SERVER_ENDS_AFTER)}ms")
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _pass_over(self) -> None:
        """This server can't be used now: the next try begins with another, if there is one."""
        if self._connection is not None:
            self._servers.failed(self._host, self._peer)
        self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def _name(host: Host) -> str:
    name, port = host
    return f"{name or ''}" if port is None else f"{name}:{port}"
