"""Who may run a suspect's task alone now, on one host: many at once, but a last start has the others wait.

The start after which a task would be exhausted, should nothing be heard of it again, is made while no other suspect
runs on the host. So a message that takes whole hosts down is blamed for that, and none of those that ran beside it. The
supervisor keeps the order; each worker asks it through a `Gate`.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import assert_never

from mulligan.core.lifecycle import Phase
from mulligan.core.value import value
from mulligan.worker.in_flight import InFlight, IsolatedStart
from mulligan.worker.ipc.channel import Isolate, Isolated

__all__ = ["Gate", "HostGate"]


@value
class Ask:
    """One worker's request. seat: the worker's index. number: of the request. is_last: it is to be the only one."""

    seat: int
    number: int
    is_last: bool


class HostGate:
    """The supervisor's side: grants requests in the order in which they came. grant: called with seat and number."""

    def __init__(self, grant: Callable[[int, int], None]) -> None:
        self._grant = grant
        self._waiting: deque[Ask] = deque()
        self._inside: list[Ask] = []

    def heard(self, seat: int, message: Isolate | Isolated) -> None:
        """Do as a worker's message says. `Isolated` twice is once."""
        match message:
            case Isolate(number, is_last):
                self._waiting.append(Ask(seat, number, is_last))
                self._look()
            case Isolated(number):
                self._drop(lambda one: (one.seat, one.number) == (seat, number))
            case _:
                assert_never(message)

    def gone(self, seat: int) -> None:
        """A worker has ended, with all that it had asked for."""
        self._drop(lambda one: one.seat == seat)

    def _drop(self, is_over: Callable[[Ask], bool]) -> None:
        self._waiting = deque(one for one in self._waiting if not is_over(one))
        self._inside = [one for one in self._inside if not is_over(one)]
        self._look()

    def _look(self) -> None:
        while self._waiting:
            first = self._waiting[0]
            if self._inside and (first.is_last or self._inside[0].is_last):
                return  # and nobody overtakes it: it would wait for ever
            self._inside.append(self._waiting.popleft())
            self._grant(first.seat, first.number)


class Gate:
    """A worker's side. send: to its supervisor; None where there is none: then it keeps its own order."""

    def __init__(self, send: Callable[[Isolate | Isolated], None] | None = None) -> None:
        self._own = HostGate(lambda _, number: self.granted(number))
        self._send = send or partial(self._own.heard, 0)
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[None]] = {}

    async def enter(self, *, is_last: bool) -> int:
        """Wait until one more may be started; the number by which to leave. Cancelled, it has left."""
        number = next(self._numbers)
        granted = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._send(Isolate(number, is_last))
        try:
            await granted
        except asyncio.CancelledError:
            self.leave(number)
            raise
        return number

    def granted(self, number: int) -> None:
        """The supervisor's word."""
        granted = self._waiting.pop(number, None)
        if granted is not None and not granted.done():
            granted.set_result(None)

    def ended(self, alone: IsolatedStart) -> None:
        """The present attempt of a suspect has ended; that is not saved yet."""
        if not alone.leaving:
            alone.leaving = alone.gate
        elif alone.gate:  # the end of the one before is not saved yet, so this one has not even started
            self.leave(alone.gate)
        alone.gate = 0

    def let_others(self, flight: InFlight) -> None:
        """Let other suspects start, once it is saved that this one does not run, or nobody saves it any more: the next
        one may end the host.
        """
        alone = flight.alone
        if alone is None or not alone.leaving:
            return
        if flight.slot < 0 or flight.phase >= Phase.LOST or flight.progress is flight.saved:
            self.leave(alone.leaving)
            alone.leaving = 0

    def leave(self, number: int) -> None:
        """It has ended."""
        self._waiting.pop(number, None)
        self._send(Isolated(number))
