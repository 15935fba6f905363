"""Runs the tasks of a suspect alone: in a process of one slot, one task after the other.

A suspect is a message whose tasks ran when its worker died. Its worker keeps the delivery and the claim, and has the
attempts run in a child process, so a death there is known at once, has one message and one task to blame, and costs
nobody else anything. It works on every broker, because no receipt leaves the worker. `isolated_handle` has one such
process, and `isolated_process` is its other side.

That a start is about to be made is on record before it is: if the whole host dies of it, the process that takes the
claim over counts a death.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from mulligan.core.error import Meddled
from mulligan.core.flow import DEATHS_MAX, begun_alone
from mulligan.core.lifecycle import Phase, Report
from mulligan.core.outcome import INTERRUPTED, Died
from mulligan.core.progress import at_rest
from mulligan.tasks.registry import LoadedTask
from mulligan.worker.background import Background
from mulligan.worker.claim_watch import ClaimWatch
from mulligan.worker.in_flight import InFlight, IsolatedResult, IsolatedStart
from mulligan.worker.isolation.gate import Gate
from mulligan.worker.isolation.isolated_handle import IsolatedHandle
from mulligan.worker.reports import Reports

__all__ = ["IsolatedRunner"]

_IDLE_S = 20.0
_LINE = 2
_LINE_S = 1.0
"""This many messages per child, or what will have its turn in this many seconds, wait here. The others had better be
given back, so that none waits for its turn here while another worker has nothing to do."""
_REST_MAX_S = 30.0
"""Seconds for which they are given back, at most: no longer than the line here will last."""
_TOOK_FIRST_S = 1.0
"""Seconds that an attempt is taken to last, before one has ended."""


class IsolatedRunner:
    """The suspects of one queue in one worker, in the order of their turn, and the child processes that run them.

    processes: those that run them, one message at a time each.
    watch: asked whether a flight's claim is ours still; the turn of a suspect may come late.
    gate: asked before each start of a task. failed: called when this can't go on.
    Reports `STARTING` before each start of a task, and `ENDED_ALONE` after its end.
    """

    def __init__(
        self,
        processes: Sequence[IsolatedHandle],
        reports: Reports,
        gate: Gate,
        watch: ClaimWatch,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._reports = reports
        self._gate = gate
        self._watch = watch
        self._waiting: deque[tuple[InFlight, Sequence[LoadedTask]]] = deque()
        self._is_interrupted = False
        self._processes = processes
        self._served: set[IsolatedHandle] = set()
        self._servers = Background(failed, lambda: Meddled("what runs suspects"))
        self._took_s = _TOOK_FIRST_S

    def put(self, flight: InFlight, tasks: Sequence[LoadedTask]) -> None:
        """Run these tasks on the flight's message when its turn comes."""
        if flight.alone is None:
            flight.alone = IsolatedStart()
        self._waiting.append((flight, tasks))
        # the child that has run one takes the next: another is woken only when none of them is free
        idle = [process for process in self._processes if process.current is None and not process.wake.is_set()]
        if idle:
            process = next((process for process in idle if process.is_loaded), idle[0])
            process.wake.set()
            if process not in self._served:
                self._served.add(process)
                self._servers.spawn(self._serve(process))

    @property
    def waiting(self) -> int:
        """Messages whose turn has not come."""
        return len(self._waiting)

    def rest_s(self) -> float:
        """Seconds for which one more had better be given back, so that another worker may have it; 0.0 when it is soon
        its turn here.
        """
        line = self.waiting - sum(process.current is None for process in self._processes)
        wait_s = line * self._took_s / len(self._processes)
        return 0.0 if line < _LINE * len(self._processes) or wait_s < _LINE_S else min(wait_s, _REST_MAX_S)

    def interrupt(self) -> None:
        """End what runs and what waits, as Interrupted: the process is shut down."""
        self._is_interrupted = True
        for process in self._processes:
            process.interrupt()

    def drop(self, flight: InFlight) -> None:
        """End the attempt of a flight whose lease or claim is lost: its new holder has begun another."""
        for process in self._processes:
            if flight is process.current:
                process.kill()

    async def close(self) -> None:
        """End the children, and wait until what was under way is reported."""
        self.interrupt()
        await self._servers.wait()

    async def _serve(self, process: IsolatedHandle) -> None:
        try:
            while True:
                while self._waiting:
                    process.current, tasks = self._waiting.popleft()
                    process.wake.clear()
                    await self._run(process, process.current, tasks)
                    process.current = None
                if self._is_interrupted:
                    return
                process.wake.clear()
                try:
                    async with asyncio.timeout(_IDLE_S):
                        await process.wake.wait()
                except TimeoutError:
                    await process.end()
                    await process.wake.wait()
        finally:
            await process.end()

    async def _run(self, process: IsolatedHandle, flight: InFlight, tasks: Sequence[LoadedTask]) -> None:
        """One task after the other; a death ends the round, the flow says what comes next."""
        loop = asyncio.get_running_loop()
        for index, task in enumerate(tasks):
            started_at = loop.time()
            is_over = self._is_interrupted or flight.phase is Phase.LOST or not self._watch.holds(flight)
            outcome = INTERRUPTED if is_over else await process.attempt(flight, task, self._begins, self._watch)
            self._took_s += (loop.time() - started_at - self._took_s) / 4
            is_last = index == len(tasks) - 1 or isinstance(outcome, Died) or outcome == INTERRUPTED
            assert flight.alone is not None
            flight.alone.result = IsolatedResult(task, outcome, started_at, is_last)
            self._reports.put(Report.ENDED_ALONE, (flight,))
            if is_last:
                return

    async def _begins(self, flight: InFlight) -> bool:
        """Have it on record that a task of a suspect is about to start; False when its claim is lost meanwhile.

        Whoever may have to tell which task it was finds the ends of those before it on record, too. The last start that
        it has is made while no other suspect's task runs on this host.
        """
        alone = flight.alone
        assert alone is not None
        is_last = at_rest(flight.progress).deaths == DEATHS_MAX - 1
        alone.gate = await self._gate.enter(is_last=is_last)
        if flight.phase is Phase.LOST or not self._watch.holds(flight):
            return False
        flight.progress = begun_alone(flight.progress)
        if flight.progress is flight.saved:
            return True
        start: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        alone.start = start
        self._reports.put(Report.STARTING, (flight,))
        try:
            return await start
        finally:
            alone.start = None
