"""The event loop's own connection to a database, for jobs that take less time than handing them to a thread.

Such a job waits for nobody: neither for a lock (whoever finds it taken goes to the writer thread) nor for the disk (a
commit writes to the system's cache; the sync is the thread's). What is left is a write that the system itself holds up.
The first that takes long shows it, and for a while all jobs go to the thread.
"""

import sqlite3
from collections.abc import Callable
from time import perf_counter
from typing import TypeVar

from mulligan.storage import fault
from mulligan.storage.transaction import Job, begin, roll_back

__all__ = ["REST_S", "SLOW_S", "Lane"]

T = TypeVar("T")

SLOW_S = 0.005
"""A job that took longer held up everything else that the loop has to do: about what a thread that computes does."""

REST_S = 1.0
"""For so long after a slow one the lane is closed."""


class Lane:
    """Commits jobs in the thread that calls, one a transaction, without a sync.

    connection: only the lane uses it. now: seconds of a clock that only goes on.
    """

    def __init__(self, connection: sqlite3.Connection, now: Callable[[], float] = perf_counter) -> None:
        self.connection = connection
        self.commits = 0
        self._now = now
        self._closed_until = 0.0

    def run(self, job: Job[T]) -> tuple[T] | None:
        """The job's result, once it is committed; None when it was not begun: the lane is closed, or the file locked.

        Raises what the job raises, and sqlite3.Error; then nothing of it was done.
        """
        began_at = self._now()
        if began_at < self._closed_until:
            return None
        try:
            begin(self.connection)
        except sqlite3.OperationalError as exc:
            if fault.is_busy(exc):
                return None
            raise
        try:
            result = job(self.connection)
            self.connection.execute("COMMIT")
        except BaseException:
            roll_back(self.connection)
            raise
        finally:
            ended_at = self._now()
            if ended_at - began_at > SLOW_S:
                self._closed_until = ended_at + REST_S
        self.commits += 1
        return (result,)
