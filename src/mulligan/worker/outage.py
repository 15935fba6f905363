"""Tells an outage of the broker or the ledger once, its new reasons, and its end, however often the calls fail."""

import re
from collections.abc import Callable
from functools import partial

from mulligan.brokers.base import Emit
from mulligan.clock import SystemClock
from mulligan.core.event import BrokerDown, BrokerUp, Event, LedgerDown, LedgerUp, StartGoesOn, StartWaits

__all__ = ["Outage", "of_broker", "of_ledger", "of_start"]

_REPORT_EVERY_S = 10.0
_REASONS_MAX = 6
_NUMBER = re.compile(r"[0-9]+")


class Outage:
    """Whether one kind of call fails just now. down: the event of an error's text; up: that of seconds.

    A new reason is reported when the one before was reported long enough ago: what begins as a refused connection
    may go on as a server that only reads. Each once, and of one outage a limited number.
    """

    def __init__(
        self, clock: SystemClock, emit: Emit, down: Callable[[str], Event], up: Callable[[float], Event]
    ) -> None:
        self._clock = clock
        self._emit = emit
        self._down = down
        self._up = up
        self._since: float | None = None
        self._reported_at = 0.0
        self._reasons: set[str] = set()

    @property
    def lasts_s(self) -> float:
        """Seconds since the first call that failed; 0.0 when none has."""
        return 0.0 if self._since is None else self._clock.monotonic() - self._since

    def goes_on(self, exc: Exception) -> None:
        """A call has failed."""
        now = self._clock.monotonic()
        if self._since is None:
            self._since = now
        elif now - self._reported_at < _REPORT_EVERY_S or len(self._reasons) >= _REASONS_MAX:
            return
        reason = _NUMBER.sub("0", str(exc))  # ports, processes and seconds differ from call to call
        if reason not in self._reasons:
            self._reasons.add(reason)
            self._reported_at = now
            self._emit(self._down(str(exc)))

    def is_over(self) -> None:
        """A call has succeeded."""
        if self._since is not None:
            self._emit(self._up(self._clock.monotonic() - self._since))
            self._since = None
            self._reasons.clear()


def of_broker(clock: SystemClock, emit: Emit, where: str) -> Outage:
    """where: what the broker was asked to do, as in "settling QUEUE"."""
    return Outage(clock, emit, partial(BrokerDown, where), partial(BrokerUp, where))


def of_ledger(clock: SystemClock, emit: Emit) -> Outage:
    """The ledger as the caller sees it."""
    return Outage(clock, emit, LedgerDown, LedgerUp)


def of_start(clock: SystemClock, emit: Emit, what: str, within_s: float) -> Outage:
    """What the start of the system waits for, so long: "broker" or "ledger"."""
    return Outage(clock, emit, partial(StartWaits, what, within_s), partial(StartGoesOn, what))
