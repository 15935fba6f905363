"""How one attempt is run: async, sync in a thread, or behind middleware. Whatever the user's code does, there is an
outcome.
"""

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any

from mulligan.blocking import caught
from mulligan.brokers.base import Emit
from mulligan.core.event import TaskLate
from mulligan.core.outcome import INTERRUPTED, Failed, Outcome, Succeeded, TimedOut
from mulligan.core.progress import Mark
from mulligan.fork import FORKED, end
from mulligan.tasks.context import TaskContext
from mulligan.tasks.outcome_of import outcome_of_error, outcome_of_result, with_own_wait
from mulligan.worker.claim_watch import ClaimWatch
from mulligan.worker.extension import Middleware, around
from mulligan.worker.failpoint import ARMED, Point
from mulligan.worker.in_flight import InFlight
from mulligan.worker.pipeline.attempt import Attempt

__all__ = ["Invocation", "context_of"]

_LATE_S = 0.5


class Invocation:
    """Runs attempts, one per call. watch: asked whether the claim is still held when an attempt begins late.

    middleware: around each attempt, the first one outermost. executor: for sync tasks behind middleware; None for the
    loop's own.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        emit: Emit,
        watch: ClaimWatch,
        middleware: Sequence[Middleware] = (),
        executor: Executor | None = None,
    ) -> None:
        self._loop = loop
        self._emit = emit
        self._holds = watch.holds
        self._middleware = tuple(middleware)
        self._executor = executor
        self._is_forgiving = False

    def forgive(self) -> None:
        """Take failures for interruptions from now on, but for those that a task calls final."""
        self._is_forgiving = True

    def may_begin(self, attempt: Attempt) -> bool:
        """Whether an attempt that is due may begin now. Safe in a thread."""
        # held up by a task that does not wait, or by a machine that stood still: another worker may have run it by now
        if attempt.why is not None:  # its timeout is over, and `deadline` is a later one by now
            return False
        now = self._loop.time()
        is_late = now - attempt.started_at >= _LATE_S
        return now < attempt.deadline and (not is_late or self._holds(attempt.flight))

    async def run_async(self, attempt: Attempt) -> Outcome:
        """Run an attempt of an async task, or of any behind middleware; its outcome, explained."""
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
        return self.explained(attempt, outcome)

    async def _wrapped(self, attempt: Attempt) -> Any:
        context = context_of(attempt)

        async def call() -> Any:
            task, message = attempt.task, attempt.flight.message
            if task.is_async:
                return await task.invoke(message, context)
            return await _in_thread(self._executor, lambda: task.invoke(message, context))

        return await around(self._middleware, call, context)()

    def run_sync(self, attempt: Attempt) -> Outcome:
        """Run an attempt of a sync task in this thread, if it may begin; its outcome, to be explained in the loop."""
        if not self.may_begin(attempt):
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

    def explained(self, attempt: Attempt, outcome: Outcome) -> Outcome:
        """The outcome as it is recorded: a failure of an attempt that was cancelled, or had to end, has that reason.

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
    # on a later copy than the one that this attempt was due on: the worker of that one was stopped under it
    if number == 1:
        return flight.carried.is_buried if flight.progress.is_buried else flight.hop > 0
    return mark is not None and flight.delivery.sent_at >= mark.due_at
