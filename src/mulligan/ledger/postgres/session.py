"""One connection to the server: made when it is first needed, and again after it was lost."""

import asyncio
from collections.abc import Awaitable, Callable
from ssl import SSLContext
from typing import Any, TypeVar

import asyncpg

from mulligan import dial
from mulligan.core.error import LedgerError
from mulligan.fork import keep_transport
from mulligan.ledger.postgres.address import Address
from mulligan.ledger.postgres.fault import (
    CLIENT_ERRORS,
    breaks_connection,
    connecting_fault,
    is_nameless,
    nameless,
    opening_fault,
    translate,
)

__all__ = ["Connection", "Limits", "Session"]

T = TypeVar("T")
P = TypeVar("P", bound=asyncio.BaseProtocol)
Connection = Any
"""asyncpg's, which has no types."""

CONNECT_S = 10.0
CALL_S = 10.0
"""A statement takes milliseconds; after this long the server is taken as gone."""

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


class _Dialling:
    """An event loop for asyncpg whose connections try all addresses of a host, each host within its share of seconds.

    The client itself tries hosts, and the addresses of each, one after the other, and gives them one limit together:
    the first one that swallows what is sent to it would take it whole.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, share_s: float) -> None:
        self._loop = loop
        self._share_s = share_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(
        self, make: Callable[[], P], host: str, port: int, *, ssl: SSLContext | None = None
    ) -> tuple[asyncio.Transport, P]:
        """As the client calls it. Raises OSError (TimeoutError is one), upon which it goes on to the next host."""
        async with asyncio.timeout(self._share_s):
            return await dial.connect(make, host, port, tls=ssl)


class Session:
    """A connection for one use at a time; whoever comes meanwhile waits."""

    def __init__(self, address: Address, limits: Limits) -> None:
        self._address = address
        self._limits = limits
        self._lock = asyncio.Lock()
        self._connection: Connection | None = None
        self._is_closed = False

    async def run(self, action: Callable[[Connection], Awaitable[T]], *, is_opening: bool = False) -> T:
        """What `action` gives for the connection. Raises LedgerUnavailable, LedgerError, StorageBroken.

        After LedgerUnavailable the statement may have happened all the same.
        is_opening: what the user can correct is a ConfigurationError. Later it is waited for: it was right once.
        """
        async with self._lock:
            if self._is_closed:
                raise LedgerError(f"ledger {self._address.shown} is closed. Make a new object to open it again.")
            fault = opening_fault if is_opening else connecting_fault
            try:
                connection = await self._connected()
                fault = opening_fault if is_opening else translate
                return await action(connection)
            except CLIENT_ERRORS as exc:
                self._drop_if(breaks_connection(exc))
                raise fault(exc, self._address.shown) from None
            except asyncio.CancelledError:
                self._drop_if(True)  # whatever comes next would be the answer to what was cancelled
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
        address, limits, loop = self._address, self._limits, asyncio.get_running_loop()
        share_s = limits.connect_s / address.host_count
        try:
            connection = self._connection = await asyncpg.connect(
                address.url,
                host=list(address.hosts) if address.hosts else None,
                ssl=address.ssl,
                timeout=limits.connect_s,
                command_timeout=limits.call_s,
                loop=_Dialling(loop, share_s),
            )
        except (KeyError, OSError) as exc:
            if is_nameless(exc):
                raise nameless(address.shown) from None
            raise
        connection._loop = loop  # noqa: SLF001 - it asks asyncio for the task that runs on it
        keep_transport(connection._transport)  # noqa: SLF001 - there is no other way to its socket
        await connection.execute(_SETTINGS, f"{int(limits.call_s * 1000 * _SERVER_ENDS_AFTER)}ms")
        return connection

    def _drop_if(self, is_useless: bool) -> None:
        if is_useless and self._connection is not None:
            self._connection.terminate()
            self._connection = None
