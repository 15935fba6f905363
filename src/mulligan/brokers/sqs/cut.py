"""Recognises that long polls are always cut at the same age, and says how long they may be instead. Makes no call.

A proxy, a NAT or a load balancer that gives a silent connection no longer than so many seconds is no outage: a shorter
poll gets through. An outage cuts polls, too, but at any age, many at once, and what follows them fails in other ways.
"""

import math

__all__ = ["Cuts"]

ROW = 3
"""So many cuts in a row, one after the other, each after about the same silence."""
SHORTEST_S = 1.25
"""A cut that comes earlier leaves no whole second for a poll, the shortest that is worth its price."""
SHARE = 0.8
"""Of the age of the cuts, for a poll: answers need their time, and proxies are not exact."""
HOLDS_S = 3600.0
"""Then one long poll shows whether it is still so."""


class Cuts:
    """What is known of the cuts on the way to one endpoint. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._ages: list[float] = []
        self._last_at = -math.inf
        self._limit_s = 0
        self._until = -math.inf
        self.age_s: float | None = None
        """After so many seconds of silence polls are cut, as far as is known."""
        self.count = 0
        """Of all polls that failed."""

    def wait_s(self, asked_s: float, now: float) -> float:
        """How long a poll may wait that is asked to wait for asked_s."""
        return min(asked_s, self._limit_s) if self.age_s is not None and now < self._until else asked_s

    def was_cut(self, after_s: float, wait_s: float, now: float) -> bool:
        """A poll that was to wait for wait_s was cut after after_s of silence. True: as all are, so it is no fault.

        One that was to be over by then is none of these: the service has not answered it. So an outage whose polls all
        end at one age, as behind a load balancer that gives its target so long, is a fault once polls are shorter.
        """
        self.count += 1
        if not SHORTEST_S <= after_s < wait_s:
            self._ages.clear()
            return False
        if self.age_s is not None and _is_near(after_s, self.age_s):
            self._until = now + HOLDS_S
            return True
        if now - after_s < self._last_at:  # it was under way when the last one was cut: one event may have cut both
            return False
        self._last_at = now
        if self._ages and not _is_near(after_s, self._ages[0]):
            self._ages.clear()
        self._ages.append(after_s)
        if len(self._ages) < ROW:
            return False
        self.age_s = min(self._ages)
        self._limit_s = max(1, math.floor(SHARE * self.age_s))
        self._until = now + HOLDS_S
        self._ages.clear()
        return True

    def failed(self) -> None:
        """A poll failed in another way."""
        self.count += 1
        self._ages.clear()

    def lived(self, for_s: float) -> None:
        """A poll ended by itself after so many seconds."""
        if self._ages and for_s > self._ages[0] and not _is_near(for_s, self._ages[0]):
            self._ages.clear()
        if self.age_s is not None and for_s > self.age_s and not _is_near(for_s, self.age_s):
            self.age_s = None


def _is_near(one_s: float, other_s: float) -> bool:
    return abs(one_s - other_s) <= max(0.5, 0.1 * other_s)
