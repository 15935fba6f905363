"""Runs the async attempts that are ready, in asyncio tasks that they share: the drivers.

One task runs attempt after attempt until one of them waits; then another task takes over the rest. So an attempt that
never waits costs no task of its own, and one that does has the task that it began in to itself, as `asyncio.timeout`
and cancellation need. A task whose context variables were changed by an attempt takes no other.
"""

import asyncio
import contextvars
from collections import deque

from mulligan.core.outcome import INTERRUPTED
from mulligan.fork import FORKED, end
from mulligan.worker.pipeline.attempt import Attempt
from mulligan.worker.pipeline.attempt_ends import AttemptEnds
from mulligan.worker.pipeline.backpressure import Backpressure
from mulligan.worker.pipeline.invocation import Invocation

__all__ = ["Drivers"]


class Drivers:
    """As many asyncio tasks as attempts that wait, and one more.

    context: each driver begins in a copy of it. backpressure: the backpressure. While it is on, no attempt begins.
    ends: gets each attempt with its outcome.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context,
        invocation: Invocation,
        backpressure: Backpressure,
        ends: AttemptEnds,
    ) -> None:
        self._loop = loop
        self._context = context
        self._invocation = invocation
        self._backpressure = backpressure
        self._ends = ends
        self._drivers: set[asyncio.Task[None]] = set()
        self.ready: deque[Attempt] = deque()
        """Attempts that wait to begin."""
        self.is_asked = False
        """A driver is to begin that has not begun."""

    def add(self) -> None:
        """Have one more begin at the loop's next turn."""
        self.is_asked = True
        self._start()

    def ask(self) -> None:
        """Have one more at the loop's next turn, if anything waits then."""
        if not self.is_asked:
            self.is_asked = True
            self._loop.call_soon(self._kick)

    def _kick(self) -> None:
        if self.ready and not self._backpressure.is_on:
            self._start()
        else:
            self.is_asked = False

    def _start(self) -> None:
        driver = self._loop.create_task(self._drive(), context=self._context.copy())
        self._drivers.add(driver)
        driver.add_done_callback(self._drivers.discard)

    async def _drive(self) -> None:
        self.is_asked = False
        me = asyncio.current_task()
        assert me is not None
        clean = contextvars.copy_context()
        while self.ready and not self._backpressure.is_on:
            attempt = self.ready.popleft()
            if self.ready:
                self.ask()
            attempt.driver = me
            outcome = await self._invocation.run_async(attempt) if self._invocation.may_begin(attempt) else INTERRUPTED
            if FORKED.is_true:
                end()
            attempt.driver = None
            self._ends.add(attempt, outcome)
            # a task that was cancelled, by us or by its attempt, may hold a cancellation back for its next wait
            if me.cancelling() or contextvars.copy_context() != clean:
                self.ask()
                return
