"""Makes of a delivery what a worker works on: the message, with the retry state that came with it."""

from collections.abc import Callable, Sequence

from mulligan.core import packing, retry_state
from mulligan.core.delivery import Delivery
from mulligan.core.error import PackingError
from mulligan.core.move import was_dead
from mulligan.core.queue_role import QueueRole
from mulligan.core.retry_state import RetryState
from mulligan.worker.in_flight import InFlight
from mulligan.worker.pipeline.packer import Packer
from mulligan.worker.pipeline.patient_ledger import PatientLedger
from mulligan.worker.pipeline.runtime import Runtime
from mulligan.worker.pipeline.verifier import StateVerifier, Verdict

__all__ = ["StateReader"]


class StateReader:
    """Of one queue in one process. new_token: called for the token of each claim."""

    def __init__(
        self, runtime: Runtime, role: QueueRole, packer: Packer, ledger: PatientLedger, new_token: Callable[[], str]
    ) -> None:
        self._clock = runtime.clock
        self._role = role
        self._packer = packer
        self._verifier = StateVerifier(role, packer, ledger, runtime.emit)
        self._new_token = new_token
        self._is_plain = True

    def read(self, deliveries: Sequence[Delivery]) -> tuple[list[InFlight], bool]:
        """The deliveries in flight, and whether any of them is `unread`, packed, or doubtful.

        One whose state can't be read has no token to claim it with.
        """
        now = self._clock.now()
        self._is_plain = True
        flights = [self._read(delivery, now) for delivery in deliveries]
        return flights, not self._is_plain

    def _read(self, delivery: Delivery, now: float) -> InFlight:
        message, state, problem = retry_state.read(delivery, self._role.prefix, is_trusted=self._role.is_trusted)
        flight = InFlight(delivery, message, state, self._new_token(), now)
        if problem is not None:
            self._is_plain = False
            if problem.is_held:
                flight.unread, flight.token = problem, ""
            else:
                flight.is_stray, flight.is_fresh = True, not self._role.buries_strays
        if state is not None:
            if state.wrap is not None:
                self._is_plain = False
            if was_dead(state):
                flight.replay()
        elif delivery.attributes and not self._role.is_trusted and retry_state.ATTRIBUTE in delivery.attributes:
            self._is_plain = False
        return flight

    def is_doubtful(self, flight: InFlight) -> bool:
        """Whether it carries a retry state where none is believed, or none where all should."""
        return flight.is_stray or (
            not self._role.is_trusted
            and retry_state.ATTRIBUTE in flight.delivery.attributes
            and flight.state is None
            and flight.unread is None
        )

    async def verify(self, flight: InFlight) -> Verdict | None:
        """Which message a doubtful one is; None: the process ends, and the ledger can't be reached."""
        return await self._verifier.verify(flight)

    async def unpack(self, flight: InFlight, state: RetryState) -> None:
        """Put the body back that the copy was packed without. Where that fails, the flight says why."""
        file = state.wrap.file if state.wrap is not None else None
        flight.stored = file if packing.is_for(file, packing.REJECTS) else None
        try:
            flight.message = await self._packer.unpack(flight.message, state)
        except PackingError as exc:
            flight.problem = str(exc)
