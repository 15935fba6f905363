"""The machine itself: `Host` of processes, threads, clocks and folders as the system has them."""

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from socket import socket
from typing import TypeVar

from msgspec.msgpack import Decoder

from mulligan.brokers.base import Broker
from mulligan.brokers.open import open_broker
from mulligan.clock import SystemClock
from mulligan.core.event import Event
from mulligan.environ import ENVIRON
from mulligan.ledger.base import Ledger
from mulligan.ledger.open import open_ledger
from mulligan.storage.body import BodyFolder, BodyStore
from mulligan.worker.failpoint import inherited
from mulligan.worker.host import Started, ThreadPool
from mulligan.worker.ipc import build
from mulligan.worker.ipc.channel import (
    Channel,
    FromIsolated,
    FromWorker,
    Setup,
    SocketChannel,
    from_isolated,
    from_worker,
)
from mulligan.worker.ipc.child import spawn
from mulligan.worker.ipc.lease_table import LeaseTable
from mulligan.worker.pipeline.thread_pool import Threads

__all__ = ["SystemHost"]

T = TypeVar("T")
Item = TypeVar("Item")
Result = TypeVar("Result")


class SystemHost:
    """As this process sees it. clock: another than the machine's, for tests."""

    def __init__(self, clock: SystemClock | None = None) -> None:
        self.clock = clock or SystemClock()

    def cores(self) -> int:
        """See the seam."""
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def is_changed(self) -> bool:
        """See the seam."""
        return build.is_changed()

    def open_broker(self, url: str, emit: Callable[[Event], None], folder: Path) -> Broker:
        """See the seam."""
        return open_broker(url, clock=self.clock, emit=emit, base_dir=folder)

    def open_ledger(self, url: str, folder: Path) -> Ledger:
        """See the seam."""
        return open_ledger(url, clock=self.clock, base_dir=folder)

    def open_bodies(self, folder: Path) -> BodyStore:
        """See the seam."""
        return BodyFolder(folder)

    def replace_file(self, file: Path, text: str) -> None:
        """See the seam."""
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(file.name + ".new")
        draft.write_text(text)
        draft.replace(file)

    def tokens(self) -> Callable[[], str]:
        """A random part per process, a number per claim."""
        stem, numbers = secrets.token_hex(6), count(1)
        return lambda: f"{stem}{next(numbers):x}"

    def slots_for(self, capacity: int) -> int:
        """As many as are in flight, and as many again and more for those that are being settled."""
        return 2 * capacity + 256

    def new_table(self, slots: int) -> LeaseTable:
        """See the seam."""
        return LeaseTable.create(slots)

    def threads(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Callable[[Item], Result],
        ended: Callable[[list[tuple[Item, Result]]], None],
        short: Callable[[int, str], None],
    ) -> ThreadPool[Item]:
        """See the seam."""
        return Threads(loop, work, ended, short)

    async def start_worker(self, setup: Setup, table: LeaseTable, *, is_first: bool) -> Started[FromWorker]:
        """See the seam."""
        env = inherited(ENVIRON, is_first=is_first)
        ours, process = spawn(
            "mulligan.worker.process.worker_process", table.descriptor, folder=Path(setup.folder), env=env
        )
        return Started(process, _connecting(ours, from_worker, setup))

    async def start_isolated(self, setup: Setup) -> Started[FromIsolated]:
        """See the seam."""
        ours, process = spawn("mulligan.worker.isolation.isolated_process", folder=Path(setup.folder))
        return Started(process, _connecting(ours, from_isolated, setup))


def _connecting(end: socket, decoder: Decoder[T], setup: Setup) -> Callable[[], Awaitable[Channel[T]]]:
    async def connect() -> Channel[T]:
        channel = await SocketChannel.open(end, decoder)
        channel.send(setup)
        return channel

    return connect
