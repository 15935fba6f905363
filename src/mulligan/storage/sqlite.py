"""One SQLite file with one writer: a thread that takes all jobs that wait and commits them together.

An fsync costs as much for one job as for fifty, so everything that waits when the thread is free shares one
transaction, and a caller hears of its job only after the commit. All answers of a group go back to the event loop in
one call. A group of which no job needs to outlast a power cut is committed without an fsync: the next one that has it
takes it to disk, too, for the log is in order.

A job is a function of the connection. It runs in the writer thread, must not commit, and may run twice: when one job of
a group raises, the group is rolled back and each job runs in a transaction of its own, so a job spoils no other. Keep a
job to few statements: the interpreter's lock is let go at each, and taking it back from a busy event loop costs
milliseconds (`sys.setswitchinterval`).
"""

import asyncio
import contextlib
import os
import queue
import random
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mulligan.core.error import StorageBroken
from mulligan.storage import fault, file, layout
from mulligan.storage.fault import Kinds
from mulligan.storage.layout import Layout

__all__ = ["Database", "Job", "Layout"]

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]

GROUP_MAX = 256  # keeps a transaction, and so the wait of other processes, short
WAL_LOOK_EVERY = 128  # commits
FIRST_PAUSE_S = 0.0005
LAST_PAUSE_S = 0.010


@dataclass(slots=True)
class _Call:
    job: Job[Any]
    future: asyncio.Future[Any]
    is_read: bool
    is_synced: bool


@dataclass(slots=True)
class _Answer:
    future: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None


class Database:
    """A SQLite file in WAL mode, synced at each commit, for one event loop of one process (not over a fork).

    kinds: the errors that it raises, beside ConfigurationError from `open` and StorageBroken from anywhere. After a
    StorageBroken every call raises it again: a failed fsync can't be mended by trying once more.
    busy_s: how long other processes may hold the file locked before a call is given up.
    """

    def __init__(
        self,
        path: Path,
        wanted: Layout,
        kinds: Kinds,
        *,
        busy_s: float = 10.0,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self.path = path
        self._layout = wanted
        self._kinds = kinds
        self._busy_s = busy_s
        self._rand = rand
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened: asyncio.Future[None] | None = None
        self._ended: asyncio.Future[None] | None = None
        self._pid = 0
        self._is_closed = False
        self._broken: StorageBroken | None = None
        self._identity: file.Identity | None = None
        self._commits = 0
        self._is_synced = True  # as `layout.connect` leaves it

    # -- the event loop's side

    async def open(self) -> None:
        """Open or create the file, and bring its layout up to date. Twice is once; a failure may be repeated."""
        if self._is_closed:
            raise self._kinds.refused(f"database {self.path} was closed. Make a new object to open it again.")
        if self._opened is None:
            self._loop = asyncio.get_running_loop()
            self._opened, self._ended = self._loop.create_future(), self._loop.create_future()
            self._pid = os.getpid()
            # a daemon: a disk that hangs must not keep the process from ending
            threading.Thread(target=self._work, name=f"writer {self.path.name}", daemon=True).start()
        opened = self._opened
        try:
            await asyncio.shield(opened)
        except Exception:
            if self._opened is opened:
                self._opened = None
            raise

    async def run(self, job: Job[T], *, is_synced: bool = True) -> T:
        """Run a job in a write transaction; its result, once that is on disk.

        is_synced: False when it needs to outlast a death of the process only, not one of the machine: its result comes
        once it is committed. A later job that is synced takes it to disk first.
        When the caller is cancelled, the job may or may not have happened.
        """
        return await self._ask(job, is_read=False, is_synced=is_synced)

    async def read(self, job: Job[T]) -> T:
        """Run a job that only reads. It sees what is committed and keeps no other process waiting."""
        return await self._ask(job, is_read=True, is_synced=False)

    async def close(self) -> None:
        """End the writer after the jobs that wait. Those that wait for other processes' locks fail. Twice is once."""
        self._is_closed = True
        if self._ended is None or self._pid != os.getpid():
            return
        if not self._stop.is_set():
            self._stop.set()
            self._calls.put(None)
        await asyncio.shield(self._ended)

    async def _ask(self, job: Job[T], *, is_read: bool, is_synced: bool) -> T:
        if self._is_closed or self._opened is None or not self._opened.done() or self._pid != os.getpid():
            state = "closed" if self._is_closed else "not open in this process"
            raise self._kinds.refused(f"database {self.path} is {state}. Open it first, in the process that uses it.")
        if self._broken is not None:
            raise StorageBroken(str(self._broken))
        assert self._loop is not None
        future: asyncio.Future[T] = self._loop.create_future()
        self._calls.put(_Call(job, future, is_read, is_synced))
        return await future

    def _tell(self, answers: Sequence[_Answer]) -> None:
        assert self._loop is not None
        # RuntimeError: the loop has ended, and with it everyone who waited
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_deliver, answers)

    # -- the writer thread's side

    def _work(self) -> None:
        assert self._opened is not None
        assert self._ended is not None
        opened, ended = self._opened, self._ended
        try:
            connection = self._connect()
        except Exception as exc:  # noqa: BLE001 - told to the one who opens; a thread has nobody else to tell
            self._tell([_Answer(opened, error=exc), _Answer(ended)])
            return
        self._identity = file.identity(self.path)
        self._tell([_Answer(opened)])
        while group := self._next_group():
            self._serve(connection, group)
        # an error here loses nothing: what was confirmed is on disk, and the next one to open does what was left
        with contextlib.suppress(sqlite3.Error):
            connection.close()
        self._tell([_Answer(ended)])

    def _next_group(self) -> list[_Call]:
        """Everything that waits; waits itself for the first. [] is the end."""
        call = self._calls.get()
        group: list[_Call] = []
        while call is not None:
            group.append(call)
            if len(group) >= GROUP_MAX:
                return group
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                return group
        if group:
            self._calls.put(None)  # the end comes after this group
        return group

    def _serve(self, connection: sqlite3.Connection, group: list[_Call]) -> None:
        wanted = [call for call in group if not call.future.cancelled()]
        writes = [call for call in wanted if not call.is_read]
        if writes:
            self._tell(self._write(connection, writes))
        reads = [call for call in wanted if call.is_read]
        if reads:
            self._tell([self._answer(connection, call, self._read) for call in reads])

    def _write(self, connection: sqlite3.Connection, calls: Sequence[_Call]) -> list[_Answer]:
        try:
            results = self._transaction(connection, calls)
        except _JobError as failed:
            if len(calls) > 1:
                return [answer for call in calls for answer in self._write(connection, [call])]
            return [_Answer(calls[0].future, error=self._meant(failed.error))]
        except Exception as exc:  # noqa: BLE001 - told to every caller of the group
            return [_Answer(call.future, error=self._meant(exc)) for call in calls]
        return [_Answer(call.future, result) for call, result in zip(calls, results, strict=True)]

    def _transaction(self, connection: sqlite3.Connection, calls: Sequence[_Call]) -> list[Any]:
        if self._broken is not None:
            raise StorageBroken(str(self._broken))
        self._sync(connection, is_synced=any(call.is_synced for call in calls))
        self._patiently(lambda: connection.execute("BEGIN IMMEDIATE"))
        try:
            results = [_run(call.job, connection) for call in calls]
            connection.execute("COMMIT")
        except BaseException:
            _roll_back(connection)
            raise
        # after the commit, so that no confirmed write can be in a file that is gone
        if file.identity(self.path) != self._identity:
            raise fault.replaced(self.path)
        self._commits += 1
        if self._commits % WAL_LOOK_EVERY == 0:
            self._bound_wal(connection)
        return results

    def _sync(self, connection: sqlite3.Connection, *, is_synced: bool) -> None:
        """Have the next commit wait for the disk, or not."""
        if is_synced is not self._is_synced:
            connection.execute(f"PRAGMA synchronous={'FULL' if is_synced else 'NORMAL'}")
            self._is_synced = is_synced

    def _read(self, connection: sqlite3.Connection, job: Job[T]) -> T:
        if file.identity(self.path) != self._identity:
            raise fault.replaced(self.path)
        return self._patiently(lambda: job(connection))

    def _answer(self, connection: sqlite3.Connection, call: _Call, action: Callable[..., Any]) -> _Answer:
        try:
            return _Answer(call.future, action(connection, call.job))
        except Exception as exc:  # noqa: BLE001 - told to the caller
            return _Answer(call.future, error=self._meant(exc))

    def _meant(self, exc: Exception) -> Exception:
        meant: Exception = fault.translate(exc, self.path, self._kinds) if isinstance(exc, sqlite3.Error) else exc
        if isinstance(meant, StorageBroken):
            self._broken = meant
        return meant

    def _patiently(self, action: Callable[[], T]) -> T:
        """Repeat while other processes are in the way: short random pauses, so that five processes get their turns.

        SQLite's own waiting grows to 100 ms a step, and can't be ended by `close`.
        """
        waited_s, pause_s = 0.0, FIRST_PAUSE_S
        while True:
            try:
                return action()
            except sqlite3.OperationalError as exc:
                if not fault.is_busy(exc) or waited_s >= self._busy_s or self._stop.is_set():
                    raise
            delay_s = pause_s * (0.5 + self._rand())
            self._stop.wait(delay_s)
            waited_s += delay_s
            pause_s = min(pause_s * 1.5, LAST_PAUSE_S)

    def _bound_wal(self, connection: sqlite3.Connection) -> None:
        """Empty a log that has grown: with several busy writers SQLite's own checkpoints never get to its end."""
        # on an error the data is safe in the log, and the next look tries again
        with contextlib.suppress(OSError, sqlite3.Error):
            if Path(f"{self.path}-wal").stat().st_size > layout.WAL_MAX_BYTES:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def _connect(self) -> sqlite3.Connection:
        file.prepare(self.path, self._layout.what)
        try:
            return layout.connect(self.path, self._layout, self._patiently)
        except sqlite3.Error as exc:
            raise fault.opening_fault(exc, self.path, self._kinds) from None


class _JobError(Exception):
    """One job of a group raised: the others deserve a transaction without it."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(str(error))


def _run(job: Job[T], connection: sqlite3.Connection) -> T:
    try:
        return job(connection)
    except Exception as exc:
        raise _JobError(exc) from exc


def _roll_back(connection: sqlite3.Connection) -> None:
    # an error here says less than the one that led here; a full disk and the like have rolled back by themselves
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _deliver(answers: Sequence[_Answer]) -> None:
    for answer in answers:
        if answer.future.done():
            continue  # its caller was cancelled
        if answer.error is None:
            answer.future.set_result(answer.result)
        else:
            answer.future.set_exception(answer.error)
