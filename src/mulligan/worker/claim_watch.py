"""Whether the claim of a delivery is surely still this worker's."""

from mulligan.clock import SystemClock
from mulligan.worker.in_flight import InFlight
from mulligan.worker.ipc.lease_table import LeaseTable

__all__ = ["ClaimWatch"]


class ClaimWatch:
    """table: where the supervisor writes until when it has extended a claim."""

    def __init__(self, table: LeaseTable, clock: SystemClock) -> None:
        self._table = table
        self._clock = clock

    def holds(self, flight: InFlight) -> bool:
        """Whether the claim of a flight is surely ours still. It isn't when we and the supervisor stood still."""
        return self.holds_at(flight, self._clock.monotonic())

    def holds_at(self, flight: InFlight, now: float) -> bool:
        """The same at that monotonic second."""
        return now < flight.claimed_until or (flight.slot >= 0 and now < self._table.kept_until(flight.slot))
