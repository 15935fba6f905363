"""One SQLite file: a thread that commits all jobs that wait together, and syncs them together.

A sync costs as much for one job as for fifty, so everything that waits when the thread is free shares one transaction
and one sync, and a caller hears of its job only after both. The sync comes after the commit, when the file is not
locked any more: other processes commit meanwhile, and the log is in order, so whatever is synced takes all that was
committed before to disk with it. A job that needs to outlast a death of the process only, not one of the machine, does
without.

A job is a function of the connection. It runs in the writer thread, must not commit, and may run twice: when one job of
a group raises, the group is rolled back and each job runs in a transaction of its own, so a job spoils no other. Keep a
job to few statements: the interpreter's lock is let go at each, and taking it back from a busy event loop costs
milliseconds (`sys.setswitchinterval`).

A job that is quick is committed by the event loop itself when nobody is in the way (`storage.inline_writer`), and only
its sync is left to the thread.
"""

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from mulligan.clock import SystemClock
from mulligan.core.error import StorageBroken
from mulligan.storage import fault, file, schema
from mulligan.storage.fault import ErrorTypes
from mulligan.storage.inline_writer import InlineWriter
from mulligan.storage.schema import Schema
from mulligan.storage.transaction import Job, begin, commit

__all__ = ["Database", "Job", "Schema"]

T = TypeVar("T")

GROUP_MAX = 256  # keeps a transaction, and so the wait of other processes, short
LOG_LOOK_EVERY = 128  # commits
FIRST_PAUSE_S = 0.0005
LAST_PAUSE_S = 0.010
SYNC: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)  # macOS has fsync only


@dataclass(slots=True, eq=False)
class _Call:
    """job: None when all there is to do is the sync. is_answered: its answer is on its way."""

    job: Job[Any] | None
    future: asyncio.Future[Any]
    is_read: bool = False
    is_synced: bool = False
    is_answered: bool = False


@dataclass(slots=True)
class _Answer:
    call: _Call
    result: Any = None
    error: Exception | None = None


class Database:
    """A SQLite file in WAL mode, for one event loop of one process (not over a fork).

    kinds: the errors that it raises, beside ConfigurationError from `open` and StorageBroken from anywhere. After a
    StorageBroken every call raises it again: a failed fsync can't be mended by trying once more.
    has_shortcut: whether the event loop may commit quick jobs itself; else the thread does.
    busy_s: how long other processes may hold the file locked before a call is given up.
    sync: takes an open file to disk, or raises OSError.
    """

    def __init__(
        self,
        path: Path,
        wanted: Schema,
        kinds: ErrorTypes,
        *,
        has_shortcut: bool = False,
        busy_s: float = 10.0,
        rand: Callable[[], float] = SystemClock.random,
        sync: Callable[[int], None] = SYNC,
    ) -> None:
        self.path = path
        self._layout = wanted
        self._kinds = kinds
        self._has_shortcut = has_shortcut
        self._busy_s = busy_s
        self._rand = rand
        self._sync = sync
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
        self._shortcut: InlineWriter | None = None
        self._log = -1  # a descriptor of the write-ahead log, for syncs only: SQLite holds no locks on that file
        self._pending = 0  # jobs that the thread has and has not answered: none must be overtaken
        self._look_at = LOG_LOOK_EVERY
        self._checkpointing = threading.Lock()
        self._is_log_done = False  # all of the log is in the database: the next commit begins it anew, and syncs that

    # -- the event loop's side

    async def open(self) -> None:
        """Open or create the file, and bring its layout up to date. Twice is once; a failure may be repeated."""
        if self._is_closed:
            raise self._kinds.refused(f"database {self.path} was closed. Create a new object to open it again.")
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

    async def run(self, job: Job[T], *, is_synced: bool = True, is_quick: bool = False) -> T:
        """Run a job in a write transaction; its result, once that is on disk.

        is_synced: False when it needs to outlast a death of the process only, not one of the machine: its result comes
        once it is committed. A later job that is synced takes it to disk first.
        is_quick: few statements, on rows that were touched lately. The event loop runs it itself then, if it may.
        Writes are committed in the order of the calls. When the caller is cancelled, the job may or may not have
        happened.
        """
        if is_quick and (done := self._run_by_shortcut(job)) is not None:
            if is_synced:
                await self._ask(None, is_synced=True)
            return done[0]
        return await self._ask(job, is_synced=is_synced)

    async def read(self, job: Job[T]) -> T:
        """Run a job that only reads. It sees what is committed and keeps no other process waiting."""
        return await self._ask(job, is_read=True)

    async def close(self) -> None:
        """End the writer after the jobs that wait. Those that wait for other processes' locks fail. Twice is once."""
        self._is_closed = True
        if self._ended is None or self._pid != os.getpid():
            return
        if not self._stop.is_set():
            self._stop.set()
            self._calls.put(None)
        await asyncio.shield(self._ended)

    async def _ask(self, job: Job[T] | None, *, is_read: bool = False, is_synced: bool = False) -> T:
        self._check()
        assert self._loop is not None
        future: asyncio.Future[T] = self._loop.create_future()
        self._pending += job is not None
        self._calls.put(_Call(job, future, is_read, is_synced))
        return await future

    def _run_by_shortcut(self, job: Job[T]) -> tuple[T] | None:
        """The job's result once it is committed; None when the thread has to do it."""
        self._check()
        shortcut = self._shortcut
        if shortcut is None or self._pending or self._is_log_done or not self._checkpointing.acquire(blocking=False):
            return None
        try:
            done = shortcut.run(job)
        except sqlite3.Error as exc:
            raise self._meant(exc) from exc
        finally:
            self._checkpointing.release()
        if done is not None and file.identity(self.path) != self._identity:
            raise self._meant(fault.replaced(self.path))
        return done

    def _check(self) -> None:
        opened = self._opened
        if self._is_closed or opened is None or not opened.done() or opened.exception() or self._pid != os.getpid():
            state = "closed" if self._is_closed else "not open in this process"
            raise self._kinds.refused(f"database {self.path} is {state}. Open it first, in the process that uses it.")
        if self._broken is not None:
            raise StorageBroken(str(self._broken))

    def _deliver(self, answers: Sequence[_Answer]) -> None:
        for answer in answers:
            future = answer.call.future
            self._pending -= answer.call.job is not None
            if future.done():
                continue  # its caller was cancelled
            if answer.error is None:
                future.set_result(answer.result)
            else:
                future.set_exception(answer.error)

    # -- the writer thread's side

    def _work(self) -> None:
        assert self._opened is not None
        assert self._ended is not None
        opened, ended = _Call(None, self._opened), _Call(None, self._ended)
        try:
            connection = self._connect()
        except Exception as exc:  # noqa: BLE001 - raised in the caller of `open`; a thread has no caller
            self._post([_Answer(opened, error=exc), _Answer(ended)])
            return
        self._post([_Answer(opened)])
        while group := self._next_group():
            try:
                self._serve(connection, group)
            except Exception as exc:  # noqa: BLE001 - whatever it was: nobody may wait for ever
                self._broken = fault.writer_failed(self.path, exc)
                self._post([_Answer(call, error=self._broken) for call in group if not call.is_answered])
        self._disconnect(connection)
        self._post([_Answer(ended)])

    def _post(self, answers: Sequence[_Answer]) -> None:
        if not answers:
            return
        for answer in answers:
            answer.call.is_answered = True
        assert self._loop is not None
        # RuntimeError: the loop has ended, and with it everyone who waited
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._deliver, answers)

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

    def _serve(self, connection: sqlite3.Connection, group: Sequence[_Call]) -> None:
        """Commit, sync, and answer each call, once. What need not be synced doesn't wait for what has to be."""
        given_up = [call for call in group if call.future.cancelled()]  # looked at once: it may happen at any moment
        wanted = [call for call in group if call not in given_up]
        writes = [call for call in wanted if call.job is not None and not call.is_read]
        done = self._write(connection, writes) if writes else []
        done += [_Answer(call) for call in wanted if call.job is None]
        self._post([_Answer(call) for call in given_up] + [one for one in done if not one.call.is_synced])
        self._post(self._on_disk([one for one in done if one.call.is_synced]))
        self._post([self._answer(connection, call) for call in wanted if call.is_read])
        self._look_at_log(connection)

    def _on_disk(self, answers: list[_Answer]) -> list[_Answer]:
        """The same answers once what they report is on disk; where that fails none of them is a success.

        After a failure it isn't tried again: the system may have dropped what it could not write, and say yes now.
        """
        if all(answer.error for answer in answers):
            return answers
        if self._broken is None:
            try:
                self._sync(self._log)
            except OSError as exc:
                self._broken = fault.sync_failed(self.path, exc)
            else:
                return answers
        return [replace(answer, result=None, error=answer.error or self._broken) for answer in answers]

    def _look_at_log(self, connection: sqlite3.Connection) -> None:
        """Now and then, keep the write-ahead log short.

        Where there is an inline writer nobody else checkpoints. And with several busy writers SQLite's own checkpoints
        never get to the log's end, so that it has to be emptied once it has grown.
        """
        commits = self._commits + (self._shortcut.commits if self._shortcut else 0)
        if commits < self._look_at:
            return
        self._look_at = commits + LOG_LOOK_EVERY
        # The loop commits nothing meanwhile: SQLite before 3.51.3 can overlook a log that is begun anew under a
        # checkpoint. On an error the data is safe in the log, and the next look tries again.
        with self._checkpointing, contextlib.suppress(OSError, sqlite3.Error, MemoryError):
            has_grown = os.fstat(self._log).st_size > schema.WAL_MAX_BYTES
            if has_grown or self._shortcut is not None:
                mode = "TRUNCATE" if has_grown else "PASSIVE"
                is_busy, length, copied = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
                self._is_log_done = not is_busy and length == copied

    def _write(self, connection: sqlite3.Connection, calls: Sequence[_Call]) -> list[_Answer]:
        try:
            results = self._transaction(connection, calls)
        except _JobError as failed:
            if len(calls) > 1:
                return [answer for call in calls for answer in self._write(connection, [call])]
            return [_Answer(calls[0], error=self._meant(failed.error))]
        except Exception as exc:  # noqa: BLE001 - raised in every caller of the group
            return [_Answer(call, error=self._meant(exc)) for call in calls]
        return [_Answer(call, result) for call, result in zip(calls, results, strict=True)]

    def _transaction(self, connection: sqlite3.Connection, calls: Sequence[_Call]) -> list[Any]:
        if self._broken is not None:
            raise StorageBroken(str(self._broken))
        self._patiently(lambda: begin(connection))
        results = commit(connection, lambda it: [_run(call, it) for call in calls])
        # after the commit, so that no confirmed write can be in a file that is gone
        if file.identity(self.path) != self._identity:
            raise fault.replaced(self.path)
        self._commits += 1
        self._is_log_done = False
        return results

    def _read(self, connection: sqlite3.Connection, job: Job[T]) -> T:
        if file.identity(self.path) != self._identity:
            raise fault.replaced(self.path)
        return self._patiently(lambda: job(connection))

    def _answer(self, connection: sqlite3.Connection, call: _Call) -> _Answer:
        assert call.job is not None
        try:
            return _Answer(call, self._read(connection, call.job))
        except Exception as exc:  # noqa: BLE001 - raised in the caller
            return _Answer(call, error=self._meant(exc))

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

    def _connect(self) -> sqlite3.Connection:
        file.prepare(self.path, self._layout.what)
        try:
            connection = schema.connect(self.path, self._layout, self._patiently)
        except sqlite3.Error as exc:
            raise fault.opening_fault(exc, self.path, self._kinds) from None
        try:
            self._log = os.open(schema.log_of(connection), os.O_RDONLY | os.O_CLOEXEC)
            if self._has_shortcut:
                # `_look_at_log` checkpoints, and keeps the event loop from committing meanwhile
                connection.execute("PRAGMA wal_autocheckpoint=0").fetchone()
                self._shortcut = InlineWriter(self._patiently(lambda: schema.connect_again(self.path)))
        except OSError as exc:
            self._disconnect(connection)
            raise fault.no_log(self.path, exc) from None
        except sqlite3.Error as exc:
            self._disconnect(connection)
            raise fault.opening_fault(exc, self.path, self._kinds) from None
        self._identity = file.identity(self.path)
        return connection

    def _disconnect(self, connection: sqlite3.Connection) -> None:
        """Close everything. Never raises: what was confirmed is on disk, and the next to open does what was left."""
        log, self._log = self._log, -1
        shortcut, self._shortcut = self._shortcut, None
        with contextlib.suppress(OSError):
            if log >= 0:
                os.close(log)
        for one in (connection, *([] if shortcut is None else [shortcut.connection])):
            with contextlib.suppress(sqlite3.Error):
                one.close()


class _JobError(Exception):
    """One job of a group raised: the others deserve a transaction without it."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(str(error))


def _run(call: _Call, connection: sqlite3.Connection) -> Any:
    assert call.job is not None
    try:
        return call.job(connection)
    except Exception as exc:
        raise _JobError(exc) from exc
