"""The capacity of one queue in one process: how many messages may be worked on at once, and those that wait for it.

Messages that were asked for ahead wait here, claimed and with their leases kept, and take a place in the moment in
which it comes free. They wait for milliseconds; if it gets longer, they are given back for others to take, and for a
while nothing is asked for ahead.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence

from mulligan.core.lifecycle import Report
from mulligan.worker.in_flight import InFlight
from mulligan.worker.pipeline.demand import CompletionRate
from mulligan.worker.pipeline.slots import Slots
from mulligan.worker.reports import Reports

__all__ = ["HOLD_OFF_S", "WAIT_MAX_S", "Capacity"]

WAIT_MAX_S = 1.0
"""Seconds that a message waits for a place before it is given back."""

HOLD_OFF_S = 10.0
"""Seconds after that in which nothing is asked for ahead: messages take longer than they did."""


_NO_PLACE = "no place came free in time"


def _nobody() -> None:
    """Nobody receives yet."""


class Capacity:
    """How many messages a pipeline works on, who waits for that, and how many more may be received.

    places: messages that are worked on at once. slots: of the lease table, in which a message stays until its
    settlement has ended. failed: called with a fault of the program that ends the worker.
    Reports `PLACED` of those that may be worked on now, and `TURNED_AWAY` of each that has waited for too long.
    """

    def __init__(self, places: int, slots: Slots, reports: Reports, failed: Callable[[BaseException], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._places = places
        self._slots = slots
        self._reports = reports
        self._failed = failed
        self._changed: Callable[[], None] = _nobody
        self._taken = 0
        self._ended = 0
        self._rate = CompletionRate(self._loop.time())
        self._holds_off_until = 0.0
        self._waiting: deque[InFlight] = deque()
        self._is_open = True
        self._is_looking = False
        self._timer: asyncio.TimerHandle | None = None
        self.in_flight = 0
        """Messages received whose processing has not ended."""

    def on_change(self, changed: Callable[[], None]) -> None:
        """changed: called when another message may be received, because one has ended or has freed its slot."""
        self._changed = changed

    def room(self, soon_s: float) -> tuple[int, int]:
        """How many messages more may be received: now, and in soon_s seconds at the present rate of ends."""
        free, slots = self._places - self.in_flight, self._slots.free
        soon_free = free + self._expected_completions(soon_s)
        return min(free, slots), min(soon_free, slots)

    def receive(self, count: int) -> None:
        """So many messages were received."""
        self.in_flight += count

    def leave(self, flights: Sequence[InFlight]) -> None:
        """The processing of these has ended."""
        self.in_flight -= len(flights)
        for flight in flights:
            if flight.has_place:
                flight.has_place = False
                self._taken -= 1
                self._ended += 1
            elif flight.waits_since:
                flight.waits_since = 0.0
                self._waiting.remove(flight)
        if self._waiting and not self._is_looking:
            self._is_looking = True
            self._loop.call_soon(self._guarded, self._look)  # once for all that end in this turn of the loop
        self._changed()

    def slot_freed(self) -> None:
        """A slot of the lease table is free again."""
        self._changed()

    def acquire(self, flights: Sequence[InFlight]) -> None:
        """Begin with these, or have them wait behind those that do."""
        if not self._is_open or (not self._waiting and self._taken + len(flights) <= self._places):
            self._place(flights)
            return
        now = self._loop.time()
        for flight in flights:
            flight.waits_since = now
        self._waiting.extend(flights)
        self._look()
        self._wait()

    def hold_off(self) -> None:
        """Ask for nothing ahead from now on: a message that comes again is a suspect, also if it was not begun here."""
        self._holds_off_until = math.inf

    def open(self) -> None:
        """Let everybody in, now and from now on: nothing is started any more, and each goes its way out."""
        self._is_open = False
        self._look()

    def _expected_completions(self, within_s: float) -> int:
        """How many places will come free within this many seconds, at the present rate of ends.

        What may have to wait for longer than WAIT_MAX_S is not counted.
        """
        now = self._loop.time()
        per_s = self._rate.per_s(now, self._ended)
        return 0 if now < self._holds_off_until else min(int(per_s * min(within_s, WAIT_MAX_S / 2)), self._places)

    def _look(self) -> None:
        self._is_looking = False
        waiting = self._waiting
        free = self._places - self._taken if self._is_open else len(waiting)
        if waiting and free > 0:
            self._place([waiting.popleft() for _ in range(min(free, len(waiting)))])

    def _place(self, flights: Sequence[InFlight]) -> None:
        self._taken += len(flights)
        for flight in flights:
            flight.waits_since = 0.0
            flight.has_place = True
        self._reports.put(Report.PLACED, flights)

    def _wait(self) -> None:
        if self._waiting and self._timer is None:
            until = self._waiting[0].waits_since + WAIT_MAX_S
            self._timer = self._loop.call_at(until, self._guarded, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        # the sum that the timer was set to: another one may come out later than it, and the timer would fire for ever
        while self._waiting and self._waiting[0].waits_since + WAIT_MAX_S <= now:
            self._holds_off_until = max(self._holds_off_until, now + HOLD_OFF_S)
            flight = self._waiting.popleft()
            flight.waits_since = 0.0
            flight.reason = _NO_PLACE
            self._reports.put(Report.TURNED_AWAY, (flight,))
        self._wait()

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as exc:  # noqa: BLE001 - whatever it is: the loop would log it, and the worker stand still
            self._failed(exc)
