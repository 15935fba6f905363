"""Actions on the embedded queue: each in one transaction of its database, beside the main job's processes.

The main job's consumers and this server's waiting receives notify each other of new messages.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from mulligan.brokers.base import Clock
from mulligan.brokers.sqlite import store
from mulligan.brokers.sqlite.notifier import Notifier
from mulligan.core.error import BrokerRefused, BrokerUnavailable
from mulligan.servers.sqs import dispatch
from mulligan.servers.sqs.actions.context import Call, Limits
from mulligan.servers.sqs.dispatch import Advanced, Answer, Request
from mulligan.servers.sqs.store import sqlite as sqlite_store
from mulligan.servers.sqs.store.sqlite import SqliteStore
from mulligan.storage.fault import ErrorTypes
from mulligan.storage.sqlite import Database

__all__ = ["EmbeddedBackend"]

_LOOK_EVERY_S = 1.0  # a lost notification costs this much time, and no message
_SWEEP_EVERY_S = 60.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_Numbers = Mapping[str, int]
"""The numbers of queues by place."""


class EmbeddedBackend:
    """The queues of one SQLite file, which the main job uses as well."""

    def __init__(self, path: Path, clock: Clock, limits: Limits, new_id: Callable[[], str]) -> None:
        self._clock = clock
        self._limits = limits
        self._new_id = new_id
        self._database = Database(path, store.LAYOUT, ErrorTypes(BrokerUnavailable, BrokerRefused))
        self._bell = Notifier(path.with_name(f"{path.name}-wake"))
        self._offset_s = 0.0
        self._secret = b""
        self._numbers: dict[str, int] = {}
        self._wake: Callable[[str], None] = _ignore
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._sweeping: asyncio.Task[None] | None = None

    async def open(self, wake: Callable[[str], None]) -> None:
        """Open or create the file. Raises ConfigurationError or StorageBroken when it can't be used."""
        self._wake = wake
        await self._database.open()
        anchor = partial(store.anchor, _boot_id(), self._clock.now(), self._clock.monotonic())
        self._offset_s = await self._database.run(anchor)
        self._secret = await self._database.run(sqlite_store.prepare)
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep())

    def run(self, request: Request, call: Call) -> Awaitable[Answer]:
        """Carry an action out in its own transaction."""
        return self._run(request, call)

    async def _run(self, request: Request, call: Call) -> Answer:
        def job(connection: sqlite3.Connection) -> tuple[Answer, _Numbers]:
            opened = self._store(connection, call.region)
            return dispatch.run(request, opened, self._limits, call, self._new_id), _placed(opened)

        answer, numbers = await self._database.run(job)
        self._numbers |= numbers
        # a receive makes nothing visible in its own queue: other processes need no notification
        own = str(request.body.queue_url).rstrip("/").rpartition("/")[2] if request.action == "ReceiveMessage" else ""
        self._notify(one for one in answer.woken if one != dispatch.place(call.region, own))
        return answer

    async def _advance(self, call: Call) -> Advanced:
        def job(connection: sqlite3.Connection) -> tuple[Advanced, _Numbers]:
            is_running = False
            woken: list[str] = []
            numbers: dict[str, int] = {}
            for region in sqlite_store.moving_regions(connection):
                opened = self._store(connection, region)
                advanced = dispatch.advance(opened, self._limits, replace(call, region=region), self._new_id)
                is_running |= advanced[0]
                woken += advanced[1]
                numbers |= _placed(opened)
            return (is_running, tuple(woken)), numbers

        advanced, numbers = await self._database.run(job)
        self._numbers |= numbers
        self._notify(advanced[1])
        return advanced

    def advance(self, call: Call) -> Awaitable[Advanced]:
        """Continue the move tasks of all regions."""
        return self._advance(call)

    def watch(self, queue: str, *, is_waiting: bool) -> None:
        """Listen for notifications while receives wait for a queue."""
        if is_waiting:
            self._watches[queue] = asyncio.get_running_loop().create_task(self._listen(queue))
        elif task := self._watches.pop(queue, None):
            task.cancel()

    async def close(self) -> None:
        """Stop after the current transactions."""
        for task in (*self._watches.values(), *([self._sweeping] if self._sweeping else [])):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._watches.clear()
        self._sweeping = None
        await self._database.close()
        self._bell.close()

    async def _listen(self, queue: str) -> None:
        with self._bell.listening(self._numbers.get(queue, 0)) as rung:
            while True:
                rung.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_EVERY_S):
                        await rung.wait()
                self._wake(queue)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_EVERY_S)
            # a late sweep only costs space; the next action reports a broken disk
            with contextlib.suppress(BrokerUnavailable):
                await self._database.run(sqlite_store.sweep)

    def _notify(self, queues: Iterable[str]) -> None:
        for queue in queues:
            number = self._numbers.get(queue)
            if number is not None:
                self._bell.ring(number)

    def _store(self, connection: sqlite3.Connection, region: str) -> SqliteStore:
        behind_s = self._clock.monotonic() + self._offset_s - self._clock.now()
        return SqliteStore(connection, behind_s, self._secret, region)


def _placed(opened: SqliteStore) -> _Numbers:
    return {dispatch.place(opened.region, name): number for name, number in opened.numbers.items()}


def _ignore(queue: str) -> None:
    """Before `open` nothing waits."""


def _boot_id() -> str | None:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return None
