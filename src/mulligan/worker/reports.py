"""The one way back: what the parts of a pipeline report to its dispatcher, in order, many deliveries at a time."""

from collections import deque
from collections.abc import Callable, Sequence

from mulligan.core.lifecycle import Report
from mulligan.worker.in_flight import InFlight

__all__ = ["Reports"]

Handle = Callable[[Report, Sequence[InFlight]], None]


class Reports:
    """Hands reports on, one after the other.

    What is reported while a report is being handled is handled after it. So a long group of duplicates, each of which
    is over as soon as it begins, is a loop and no recursion.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Report, Sequence[InFlight]]] = deque()
        self._handle: Handle | None = None
        self._is_handling = False

    def connect(self, handle: Handle) -> None:
        """handle: gets every report. Once, before the first one."""
        self._handle = handle

    def put(self, report: Report, flights: Sequence[InFlight]) -> None:
        """Report this of these deliveries. It has been handled when this returns, unless another one is being."""
        if not flights:
            return
        assert self._handle is not None
        self._waiting.append((report, flights))  # behind those that were left by a fault
        if self._is_handling:
            return
        self._is_handling = True
        try:
            while self._waiting:
                self._handle(*self._waiting.popleft())
        finally:
            self._is_handling = False
