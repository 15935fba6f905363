"""Recognises that long polls are always cut at the same age, and says how long they may be instead. Makes no call.

A proxy, a NAT or a load balancer with a time limit for silent connections is not an outage: a shorter poll succeeds. An
outage also cuts polls, but at any age, many at the same time, and the requests after them fail in other ways.
"""

import math

__all__ = ["Cuts"]

ROW = 3
"""This many cuts in a row, one after the other, each after about the same silence."""
SHORTEST_S = 1.25
"""An earlier cut leaves less than a second for a poll, and shorter ones are not worth their price."""
SHARE = 0.8
"""The wait of polls, as a share of the age of the cuts: answers take time, and proxies are not exact."""
HOLDS_S = 3600.0
"""After this, one long poll tests whether the limit still exists."""


class Cuts:
    """What is known of the cuts on the way to one endpoint. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._ages: list[float] = []
        self._last_at = -math.inf
        self._limit_s = 0
        self._until = -math.inf
        self.age_s: float | None = None
        """Seconds of silence after which polls are cut; None where they are not, as far as is known."""
        self.count = 0
        """All polls that failed."""

    def wait_s(self, asked_s: float, now: float) -> float:
        """The wait for a poll whose caller asks for asked_s."""
        return min(asked_s, self._limit_s) if self.age_s is not None and now < self._until else asked_s

    def was_cut(self, after_s: float, wait_s: float, now: float) -> bool:
        """Note that a poll with wait_s was cut after after_s of silence. True: all are, so it is not a fault.

        A poll that should have ended by then is a fault: the service did not answer it. So an outage whose polls all
        end at one age, as behind a load balancer with a limit for its target, is a fault once polls are shorter.
        """
        self.count += 1
        if not SHORTEST_S <= after_s < wait_s:
            self._ages.clear()
            return False
        if self.age_s is not None and _is_near(after_s, self.age_s):
            self._until = now + HOLDS_S
            return True
        if now - after_s < self._last_at:  # it overlapped with the last one: one event may have cut both
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
        """A poll ended with an answer after for_s."""
        if self._ages and for_s > self._ages[0] and not _is_near(for_s, self._ages[0]):
            self._ages.clear()
        if self.age_s is not None and for_s > self.age_s and not _is_near(for_s, self.age_s):
            self.age_s = None


def _is_near(one_s: float, other_s: float) -> bool:
    return abs(one_s - other_s) <= max(0.5, 0.1 * other_s)
