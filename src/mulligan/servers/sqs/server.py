"""The server, wired together: `serve` starts it in a running loop, `run_server` as a program."""

import asyncio
import errno
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mulligan.brokers.base import Clock
from mulligan.clock import SystemClock
from mulligan.core.error import ConfigurationError, StorageBroken
from mulligan.core.secret import redacted_url
from mulligan.servers.sqs.actions.context import Limits
from mulligan.servers.sqs.auth.host import Hosts, is_loopback
from mulligan.servers.sqs.auth.key import Key
from mulligan.servers.sqs.auth.signature import Verifier
from mulligan.servers.sqs.dispatch import Backend, MemoryBackend
from mulligan.servers.sqs.faults import script as fault_scripts
from mulligan.servers.sqs.faults.control import Control
from mulligan.servers.sqs.faults.inject import FaultInjector
from mulligan.servers.sqs.faults.script import Faults, Script
from mulligan.servers.sqs.handler import ActionHandler, Router
from mulligan.servers.sqs.long_poll import LongPolls
from mulligan.servers.sqs.wire.http import Connections
from mulligan.servers.sqs.wire.response import Counters, Responder
from mulligan.servers.sqs.wire.schema import new_id
from mulligan.storage import url as urls

__all__ = ["ACCOUNT", "DEFAULT_KEY", "Server", "run_server", "serve"]

ACCOUNT = "000000000000"
DEFAULT_KEY = Key("mulligan", "mulligan")
"""Accepted when no keys are given; only on a loopback address."""

_BACKLOG = 1_024
_PORT_MAX = 65_535


class Server:
    """A running server. Tests may use its `faults` and `counters`.

    broken: done once the storage can't be trusted any more; the owner must then close the server and not restart it.
    """

    def __init__(
        self,
        listener: asyncio.Server,
        connections: Connections,
        polls: LongPolls,
        backend: Backend,
        faults: Faults,
        counters: Counters,
        broken: "asyncio.Future[StorageBroken]",
    ) -> None:
        self._listener = listener
        self._connections = connections
        self._polls = polls
        self._backend = backend
        self.faults = faults
        self.counters = counters
        self.broken = broken
        self.host, self.port = listener.sockets[0].getsockname()[:2]

    @property
    def url(self) -> str:
        """The endpoint for AWS_ENDPOINT_URL_SQS."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def look_again(self) -> None:
        """Make waiting receives look again; only needed when a test's clock has jumped."""
        self._polls.look_again()

    async def close(self) -> None:
        """Answer requests in progress, long polls with no message, and stop. A second call does nothing."""
        self._listener.close()
        self._polls.close()
        self._connections.close(grace=True)
        for _ in range(100):
            if not self._connections.open:
                break
            await asyncio.sleep(0.01)
        self._connections.close(grace=False)
        await self._listener.wait_closed()
        await self._backend.close()


async def serve(
    *,
    clock: Clock,
    host: str = "127.0.0.1",
    port: int = 0,
    keys: Sequence[Key] | None = None,
    allows_remote: bool = False,
    verifies: bool = True,
    script: Script | None = None,
    has_control: bool = False,
    limits: Limits | None = None,
    region: str = "us-east-1",
    backend: Backend | None = None,
    request_s: float = 30.0,
    idle_s: float = 120.0,
    also_hosts: Sequence[str] = (),
) -> Server:
    """Start a server in the running loop.

    port: 0 for any free one; see `Server.port`.
    keys: the accepted ones; None for DEFAULT_KEY.
    allows_remote: required for an address that other hosts can reach.
    verifies: False accepts every request unsigned, for benchmarks.
    script: faults; has_control lets HTTP requests change them.
    region: of requests whose signature is not verified; otherwise it is in the signature.
    backend: where actions are carried out; None for memory.
    request_s, idle_s: see `Connections`.
    also_hosts: names that a Host header may have besides the loopback ones, for a server on a loopback address.
    Raises ConfigurationError when the address can't be used, or should not be.
    """
    _check_address(host, keys, allows_remote=allows_remote, verifies=verifies)
    if not 0 <= port <= _PORT_MAX:
        raise ConfigurationError([f"--port {port}: expected 1 to {_PORT_MAX}, or 0 for any free one."])
    loop = asyncio.get_running_loop()
    backend = backend or MemoryBackend(limits or Limits(), new_id)
    polls = LongPolls(backend, clock, loop)
    await backend.open(polls.wake)
    faults, counters = Faults(script), Counters()
    responder = Responder(counters)
    actions = ActionHandler(
        polls.run,
        responder,
        clock,
        verifier=Verifier(keys or (DEFAULT_KEY,)) if verifies else None,
        account=ACCOUNT,
        region=region,
    )
    router = Router(
        FaultInjector(actions, faults, counters, responder, clock).handle,
        Control(faults, counters, responder, clock, is_enabled=has_control).handle,
        counters,
        responder,
        clock,
        hosts=Hosts(also_hosts) if is_loopback(host) else None,
    )
    connections = Connections(router.handle, loop, request_s=request_s, idle_s=idle_s)
    try:
        listener = await loop.create_server(connections.make, host, port, backlog=_BACKLOG)
    except OSError as exc:
        await backend.close()
        raise ConfigurationError([_unusable(host, port, exc)]) from None
    polls.move()
    return Server(listener, connections, polls, backend, faults, counters, actions.broken)


def _unusable(host: str, port: int, exc: OSError) -> str:
    problem = f"The SQS server can't listen on {host}:{port}"
    if exc.errno != errno.EADDRINUSE:
        return f"{problem} ({exc.strerror}): choose another --port or --host."
    return (
        f"{problem}: another program does. Is another `make run` or `mulligan sqs-server` running? "
        "The rest of a `make run` works without it. For another port: make run ARGS='--with-sqs-server 9325', "
        "mulligan sqs-server --port 9325."
    )


def _embedded(db: str, clock: Clock, limits: Limits, base_dir: Path) -> Backend:
    from mulligan.servers.sqs.embedded import EmbeddedBackend

    urls.scheme_of(db, "--db", ("sqlite",))
    return EmbeddedBackend(urls.sqlite_path(db, "--db", base_dir), clock, limits, new_id)


def _check_address(host: str, keys: Sequence[Key] | None, *, allows_remote: bool, verifies: bool) -> None:
    if is_loopback(host):
        return
    problems = []
    if not allows_remote:
        problems.append(f"--host {host}: other hosts could reach this address; allow that with --allow-remote.")
    if not keys:
        problems.append(f"--host {host}: the default key is public; give your own keys with --keys FILE.")
    if not verifies:
        problems.append(f"--host {host}: --no-verify is for 127.0.0.1 only.")
    if problems:
        raise ConfigurationError(problems)


def run_server(
    *,
    port: int = 9324,
    host: str = "127.0.0.1",
    db: str | None = None,
    fault_script: Path | None = None,
    keys: Sequence[Key] | None = None,
    allows_remote: bool = False,
    verifies: bool = True,
    has_control: bool = False,
    is_lenient: bool = False,
    also_hosts: Sequence[str] = (),
    base_dir: Path | None = None,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
) -> int:
    """Run a server until SIGINT or SIGTERM; the exit code.

    db: URL of the embedded queue (`sqlite:///var/mulligan.db`); None for queues in memory.
    is_lenient: a queue can be created again, and purged again, within 60 s.
    also_hosts: see `serve`.
    base_dir: where relative paths start; None for the current folder.
    Raises ConfigurationError for what the user can correct, StorageBroken for a disk that can't be trusted.
    """
    script = fault_scripts.read(fault_script) if fault_script else None
    limits = Limits(purge_s=0.0, recreate_s=0.0) if is_lenient else Limits()

    async def main() -> int:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        clock = SystemClock()
        backend = _embedded(db, clock, limits, base_dir or Path.cwd()) if db else None
        server = await serve(
            clock=clock,
            host=host,
            port=port,
            keys=keys,
            allows_remote=allows_remote,
            verifies=verifies,
            script=script,
            has_control=has_control or script is not None,
            limits=limits,
            backend=backend,
            also_hosts=also_hosts,
        )
        place = redacted_url(db) if db else "in memory"
        signs = "" if keys else f" AWS_ACCESS_KEY_ID={DEFAULT_KEY.id} AWS_SECRET_ACCESS_KEY={DEFAULT_KEY.secret}"
        say(f"SQS on {server.url} ({place}). For producers: export AWS_ENDPOINT_URL_SQS={server.url}{signs}")
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait((stopping, server.broken), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        await server.close()
        if server.broken.done():
            raise server.broken.result()
        say("SQS server stopped.")
        return 0

    try:
        import uvloop
    except ImportError:
        return asyncio.run(main())
    return uvloop.run(main())
