"""Runs attempts. Whatever the user's code does, an attempt ends as an `Outcome`, exactly once."""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from mulligan.core.event import TaskStuck, ThreadLimitReached
from mulligan.core.outcome import INTERRUPTED, Outcome, TimedOut
from mulligan.tasks.outcome_of import with_own_wait
from mulligan.tasks.registry import LoadedTask
from mulligan.worker.claim_watch import ClaimWatch
from mulligan.worker.extension import Middleware
from mulligan.worker.host import ThreadPool
from mulligan.worker.in_flight import InFlight
from mulligan.worker.pipeline.attempt import Attempt
from mulligan.worker.pipeline.attempt_ends import AttemptEnds
from mulligan.worker.pipeline.backpressure import Backpressure
from mulligan.worker.pipeline.deadline import Deadlines, Timed
from mulligan.worker.pipeline.drivers import Drivers
from mulligan.worker.pipeline.invocation import Invocation
from mulligan.worker.pipeline.recorder import Recorder
from mulligan.worker.pipeline.runtime import Runtime
from mulligan.worker.pipeline.thread_pool import Threads

__all__ = ["STUCK_AFTER_S", "Runner"]

STUCK_AFTER_S = 10.0
"""Seconds that a task has to end after its timeout, before its worker is given up."""

MakeThreads = Callable[
    [
        asyncio.AbstractEventLoop,
        Callable[[Attempt], Outcome],
        Callable[[list[tuple[Attempt, Outcome]]], None],
        Callable[[int, str], None],
    ],
    ThreadPool[Attempt],
]
"""As `Host.threads`."""


class Runner:
    """Starts attempts; the recorder gets those that ended, with their outcomes, many at a time.

    An attempt that goes on STUCK_AFTER_S after it was asked to end has its process replaced.
    watch: asked whether a flight's claim is ours still when an attempt begins later than it was to.
    backpressure: it. While it is on, attempts wait.
    executor: for sync tasks behind middleware; None for the loop's own. threads: makes those for all other sync tasks.
    """

    def __init__(
        self,
        runtime: Runtime,
        watch: ClaimWatch,
        recorder: Recorder,
        backpressure: Backpressure,
        middleware: Sequence[Middleware] = (),
        executor: Executor | None = None,
        threads: MakeThreads = Threads,
    ) -> None:
        self._backpressure = backpressure
        backpressure.on_ease(self._go_on)
        self._loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        self._ends = AttemptEnds(self._loop, context, recorder)
        self._recycle = runtime.recycle
        self._emit = emit = runtime.emit
        self._takes_all_async = bool(middleware)
        self._invocation = invocation = Invocation(self._loop, emit, watch, middleware, executor)
        self._drivers = Drivers(self._loop, context, invocation, backpressure, self._ends)
        self._ready = self._drivers.ready
        self._held: deque[Attempt] = deque()  # sync, while backpressure is on
        self._running = self._ends.running
        self._deadlines = Deadlines(self._loop, self._expired)
        self._overdue = Deadlines(self._loop, self._overran)
        self._threads = threads(
            self._loop,
            invocation.run_sync,
            self._collect,
            lambda count, reason: emit(ThreadLimitReached(count, reason)),
        )

    @property
    def running(self) -> int:
        """Attempts under way."""
        return len(self._running)

    def start(self, flights: Sequence[InFlight], tasks: Sequence[LoadedTask]) -> None:
        """Start these tasks on each of the messages, side by side."""
        now = self._loop.time()
        for flight in flights:
            marks = flight.progress.alerts if flight.progress.is_buried else flight.progress.marks
            flight.running += len(tasks)
            for task in tasks:
                attempt = Attempt(flight, task, marks[task.name].attempts + 1, now)
                self._running[attempt] = None
                self._deadlines.add(attempt, task.policy.timeout_s, now)
                if task.is_async or self._takes_all_async:
                    self._ready.append(attempt)
                elif self._held or self._backpressure.is_on:
                    self._held.append(attempt)
                else:
                    self._threads.put(attempt)
        if self._ready and not self._drivers.is_asked:
            self._drivers.add()

    def _go_on(self) -> None:
        """Backpressure is off again: begin what waits."""
        while self._held and not self._backpressure.is_on:
            self._threads.put(self._held.popleft())
        if self._ready:
            self._drivers.ask()

    def interrupt(self, of: Callable[[InFlight], bool] = lambda _: True) -> None:
        """End what can be ended: attempts not begun, and async ones (by cancellation), as Interrupted."""
        for attempt in [one for one in self._running if of(one.flight)]:
            if attempt.driver is not None:
                self._cancel(attempt, INTERRUPTED)
            elif self._withdraw(attempt):
                self._ends.add(attempt, INTERRUPTED)

    def abandon(self) -> list[tuple[Attempt, Outcome]]:
        """Take what does not end as ended: timed out where its time was over, else interrupted.

        For the last moment of a process: the user's code still runs.
        """
        left = [(one, one.why or INTERRUPTED) for one in self._running]
        for attempt, _ in left:
            attempt.has_ended = True
        self._running.clear()
        return left

    def forgive(self) -> None:
        """Take failures for interruptions from now on, but for those that a task calls final."""
        self._invocation.forgive()

    def close(self) -> None:
        """Stop timers and idle threads."""
        self._deadlines.close()
        self._overdue.close()
        self._threads.close()

    def _collect(self, results: list[tuple[Attempt, Outcome]]) -> None:
        explained = self._invocation.explained
        for attempt, outcome in results:
            self._ends.add(attempt, explained(attempt, outcome))

    # -- ends

    def _expired(self, item: Timed) -> None:
        assert isinstance(item, Attempt)
        attempt = item
        if self._withdraw(attempt):  # never began: the loop was held all the time, or the ledger is down
            self._ends.add(attempt, INTERRUPTED)
            return
        outcome = with_own_wait(attempt.task, attempt.number, TimedOut(attempt.task.policy.timeout_s))
        if attempt.driver is not None:
            self._cancel(attempt, outcome)
        else:
            attempt.why = outcome
        self._overdue.add(attempt, STUCK_AFTER_S, self._loop.time())

    def _withdraw(self, attempt: Attempt) -> bool:
        """Let an attempt wait no longer to begin; False when it has begun."""
        for waiting in (self._ready, self._held):
            if attempt in waiting:
                waiting.remove(attempt)
                return True
        return False

    def _overran(self, item: Timed) -> None:
        assert isinstance(item, Attempt)
        self._emit(TaskStuck(item.flight.message.uid, item.task.name, self._loop.time() - item.started_at))
        self._recycle(f"task {item.task.name} goes on although its {item.task.policy.timeout_s:g} s are over")

    def _cancel(self, attempt: Attempt, why: Outcome) -> None:
        attempt.why = attempt.why or why
        if attempt.driver is not None:
            attempt.driver.cancel()
