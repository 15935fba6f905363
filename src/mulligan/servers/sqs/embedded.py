"""Actions on the embedded queue: each in one transaction of its database, beside the main job's processes.

Whoever waits for messages hears of them through the same bell as the main job's consumers, and they hear of what is
sent here.
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
from mulligan.servers.sqs import dispatch as engine
from mulligan.servers.sqs.actions.context import Call
from mulligan.servers.sqs.actions.limit import Limits
from mulligan.servers.sqs.backend import Advanced
from mulligan.servers.sqs.dispatch import Answer, Request
from mulligan.servers.sqs.store import sqlite as table
from mulligan.storage.fault import ErrorTypes
from mulligan.storage.sqlite import Database

__all__ = ["EmbeddedBackend"]

_LOOK_EVERY_S = 1.0  # a lost bell costs so much time, and no message
_SWEEP_EVERY_S = 60.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_Numbers = Mapping[str, int]
"""The numbers of queues by their places."""


class EmbeddedBackend:
    """The queues of one SQLite file, as the main job has them."""

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
        self._secret = await self._database.run(table.prepare)
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep())

    def run(self, request: Request, call: Call) -> Awaitable[Answer]:
        """Carry an action out in a transaction of its own."""
        return self._run(request, call)

    async def _run(self, request: Request, call: Call) -> Answer:
        def job(connection: sqlite3.Connection) -> tuple[Answer, _Numbers]:
            tables = self._tables(connection, call.region)
            return engine.run(request, tables, self._limits, call, self._new_id), _placed(tables)

        answer, numbers = await self._database.run(job)
        self._numbers |= numbers
        # a receipt makes nothing visible in its own queue: whoever waits in another process need not hear of it
        own = str(request.body.queue_url).rstrip("/").rpartition("/")[2] if request.action == "ReceiveMessage" else ""
        self._ring(one for one in answer.woken if one != engine.place(call.region, own))
        return answer

    async def _advance(self, call: Call) -> Advanced:
        def job(connection: sqlite3.Connection) -> tuple[Advanced, _Numbers]:
            is_running = False
            woken: list[str] = []
            numbers: dict[str, int] = {}
            for region in table.moving_regions(connection):
                tables = self._tables(connection, region)
                advanced = engine.advance(tables, self._limits, replace(call, region=region), self._new_id)
                is_running |= advanced[0]
                woken += advanced[1]
                numbers |= _placed(tables)
            return (is_running, tuple(woken)), numbers

        advanced, numbers = await self._database.run(job)
        self._numbers |= numbers
        self._ring(advanced[1])
        return advanced

    def advance(self, call: Call) -> Awaitable[Advanced]:
        """Carry the move tasks of all regions on."""
        return self._advance(call)

    def watch(self, queue: str, *, is_waiting: bool) -> None:
        """Listen to the bell while receives wait for a queue."""
        if is_waiting:
            self._watches[queue] = asyncio.get_running_loop().create_task(self._listen(queue))
        elif task := self._watches.pop(queue, None):
            task.cancel()

    async def close(self) -> None:
        """End after what is under way."""
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
            # what is swept too late only takes space; a broken disk is told by the next action
            with contextlib.suppress(BrokerUnavailable):
                await self._database.run(table.sweep)

    def _ring(self, queues: Iterable[str]) -> None:
        for queue in queues:
            number = self._numbers.get(queue)
            if number is not None:
                self._bell.ring(number)

    def _tables(self, connection: sqlite3.Connection, region: str) -> table.TableStore:
        behind_s = self._clock.monotonic() + self._offset_s - self._clock.now()
        return table.TableStore(connection, behind_s, self._secret, region)


def _placed(tables: table.TableStore) -> _Numbers:
    return {engine.place(tables.region, name): number for name, number in tables.numbers.items()}


def _ignore(queue: str) -> None:
    """Nobody waits before `open`."""


def _boot_id() -> str | None:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return None
