"""The event loop's own connection to a database, for jobs that take less time than handing them to a thread.

Such a job waits neither for the disk (a commit writes to the system's cache; the sync is the thread's) nor for a lock,
but for the fraction of a millisecond that another process's commit takes: a job that finds the file locked for longer
goes to the thread. What is left is a write that the system itself holds up, and the sync that SQLite makes where the
log begins anew, which `Database` leaves to the thread where it can see it. The first that takes long shows it, and for
a while all jobs go to the thread.
"""

import sqlite3
from collections.abc import Callable
from typing import TypeVar

from mulligan.clock import SystemClock
from mulligan.storage import fault
from mulligan.storage.transaction import Job, begin, commit

__all__ = ["REST_S", "SLOW_S", "TRIES", "InlineWriter"]

T = TypeVar("T")

SLOW_S = 0.005
"""A job that took longer held up everything else that the loop has to do: about what a thread that computes does."""

TRIES = 5
PAUSE_S = 0.0001
"""Of five workers that commit all the time one in four found the file locked, and one in fifty after these pauses."""

REST_S = 0.25
"""For this long after a slow job no job is taken: on a busy machine it may only have waited for the processor."""


class InlineWriter:
    """Commits jobs in the thread that calls, one a transaction, without a sync.

    connection: only the inline writer uses it. now: seconds of a clock that only goes on. pause: lets that many seconds
    pass.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        now: Callable[[], float] = SystemClock.precise,
        pause: Callable[[float], None] = SystemClock.pause,
    ) -> None:
        self.connection = connection
        self.commits = 0
        self._now = now
        self._pause = pause
        self._closed_until = 0.0

    def run(self, job: Job[T]) -> tuple[T] | None:
        """The job's result, once it is committed; None when it was not begun, for it is closed or the file locked.

        Raises what the job raises, and sqlite3.Error; then nothing of it was done.
        """
        began_at = self._now()
        if began_at < self._closed_until or not self._begin():
            return None
        try:
            result = commit(self.connection, job)
        finally:
            ended_at = self._now()
            if ended_at - began_at > SLOW_S:
                self._closed_until = ended_at + REST_S
        self.commits += 1
        return (result,)

    def _begin(self) -> bool:
        for number in range(TRIES):
            if number:
                self._pause(PAUSE_S)
            try:
                begin(self.connection)
            except sqlite3.OperationalError as exc:
                if not fault.is_busy(exc):
                    raise
            else:
                return True
        return False
