"""What the supervisor and its workers ask of the machine, as a seam: `system_host` has the real one.

The simulation passes its own, and everything above this seam is the real code there, wired as it is in production.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from mulligan.brokers.base import Broker
from mulligan.clock import SystemClock
from mulligan.core.event import Event
from mulligan.core.value import value
from mulligan.ledger.base import Ledger
from mulligan.storage.body import BodyStore
from mulligan.worker.ipc.channel import Channel, FromIsolated, FromWorker, Setup
from mulligan.worker.ipc.child import ChildProcess
from mulligan.worker.ipc.lease_table import LeaseTable

__all__ = ["Host", "Started", "ThreadPool"]

T = TypeVar("T")
Item = TypeVar("Item")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result = TypeVar("Result")


@value
class Started(Generic[T]):
    """A process that has just been started. connect: opens the channel to it and sends its setup; to be called once."""

    process: ChildProcess
    connect: Callable[[], Awaitable[Channel[T]]]


class ThreadPool(Protocol[Item_contra]):
    """Threads for the sync tasks of one queue; see `pipeline.thread_pool`."""

    def put(self, item: Item_contra) -> None:
        """Start an item."""

    def close(self) -> None:
        """Hand nothing back any more."""


class Host(Protocol):
    """One machine, as one process sees it."""

    @property
    def clock(self) -> SystemClock:
        """Its clocks and dice."""

    def cores(self) -> int:
        """Those that this process may use."""

    def is_changed(self) -> bool:
        """Whether another build is installed now than the one that this process runs."""

    # -- stores

    def open_broker(self, url: str, emit: Callable[[Event], None], folder: Path) -> Broker:
        """The broker of a URL, not opened yet. folder: what its paths are relative to."""

    def open_ledger(self, url: str, folder: Path) -> Ledger:
        """The ledger of a URL, not opened yet. folder: what its paths are relative to."""

    def open_bodies(self, folder: Path) -> BodyStore:
        """The stored bodies in a folder."""

    def replace_file(self, file: Path, text: str) -> None:
        """Have the file hold the text and nothing else; a reader sees the old text or the new one. Raises OSError."""

    # -- leases

    def tokens(self) -> Callable[[], str]:
        """A source of tokens for claims, none of which anybody has had before."""

    def slots_for(self, capacity: int) -> int:
        """Slots of the lease table for one queue. capacity: messages in flight, at most."""

    def new_table(self, slots: int) -> LeaseTable:
        """An empty lease table, to be shared with a worker. Raises OSError when the system has no memory for it."""

    # -- threads and processes

    def threads(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Callable[[Item], Result],
        ended: Callable[[list[tuple[Item, Result]]], None],
        short: Callable[[int, str], None],
    ) -> ThreadPool[Item]:
        """Threads for sync tasks. The arguments are those of `pipeline.thread_pool.Threads`."""

    async def start_worker(self, setup: Setup, table: LeaseTable, *, is_first: bool) -> Started[FromWorker]:
        """Start a worker process.

        table: of setup.table_slots slots. is_first: the first process in this worker's place since the start.
        Raises OSError when the system has no process, descriptor or memory left, or the folder is gone.
        """

    async def start_isolated(self, setup: Setup) -> Started[FromIsolated]:
        """Start a process for one suspect at a time. setup: the worker's. Raises OSError like `start_worker`."""
