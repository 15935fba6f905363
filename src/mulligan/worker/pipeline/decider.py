"""What is to be done with a delivery now: `core.decision`, asked for a delivery in flight."""

from mulligan.clock import SystemClock
from mulligan.core.decision import Decision, decide
from mulligan.core.queue_role import QueueRole
from mulligan.core.step import ACK
from mulligan.worker.in_flight import InFlight

__all__ = ["Decider"]


class Decider:
    """Of one queue in one process. can_run: False once the process is to end: nothing new is started."""

    def __init__(self, role: QueueRole, clock: SystemClock) -> None:
        self._role = role
        self._clock = clock
        self.can_run = True

    def decide(self, flight: InFlight) -> Decision:
        """The next step of the delivery."""
        return decide(
            self._role,
            flight.route,
            flight.carried,
            flight.progress,
            self._clock.now(),
            receive_count=flight.delivery.receive_count,
            can_run=self.can_run and not flight.must_leave,
            missing=flight.missing,
            owes_letter=flight.owes_letter,
        )

    def is_finished(self, flight: InFlight) -> bool:
        """Whether nothing is left to do but to remove the message. No time that passes changes that."""
        return self.decide(flight).step is ACK
