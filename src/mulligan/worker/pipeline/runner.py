"""Runs attempts. Whatever the user's code does, an attempt ends as an `Outcome`, exactly once.

Async attempts that are ready share one asyncio task until one of them waits; then another task takes over the rest. So
an attempt that never waits costs no task of its own, and one that does has the task that it began in to itself, as
`asyncio.timeout` and cancellation need. A task whose context variables were changed by an attempt takes no other.
"""

import asyncio
import contextvars
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from typing import Any

from mulligan.blocking import caught
from mulligan.core.event import TaskLate, TaskStuck, ThreadLimitReached
from mulligan.core.outcome import INTERRUPTED, Failed, Outcome, Succeeded, TimedOut
from mulligan.core.progress import Mark
from mulligan.fork import FORKED, end
from mulligan.tasks.context import TaskContext
from mulligan.tasks.outcome_of import outcome_of_error, outcome_of_result, with_own_wait
from mulligan.tasks.registry import LoadedTask
from mulligan.worker.claim_watch import ClaimWatch
from mulligan.worker.failpoint import ARMED, Point
from mulligan.worker.host import ThreadPool
from mulligan.worker.in_flight import InFlight
from mulligan.worker.pipeline.attempt import Attempt
from mulligan.worker.pipeline.backpressure import Backpressure
from mulligan.worker.pipeline.deadline import Deadlines, Timed
from mulligan.worker.pipeline.recorder import Recorder
from mulligan.worker.pipeline.runtime import Runtime
from mulligan.worker.pipeline.thread_pool import Threads

__all__ = ["STUCK_AFTER_S", "Middleware", "Runner", "context_of"]

STUCK_AFTER_S = 10.0
"""Seconds that a task has to end after its timeout, before its worker is given up."""

_LATE_S = 0.5

Middleware = Callable[[Callable[[], Awaitable[Any]], TaskContext], Awaitable[Any]]
"""`async (call_next, context)` around one attempt; what it returns or raises is the attempt's end."""


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

    An attempt that goes on STUCK_AFTER_S after it was told to end has its process replaced.
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
        self._holds = watch.holds
        self._executor = executor
        self._is_forgiving = False
        self._recursion_limit = sys.getrecursionlimit()
        self._backpressure = backpressure
        backpressure.on_ease(self._go_on)
        self._loop = asyncio.get_running_loop()
        # an attempt's end leads to what runs next, and what it bound is none of that one's business
        self._context = contextvars.copy_context()
        self._recorder = recorder
        self._recycle = runtime.recycle
        self._emit = emit = runtime.emit
        self._middleware = tuple(middleware)
        self._ready: deque[Attempt] = deque()  # async
        self._held: deque[Attempt] = deque()  # sync, while backpressure is on
        self._running: dict[Attempt, None] = {}  # in the order of their starts, so that a simulation can be repeated
        self._drivers: set[asyncio.Task[None]] = set()
        self._outcomes: list[tuple[Attempt, Outcome]] = []
        self._is_kicked = False
        self._deadlines = Deadlines(self._loop, self._expired)
        self._overdue = Deadlines(self._loop, self._overran)
        self._threads = threads(
            self._loop, self._run_sync, self._collect, lambda count, reason: emit(ThreadLimitReached(count, reason))
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
                if task.is_async or self._middleware:
                    self._ready.append(attempt)
                elif self._held or self._backpressure.is_on:
                    self._held.append(attempt)
                else:
                    self._threads.put(attempt)
        if self._ready and not self._is_kicked:
            self._is_kicked = True
            self._add_driver()

    def _go_on(self) -> None:
        """Backpressure is off again: begin what waits."""
        while self._held and not self._backpressure.is_on:
            self._threads.put(self._held.popleft())
        if self._ready:
            self._ask_for_driver()

    def interrupt(self, of: Callable[[InFlight], bool] = lambda _: True) -> None:
        """End what can be ended: attempts not begun, and async ones (by cancellation), as Interrupted."""
        for attempt in [one for one in self._running if of(one.flight)]:
            if attempt.driver is not None:
                self._cancel(attempt, INTERRUPTED)
            elif self._withdraw(attempt):
                self._end(attempt, INTERRUPTED)

    def abandon(self) -> list[tuple[Attempt, Outcome]]:
        """Take what does not end as ended: timed out where it has been told so, else interrupted.

        For the last moment of a process: the user's code still runs.
        """
        left = [(one, one.why or INTERRUPTED) for one in self._running]
        for attempt, _ in left:
            attempt.has_ended = True
        self._running.clear()
        return left

    def forgive(self) -> None:
        """Take failures for interruptions from now on, but for those that a task calls final."""
        self._is_forgiving = True

    def close(self) -> None:
        """Stop timers and idle threads."""
        self._deadlines.close()
        self._overdue.close()
        self._threads.close()

    # -- async attempts

    def _ask_for_driver(self) -> None:
        if not self._is_kicked:
            self._is_kicked = True
            self._loop.call_soon(self._kick)

    def _kick(self) -> None:
        if self._ready and not self._backpressure.is_on:
            self._add_driver()
        else:
            self._is_kicked = False

    def _add_driver(self) -> None:
        driver = self._loop.create_task(self._drive(), context=self._context.copy())
        self._drivers.add(driver)
        driver.add_done_callback(self._drivers.discard)

    async def _drive(self) -> None:
        self._is_kicked = False
        me = asyncio.current_task()
        assert me is not None
        clean = contextvars.copy_context()
        while self._ready and not self._backpressure.is_on:
            attempt = self._ready.popleft()
            if self._ready:
                self._ask_for_driver()
            attempt.driver = me
            outcome = await self._run_async(attempt) if self._may_begin(attempt) else INTERRUPTED
            if FORKED.is_true:
                end()
            attempt.driver = None
            self._end(attempt, outcome)
            # a task that was cancelled, by us or by its attempt, may hold a cancellation back for its next wait
            if me.cancelling() or contextvars.copy_context() != clean:
                self._ask_for_driver()
                return

    def _may_begin(self, attempt: Attempt) -> bool:
        # held up by a task that does not wait, or by a machine that stood still: another worker may have run it by now
        if attempt.why is not None:  # its timeout is over, and `deadline` is a later one by now
            return False
        now = self._loop.time()
        is_late = now - attempt.started_at >= _LATE_S
        return now < attempt.deadline and (not is_late or self._holds(attempt.flight))

    async def _run_async(self, attempt: Attempt) -> Outcome:
        task = attempt.task
        if ARMED is not None:
            self._loop.call_soon(ARMED.reach, Point.RUNNING)  # when it waits for the first time
        try:
            if self._middleware:
                outcome = outcome_of_result(await self._wrapped(attempt))
            else:
                context = context_of(attempt) if task.wants_context else None
                outcome = outcome_of_result(await task.invoke(attempt.flight.message, context))
        except BaseException as exc:  # user code may raise anything; here it becomes an outcome
            if isinstance(exc, GeneratorExit) and not self._loop.is_running():
                raise  # the loop is closed under it: no end of an attempt
            outcome = outcome_of_error(task, exc)
        return self._explained(attempt, outcome)

    async def _wrapped(self, attempt: Attempt) -> Any:
        context = context_of(attempt)

        async def call() -> Any:
            task, message = attempt.task, attempt.flight.message
            if task.is_async:
                return await task.invoke(message, context)
            return await _in_thread(self._executor, lambda: task.invoke(message, context))

        for middleware in reversed(self._middleware):
            call = _bound(middleware, call, context)
        return await call()

    # -- sync attempts

    def _run_sync(self, attempt: Attempt) -> Outcome:
        if not self._may_begin(attempt):
            return INTERRUPTED
        task, message = attempt.task, attempt.flight.message
        if ARMED is not None:
            self._loop.call_soon_threadsafe(ARMED.reach, Point.RUNNING)
        try:
            return outcome_of_result(task.invoke(message, context_of(attempt) if task.wants_context else None))
        except BaseException as exc:  # noqa: BLE001 - user code may raise anything; here it becomes an outcome
            return outcome_of_error(task, exc)
        finally:
            if FORKED.is_true:
                end()

    def _collect(self, results: list[tuple[Attempt, Outcome]]) -> None:
        for attempt, outcome in results:
            self._end(attempt, self._explained(attempt, outcome))

    # -- ends

    def _end(self, attempt: Attempt, outcome: Outcome) -> None:
        if attempt.has_ended:
            return
        attempt.has_ended = True
        self._running.pop(attempt, None)
        if not self._outcomes:
            self._loop.call_soon(self._tell, context=self._context.copy())
        self._outcomes.append((attempt, outcome))

    def _explained(self, attempt: Attempt, outcome: Outcome) -> Outcome:
        """The outcome as it is recorded: a failure after we told the attempt to end has our reason, not its own.

        A success after the timeout is one all the same: a retry would repeat its effect.
        """
        if not isinstance(outcome, Failed):
            if attempt.why is not None and isinstance(outcome, Succeeded) and isinstance(attempt.why, TimedOut):
                took_s = self._loop.time() - attempt.started_at
                self._emit(TaskLate(attempt.flight.message.uid, attempt.task.name, took_s, attempt.why.after_s))
            return outcome
        if self._is_forgiving and not outcome.is_final:
            return attempt.why or INTERRUPTED
        return attempt.why or with_own_wait(attempt.task, attempt.number, outcome)

    def _tell(self) -> None:
        if sys.getrecursionlimit() < self._recursion_limit:  # set by a task; all others and we run on it, too
            sys.setrecursionlimit(self._recursion_limit)
        outcomes, self._outcomes = self._outcomes, []
        self._recorder.ended(outcomes)

    def _expired(self, item: Timed) -> None:
        assert isinstance(item, Attempt)
        attempt = item
        if self._withdraw(attempt):  # never began: the loop was held all the time, or the ledger is down
            self._end(attempt, INTERRUPTED)
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


async def _in_thread(executor: Executor | None, call: Callable[[], Any]) -> Any:
    """What `call` gives, from a thread. Does not end before the thread does: a retry must not run beside it."""
    context = contextvars.copy_context()  # a trace that a middleware began goes on in the task
    future = asyncio.get_running_loop().run_in_executor(executor, context.run, caught, call)
    was_cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as exc:
            was_cancelled = exc
    result, error = future.result()
    if error is not None:
        raise was_cancelled or error
    return result


def _bound(middleware: Middleware, call_next: Callable[[], Awaitable[Any]], context: TaskContext) -> Any:
    return lambda: middleware(call_next, context)


def context_of(attempt: Attempt) -> TaskContext:
    """What the task may know about this attempt."""
    flight, task, number = attempt.flight, attempt.task, attempt.number
    progress = flight.progress
    mark = (progress.alerts if progress.is_buried else progress.marks).get(task.name)
    return task.context_for(
        flight.message,
        progress,
        number,
        generation=flight.generation,
        first_seen_at=flight.first_seen_at,
        may_repeat=_may_repeat(flight, number, mark),
    )


def _may_repeat(flight: InFlight, number: int, mark: Mark | None) -> bool:
    """Whether this attempt may have begun before, on this copy or on the one before it, without an end on record."""
    if flight.delivery.receive_count > 1 or flight.progress.deaths != 0:
        return True
    # on a later copy than the one that this attempt was due on: the worker of that one was told to stop under it
    if number == 1:
        return flight.carried.is_buried if flight.progress.is_buried else flight.hop > 0
    return mark is not None and flight.delivery.sent_at >= mark.due_at
