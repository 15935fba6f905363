"""Tells an outage of the broker or the ledger once, and its end, however often the calls fail in between."""

from collections.abc import Callable
from functools import partial

from mulligan.brokers.base import Emit
from mulligan.clock import SystemClock
from mulligan.core.event import BrokerDown, BrokerUp, Event, LedgerDown, LedgerUp

__all__ = ["Outage", "of_broker", "of_ledger"]


class Outage:
    """Whether one kind of call fails just now. down: the event of an error's text; up: that of seconds."""

    def __init__(
        self, clock: SystemClock, emit: Emit, down: Callable[[str], Event], up: Callable[[float], Event]
    ) -> None:
        self._clock = clock
        self._emit = emit
        self._down = down
        self._up = up
        self._since: float | None = None

    @property
    def lasts_s(self) -> float:
        """Seconds since the first call that failed; 0.0 when none has."""
        return 0.0 if self._since is None else self._clock.monotonic() - self._since

    def goes_on(self, exc: Exception) -> None:
        """A call has failed."""
        if self._since is None:
            self._since = self._clock.monotonic()
            self._emit(self._down(str(exc)))

    def is_over(self) -> None:
        """A call has succeeded."""
        if self._since is not None:
            self._emit(self._up(self._clock.monotonic() - self._since))
            self._since = None


def of_broker(clock: SystemClock, emit: Emit, where: str) -> Outage:
    """where: what the broker was asked to do, as in "settling QUEUE"."""
    return Outage(clock, emit, partial(BrokerDown, where), partial(BrokerUp, where))


def of_ledger(clock: SystemClock, emit: Emit) -> Outage:
    """The ledger as the caller sees it."""
    return Outage(clock, emit, LedgerDown, LedgerUp)
