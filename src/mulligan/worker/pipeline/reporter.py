"""Reports and counts what happens to messages: a flight before and after gives events and counts. Decides nothing."""

import asyncio
from collections.abc import Callable

from mulligan.brokers.base import Emit
from mulligan.clock import SystemClock
from mulligan.core.event import (
    DefaultTasksFinished,
    DuplicateSkipped,
    Event,
    MessageDeadLettered,
    MessageDone,
    MessageReleased,
    SuspectDied,
    TaskExhausted,
    TaskFailed,
    TaskSkipped,
    TaskSucceeded,
)
from mulligan.core.message import TaskName
from mulligan.core.outcome import Died, Outcome, Skipped, Succeeded
from mulligan.core.progress import Mark, Progress, State
from mulligan.tasks.registry import LoadedTask
from mulligan.worker.in_flight import InFlight
from mulligan.worker.ipc.lease_table import Counter, LeaseTable

__all__ = ["EventReporter"]

# plain numbers: an enum's member is looked up and converted each time
_DONE, _SUCCEEDED = int(Counter.DONE), int(Counter.SUCCEEDED)


class EventReporter:
    """One for a queue of a process. wants: whether anybody hears events of a kind; one a message is costly."""

    def __init__(self, table: LeaseTable, clock: SystemClock, emit: Emit, wants: Callable[[type[Event]], bool]) -> None:
        self._counters = table.counters
        self._clock = clock
        self._emit = emit
        self._tells_done = wants(MessageDone)
        self._tells_succeeded = wants(TaskSucceeded)

    def skipped_duplicate(self, flight: InFlight, reason: str) -> None:
        """A duplicate was skipped."""
        self._counters[Counter.FOLDED] += 1
        self._emit(DuplicateSkipped(flight.message.uid, reason))

    def released(self, flight: InFlight, delay_s: float) -> None:
        """A message is being released for so long, for the flight's reason."""
        self._emit(MessageReleased(flight.message.uid, flight.reason, delay_s))

    def dead_lettered(self, flight: InFlight) -> None:
        """The dead letter of a message is confirmed."""
        marks = flight.progress.marks.items()
        failed = tuple(name for name, mark in marks if mark.state is State.EXHAUSTED)
        self._emit(MessageDeadLettered(flight.message.uid, failed))

    def outcome(self, flight: InFlight, task: LoadedTask, outcome: Outcome, now: float, started_at: float) -> None:
        """An attempt ended, and is recorded in the flight's progress. started_at: loop time."""
        if isinstance(outcome, Succeeded) and not self._tells_succeeded:
            self._counters[_SUCCEEDED] += 1
            return
        self._counters[_SUCCEEDED if isinstance(outcome, Succeeded | Skipped) else Counter.FAILED] += 1
        uid = flight.message.uid
        mark = _mark(flight.progress, task.name)
        if isinstance(outcome, Died) and mark.state is State.PENDING:
            self._emit(SuspectDied(uid, task.name, flight.progress.deaths, outcome.how))
        elif isinstance(outcome, Skipped):
            self._emit(TaskSkipped(uid, task.name, outcome.reason))
        elif mark.state is State.EXHAUSTED:
            self._emit(TaskExhausted(uid, task.name, mark.attempts, mark.reason or ""))
        elif mark.state is State.PENDING:
            reason, wait_s = mark.reason or "", max(0.0, mark.due_at - now)
            self._emit(TaskFailed(uid, task.name, mark.attempts, task.policy.max_attempts, reason, wait_s))
        else:
            took_s = asyncio.get_running_loop().time() - started_at
            self._emit(TaskSucceeded(uid, task.name, mark.attempts, took_s))

    def finished(self, flight: InFlight) -> None:
        """Nothing is left to do for a message: it is being acknowledged."""
        progress = flight.progress
        if not flight.has_moved and progress.marks:
            self.skipped_duplicate(flight, "it has been finished already")
            return
        if progress.is_buried:
            if progress.alerts:
                exhausted = tuple(name for name, mark in progress.alerts.items() if mark.state is State.EXHAUSTED)
                self._emit(DefaultTasksFinished(flight.message.uid, exhausted))
            return
        self._counters[_DONE] += 1
        if self._tells_done:
            took_s = max(0.0, self._clock.now() - flight.received_at)
            self._emit(MessageDone(flight.message.uid, len(progress.marks), took_s))


def _mark(progress: Progress, task: TaskName) -> Mark:
    return (progress.alerts if progress.is_buried else progress.marks)[task]
