"""A worker process: `main`, with DESCRIPTOR and TABLE as arguments. Started by the supervisor only (see `ipc.child`).

It loads the tasks and serves them (`worker`): it reports that it is ready, works from `Go` on, and drains at `Stop`, at
SIGTERM, or when the supervisor is gone. Then the hooks of `atexit` have a few seconds. An exit without `Drained` counts
as a crash, whatever its code.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from mulligan import fork
from mulligan.core.error import ConfigurationError
from mulligan.tasks import loader
from mulligan.tasks.registry import TaskRegistry
from mulligan.telemetry.hub import Hub
from mulligan.telemetry.log import configure
from mulligan.worker.extension import load_functions
from mulligan.worker.host import Host
from mulligan.worker.ipc.channel import Problems, Setup, SocketChannel, from_supervisor, hear, send_early
from mulligan.worker.ipc.child import OWN_MARK, become, leave
from mulligan.worker.ipc.lease_table import LeaseTable
from mulligan.worker.ipc.leftover import end_leftovers
from mulligan.worker.ipc.parent_death import die_with_parent, outlive_parent
from mulligan.worker.loop import run_and_leave
from mulligan.worker.process import stack
from mulligan.worker.process.worker import FATAL, Worker, report_error
from mulligan.worker.system_host import SystemHost

__all__ = ["main"]

T = TypeVar("T")


def main() -> None:
    """Serve until stopped."""
    end, table = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    become(end, table)
    stack.register(table)  # the supervisor asks for stacks before it kills
    try:
        code, is_orphan = _serve(end, table)
    except BaseException:  # noqa: BLE001 - whatever it was, it must not keep a process that does nothing any more
        report_error(sys.exception())
        code, is_orphan = FATAL, False
    leave(code)
    if is_orphan:  # nobody else is left to do it
        end_leftovers(os.getpid(), OWN_MARK, patience_s=0.0)
    os._exit(code)


def _serve(end: socket.socket, table_descriptor: int) -> tuple[int, bool]:
    """The exit code, and whether the supervisor is gone.

    User code is loaded before there is an event loop, as on the command line: much of it begins one of its own.
    """
    die_with_parent()  # nobody listens to the supervisor meanwhile
    setup = hear(end, from_supervisor)
    if not isinstance(setup, Setup):
        return FATAL, False
    settings, folder = setup.settings, Path(setup.folder)
    host = SystemHost()
    began_at = host.clock.monotonic()
    problems: list[str] = []
    middleware = _checked(problems, lambda: load_functions(settings.middleware, "MIDDLEWARE", folder))
    listeners = _checked(problems, lambda: load_functions(settings.listeners, "LISTENERS", folder))
    hub = _checked(
        problems,
        lambda: configure(settings, worker=setup.worker, rotates=False, now=host.clock.now, listeners=listeners or ()),
    )
    registry = _checked(
        problems,
        lambda: loader.load(
            folder,
            tasks_file=settings.tasks_xml_file,
            defaults=settings.policy,
            drops_unrouted=settings.on_unrouted == "drop",
        ),
    )
    if fork.FORKED.is_true:  # by a file that was imported
        fork.end()
    if middleware is None or hub is None or registry is None:
        send_early(end, Problems(problems))
        return 2, False
    loaded_s = host.clock.monotonic() - began_at
    outlive_parent()
    table = LeaseTable(table_descriptor, setup.table_slots)
    return run_and_leave(_work(host, end, setup, table, registry, hub, middleware, loaded_s))


async def _work(
    host: Host,
    end: socket.socket,
    setup: Setup,
    table: LeaseTable,
    registry: TaskRegistry,
    hub: Hub,
    middleware: Sequence[Callable[..., object]],
    loaded_s: float,
) -> tuple[int, bool]:
    fork.sole_loop(asyncio.get_running_loop())
    channel = await SocketChannel.open(end, from_supervisor)
    worker = Worker(host, setup, channel, table, registry, hub, loaded_s)
    signal.signal(signal.SIGTERM, worker.terminated)
    fork.keep_handler(signal.SIGTERM)
    return await worker.serve(middleware), worker.is_orphan


def _checked(problems: list[str], make: Callable[[], T]) -> T | None:
    """What `make` gives; None when it has problems, which are added to the others."""
    try:
        return make()
    except ConfigurationError as exc:
        problems.extend(exc.problems)
        return None
