"""Records the outcomes of attempts, durably, before anything is settled: the first word of record -> copy -> remove."""

from collections.abc import Sequence

from mulligan.core.flow import record
from mulligan.core.lifecycle import Phase, Report
from mulligan.core.message import TaskName
from mulligan.core.outcome import SUCCEEDED, Interrupted, Outcome
from mulligan.core.progress import Progress, State, at_rest
from mulligan.ledger.base import Record
from mulligan.tasks.registry import LoadedTask
from mulligan.worker.failpoint import ARMED, Point
from mulligan.worker.in_flight import InFlight
from mulligan.worker.isolation.gate import Gate
from mulligan.worker.pipeline.admission import Admission
from mulligan.worker.pipeline.attempt import Attempt
from mulligan.worker.pipeline.backpressure import Backpressure
from mulligan.worker.pipeline.batcher import Batcher
from mulligan.worker.pipeline.decider import Decider
from mulligan.worker.pipeline.patient_ledger import PatientLedger
from mulligan.worker.pipeline.reporter import EventReporter
from mulligan.worker.pipeline.runtime import Runtime
from mulligan.worker.reports import Reports

__all__ = ["Recorder"]

_BATCH_MAX = 1000


class Recorder:
    """Saves flights' progress in groups, each as soon as the group before it is on disk.

    backpressure: it, which counts ends and their records. gate: left by suspects whose end is saved.
    Reports `SAVED`, `LOST` where the claim is somebody else's, and `ENDED` where there was nothing to save.
    While the ledger can't be written everything waits, and nothing is settled; an event says so once.
    """

    def __init__(
        self,
        runtime: Runtime,
        ledger: PatientLedger,
        admission: Admission,
        decider: Decider,
        reporter: EventReporter,
        backpressure: Backpressure,
        gate: Gate,
        reports: Reports,
    ) -> None:
        self._ledger = ledger
        self._clock = runtime.clock
        self._admission = admission
        self._decider = decider
        self._reporter = reporter
        self._backpressure = backpressure
        self._gate = gate
        self._reports = reports
        self._successes = admission.successes
        self._saves: Batcher[InFlight] = Batcher(self._save, max_batch=_BATCH_MAX, failed=runtime.failed)

    # -- outcomes

    def ended(self, ends: Sequence[tuple[Attempt, Outcome]]) -> None:
        """Take the ends of attempts, many at a time, and have them saved."""
        now = self._clock.now()
        changed: list[InFlight] = []
        over: list[InFlight] = []
        for attempt, outcome in ends:
            flight = attempt.flight
            flight.running -= 1
            if self._record(flight, attempt.task, outcome, now, attempt.started_at):
                changed.append(flight)
            elif flight.running == 0:
                over.append(flight)
        self.put(changed, ends=1)
        self._reports.put(Report.ENDED, over)

    def ended_alone(self, flight: InFlight) -> None:
        """Take the end of an attempt in a process of its own."""
        alone = flight.alone
        assert alone is not None
        assert alone.result is not None
        result, alone.result = alone.result, None
        flight.progress = at_rest(flight.progress)
        self._gate.ended(alone)
        if result.is_last:
            flight.running -= 1  # the isolation as a whole
        self.record(flight, result.task, result.outcome, self._clock.now(), result.started_at)
        self._gate.let_others(flight)

    def record(self, flight: InFlight, task: LoadedTask, outcome: Outcome, now: float, started_at: float) -> None:
        """Record one outcome and have it saved. The flight's `running` has been counted down already.

        now: epoch seconds (UTC). started_at: seconds of the loop.
        """
        if self._record(flight, task, outcome, now, started_at):
            self.put((flight,), ends=1)
        elif flight.running == 0:
            self._reports.put(Report.ENDED, (flight,))

    def _record(self, flight: InFlight, task: LoadedTask, outcome: Outcome, now: float, started_at: float) -> bool:
        """Record one outcome in the flight's progress; whether that has to be saved."""
        if flight.phase is _LOST:
            return False
        if ARMED is not None:
            ARMED.reach(Point.ENDED)
        before = flight.progress
        usual = self._successes.after(before, task.name) if outcome is SUCCEEDED else None
        if usual is not None:
            after, is_finished = usual
        elif isinstance(outcome, Interrupted) and outcome.lacks_task:
            self._admission.lack(flight, task.name)
            after, is_finished = flight.progress, False
            before = after if _is_pending(after, task.name) else before  # else it failed permanently: reported
        else:
            after = record(before, task.name, outcome, task.policy, now, self._clock.random())
            is_finished = False
        if after is not before:
            flight.progress = after
            flight.has_moved = True
            self._reporter.outcome(flight, task, outcome, now, started_at)
        if flight.running == 0:
            flight.ends_claim = is_finished or self._decider.is_finished(flight)
        return after is not flight.saved

    # -- saves

    def put(self, flights: Sequence[InFlight], *, ends: int = 0) -> None:
        """Keep the flights' progress. Put again while it is being saved, it is saved again.

        ends: how many ends of attempts are new in each.
        """
        if not self._ledger.is_durable:
            for flight in flights:
                flight.saved = flight.progress
            if ARMED is not None and any(flight.running for flight in flights):
                ARMED.reach(Point.RECORDED)
            self._kept(list(dict.fromkeys(flights)))
            return
        self._backpressure.ended(ends * len(flights))
        for flight in flights:
            flight.unrecorded += ends
            if not flight.is_saving:
                flight.is_saving = True
                self._saves.put(flight)

    @property
    def is_idle(self) -> bool:
        """Everything that was put is saved."""
        return self._saves.is_idle

    async def drain(self) -> None:
        """Wait until everything that was put is saved, or given up."""
        await self._saves.drain()

    async def _save(self, flights: list[InFlight]) -> None:
        snapshots = [flight.progress for flight in flights]
        records = [
            Record(flight.message.uid, flight.generation, flight.token, snapshot, None, flight.ends_claim)
            for flight, snapshot in zip(flights, snapshots, strict=True)
        ]
        ends = 0
        for flight in flights:
            flight.is_saving = False
            ends += flight.unrecorded
            flight.unrecorded = 0
        answers = await self._ledger.save(records)
        if answers is None:
            return
        kept: list[InFlight] = []
        lost: list[InFlight] = []
        for flight, snapshot, is_kept in zip(flights, snapshots, answers, strict=True):
            if is_kept:
                flight.saved = snapshot
                kept.append(flight)
            else:
                flight.reason = _TAKEN
                lost.append(flight)
        self._reports.put(Report.LOST, lost)
        if ARMED is not None and any(flight.running for flight in kept):
            ARMED.reach(Point.RECORDED)
        self._backpressure.recorded(ends)
        self._kept(kept)

    def _kept(self, flights: Sequence[InFlight]) -> None:
        saved: list[InFlight] = []
        for flight in flights:
            if flight.alone is not None:
                if flight.progress is flight.saved:
                    flight.alone.answer(may_start=True)
                self._gate.let_others(flight)
            if flight.running:
                continue
            if flight.progress is flight.saved:
                saved.append(flight)
            elif flight.phase is Phase.ACTIVE:
                self.put((flight,))
        self._reports.put(Report.SAVED, saved)


_LOST = Phase.LOST  # looked up once: a member of an enum takes its time
_TAKEN = "its claim was taken by another worker"


def _is_pending(progress: Progress, task: TaskName) -> bool:
    return (progress.alerts if progress.is_buried else progress.marks)[task].state is State.PENDING
