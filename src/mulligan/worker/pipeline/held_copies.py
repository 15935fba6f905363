"""Copies whose state this program can't read, because a newer version wrote it or because it is damaged, and messages
whose row in the ledger is damaged: each is left alone for a while, and reported. Which copies those are is decided in
`core.retry_state`; `intake` brings copies here, and `admission` the messages whose row is damaged, neither claimed.

They may say of any task that it is done, so a version that can't read them must neither run nor remove them.
`MissingTasks` reports messages that wait for a task which this process doesn't know.
"""

from mulligan.brokers.base import Emit
from mulligan.clock import SystemClock
from mulligan.core import retry_state
from mulligan.core.event import RowDamaged, StateDamaged, StateTooNew, TaskMissing
from mulligan.core.message import TaskName
from mulligan.core.policy import again_in_s
from mulligan.core.retry_state import Unread
from mulligan.worker.in_flight import InFlight

__all__ = ["FIRST_S", "LONGEST_S", "HeldCopies", "MissingTasks"]

FIRST_S = 60.0
LONGEST_S = 900.0
"""How long a copy is left alone: an upgrade takes minutes, and each look is paid for on some brokers."""

_REPORTED_EVERY_S = 60.0
_MISS_REPORTED_EVERY_S = 3600.0
_GROUPS_MAX = 5


class _Count:
    """Of one kind of event: what came since it was last reported."""

    def __init__(self) -> None:
        self.reported_at: float | None = None
        self.copies = 0
        self.version = 0
        self.groups: dict[str, None] = {}

    def add_group(self, group: str | None) -> None:
        if group is not None and len(self.groups) < _GROUPS_MAX:
            self.groups[group] = None

    def is_reported(self, now: float, every_s: float) -> bool:
        return self.reported_at is not None and now - self.reported_at < every_s

    def begin_anew(self, now: float) -> None:
        self.reported_at, self.copies, self.version = now, 0, 0
        self.groups.clear()


class HeldCopies:
    """Of one queue in one process. counts_releases: as in the broker's `Features`."""

    def __init__(self, clock: SystemClock, emit: Emit, *, counts_releases: bool) -> None:
        self._clock = clock
        self._emit = emit
        self._counts_releases = counts_releases
        self._too_new = _Count()
        self._damaged = _Count()
        self._rows = _Count()

    def add(self, flight: InFlight, unread: Unread) -> float:
        """Count a copy, and report all so far unless that was done within a minute; seconds to leave it alone."""
        delivery = flight.delivery
        age_s = None if self._counts_releases else self._clock.now() - delivery.sent_at
        wait_s = again_in_s(FIRST_S, LONGEST_S, delivery.receive_count, age_s)
        count = self._rows if unread.is_in_ledger else self._damaged if unread.version is None else self._too_new
        count.copies += 1
        count.version = max(count.version, unread.version or 0)
        count.add_group(delivery.group)
        self._tell(count, flight, unread, wait_s)
        return wait_s

    def _tell(self, count: _Count, flight: InFlight, unread: Unread, wait_s: float) -> None:
        now = self._clock.monotonic()
        if count.is_reported(now, _REPORTED_EVERY_S):
            return
        queue, uid, groups = flight.delivery.queue, flight.message.uid, tuple(count.groups)
        if unread.is_in_ledger:
            self._emit(RowDamaged(queue, uid, count.copies, unread.problem, groups, wait_s))
        elif unread.version is None:
            self._emit(StateDamaged(queue, uid, count.copies, unread.problem, groups, wait_s))
        else:
            self._emit(StateTooNew(queue, uid, count.copies, count.version, retry_state.VERSION, groups, wait_s))
        count.begin_anew(now)


class MissingTasks:
    """Of one process: messages that wait for a task which is not in its tasks.xml."""

    def __init__(self, clock: SystemClock, emit: Emit) -> None:
        self._clock = clock
        self._emit = emit
        self._counts: dict[TaskName, _Count] = {}

    def add(self, flight: InFlight) -> None:
        """Count a message for each of its missing tasks, and report all so far unless that was done within an hour."""
        now, delivery, missing = self._clock.monotonic(), flight.delivery, flight.missing
        for task in sorted(missing.tasks):
            count = self._counts.setdefault(task, _Count())
            count.copies += 1
            count.add_group(delivery.group)
            if not count.is_reported(now, _MISS_REPORTED_EVERY_S):
                groups = tuple(count.groups)
                self._emit(TaskMissing(task, delivery.queue, flight.message.uid, count.copies, groups, missing.grace_s))
                count.begin_anew(now)
