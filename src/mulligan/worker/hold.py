"""Copies whose state this program can't read, because a newer version wrote it or because it is damaged: each is left
alone for a while, and told of. Which those are is decided in `core.story`; the `consumer` brings them here unclaimed.

They may say of any task that it is done, so whoever can't read them must neither run nor remove them.
"""

from mulligan.brokers.base import Emit
from mulligan.clock import SystemClock
from mulligan.core import story
from mulligan.core.event import StateDamaged, StateTooNew
from mulligan.core.policy import again_in_s
from mulligan.core.story import Unread
from mulligan.worker.flight import Flight

__all__ = ["FIRST_S", "LONGEST_S", "Holds"]

FIRST_S = 60.0
LONGEST_S = 900.0
"""How long a copy is left alone: an upgrade takes minutes, and each look is paid for on some brokers."""

_TOLD_EVERY_S = 60.0
_GROUPS_MAX = 5


class _Count:
    """Of one kind of event: what came since it was last told."""

    def __init__(self) -> None:
        self.told_at: float | None = None
        self.copies = 0
        self.version = 0
        self.groups: dict[str, None] = {}


class Holds:
    """Of one queue in one process. counts_releases: as in the broker's `Features`."""

    def __init__(self, clock: SystemClock, emit: Emit, *, counts_releases: bool) -> None:
        self._clock = clock
        self._emit = emit
        self._counts_releases = counts_releases
        self._too_new = _Count()
        self._damaged = _Count()

    def add(self, flight: Flight, unread: Unread) -> float:
        """Count a copy, and tell of all so far unless that was done within a minute; seconds to leave it alone."""
        delivery = flight.delivery
        age_s = None if self._counts_releases else self._clock.now() - delivery.sent_at
        wait_s = again_in_s(FIRST_S, LONGEST_S, delivery.receive_count, age_s)
        count = self._damaged if unread.version is None else self._too_new
        count.copies += 1
        count.version = max(count.version, unread.version or 0)
        if delivery.group is not None and len(count.groups) < _GROUPS_MAX:
            count.groups[delivery.group] = None
        self._tell(count, flight, unread, wait_s)
        return wait_s

    def _tell(self, count: _Count, flight: Flight, unread: Unread, wait_s: float) -> None:
        now = self._clock.monotonic()
        if count.told_at is not None and now - count.told_at < _TOLD_EVERY_S:
            return
        queue, uid, groups = flight.delivery.queue, flight.message.uid, tuple(count.groups)
        if unread.version is None:
            self._emit(StateDamaged(queue, uid, count.copies, unread.problem, groups, wait_s))
        else:
            self._emit(StateTooNew(queue, uid, count.copies, count.version, story.VERSION, groups, wait_s))
        count.told_at, count.copies, count.version = now, 0, 0
        count.groups.clear()
