"""Packs the copies that the settler sends, unpacks those that the dispatcher gets: `core.packing`, in threads.

Compressing and the disk take time that the event loop doesn't have. They are not the tasks' threads: those may all
be taken by tasks that hang.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from mulligan.core import packing
from mulligan.core.message import Message
from mulligan.core.packing import CopyTarget, Limits, PackedMessage
from mulligan.core.retry_state import RetryState
from mulligan.storage.body import BodyStore

__all__ = ["Packer"]

T = TypeVar("T")

_THREADS = 2  # a body may be 16 MiB, and exists a few times while it is packed


class Packer:
    """One for all pipelines of a process."""

    def __init__(self, folder: BodyStore) -> None:
        self._folder = folder
        self._threads = ThreadPoolExecutor(_THREADS, "body")

    async def pack(self, message: Message, state: RetryState, limits: Limits, target: CopyTarget) -> PackedMessage:
        """A copy that fits; a body that it leaves behind is on disk. Raises PackingError."""
        quick = packing.pack_quickly(message, state, limits)
        if quick is not None:
            return quick
        return await self._in_thread(lambda: self._pack(message, state, limits, target))

    async def unpack(self, message: Message, state: RetryState) -> Message:
        """The message as it was before it was packed. Raises PackingError when that is not available."""
        if state.wrap is None:
            return message
        return await self._in_thread(lambda: packing.unpack(message, state, self._folder.load))

    async def drop(self, name: str) -> None:
        """Remove a stored body. Raises PackingError when it stays."""
        await self._in_thread(lambda: self._folder.drop(name))

    def _pack(self, message: Message, state: RetryState, limits: Limits, target: CopyTarget) -> PackedMessage:
        packed = packing.pack(message, state, limits, target)
        if packed.stored is not None:
            self._folder.keep(packed.stored.name, packed.stored.content)
        return packed

    def _in_thread(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._threads, work)
