"""Does what `core.lifecycle` orders: one method per order. What a message needs is decided in `core`, not here.

The parts of a pipeline report what happened to deliveries (`worker.reports`). Each report moves a delivery to its next
phase and brings an order; the dispatcher carries it out, which leads to the next report.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from operator import is_
from typing import assert_never

from mulligan.core.event import LeaseLost, SuspectIsolated
from mulligan.core.flow import DEATHS_MAX, mark_buried
from mulligan.core.lifecycle import Order, Phase, Report, after, rows
from mulligan.core.message import TaskName
from mulligan.core.outcome import Died, Outcome
from mulligan.core.progress import Progress, is_suspect
from mulligan.core.queue_role import QueueRole
from mulligan.core.step import ACK, Ack, Bury, Reject, Release, Run
from mulligan.core.value import value
from mulligan.ledger.base import Granted
from mulligan.tasks.registry import TaskSet
from mulligan.worker.claim_watch import ClaimWatch
from mulligan.worker.failpoint import ARMED, Point
from mulligan.worker.in_flight import InFlight
from mulligan.worker.ipc.lease_table import SlotState
from mulligan.worker.isolation.gate import Gate
from mulligan.worker.isolation.isolated_runner import IsolatedRunner
from mulligan.worker.pipeline.admission import Admission
from mulligan.worker.pipeline.attempt import Attempt
from mulligan.worker.pipeline.capacity import Capacity
from mulligan.worker.pipeline.claims import Claims
from mulligan.worker.pipeline.decider import Decider
from mulligan.worker.pipeline.fifo import FifoGroups
from mulligan.worker.pipeline.intake import HEAD_FIRST
from mulligan.worker.pipeline.recorder import Recorder
from mulligan.worker.pipeline.reporter import EventReporter
from mulligan.worker.pipeline.runner import Runner
from mulligan.worker.pipeline.runtime import Runtime
from mulligan.worker.pipeline.settler import Settler
from mulligan.worker.pipeline.slots import Slots
from mulligan.worker.reports import Reports

__all__ = ["Dispatcher", "Stages"]

_LOSABLE = frozenset({Phase.CLAIMING, Phase.WAITING, Phase.ACTIVE})
_LINE_IS_LONG = "another worker may run it alone sooner"
_NO_WORD = "nothing was heard of it again, nor of its worker"


@value
class Stages:
    """The parts that act for the dispatcher."""

    slots: Slots
    claims: Claims
    watch: ClaimWatch
    capacity: Capacity
    admission: Admission
    decider: Decider
    runner: Runner
    isolated: IsolatedRunner
    gate: Gate
    recorder: Recorder
    settler: Settler
    reporter: EventReporter


class Dispatcher:
    """Takes deliveries of one queue in one process through their lives, for all its consumers there."""

    def __init__(self, runtime: Runtime, role: QueueRole, stages: Stages, reports: Reports) -> None:
        turns = Turns(role, stages, reports)
        steps = Steps(runtime, role, stages, reports)
        endings = Endings(runtime, role, stages, reports, turns)
        self._carry_out: dict[Order, Callable[[Sequence[InFlight]], None]] = {
            Order.NOTHING: _nothing,
            Order.QUEUE: turns.queue,
            Order.RETURN: turns.return_,
            Order.ADMIT: steps.admit,
            Order.DECIDE: steps.decide,
            Order.SAVE: steps.save,
            Order.RECORD: steps.record,
            Order.BURY: steps.bury,
            Order.RECORD_BURIAL: steps.record_burial,
            Order.SETTLE: endings.settle,
            Order.CANCEL: endings.cancel,
            Order.GIVE_BACK: endings.give_back,
            Order.PARK: endings.park,
            Order.FREE: endings.free,
            Order.END_BURIAL: endings.end_burial,
        }
        self._slots = stages.slots
        self._claims = stages.claims
        self._recorder = stages.recorder
        self._reports = reports
        reports.connect(self._handle)

    def _handle(self, report: Report, flights: Sequence[InFlight]) -> None:
        """Move the deliveries on, and carry out what is ordered about them."""
        row = rows(report)
        found = row[flights[0].phase] or after(flights[0].phase, report)
        for flight in flights:
            if row[flight.phase] is not found:
                self._handle_apart(report, flights)
                return
        phase, order = found
        if phase is not flights[0].phase:
            for flight in flights:
                flight.phase = phase
        self._carry_out[order](flights)

    def _handle_apart(self, report: Report, flights: Sequence[InFlight]) -> None:
        """Do so for deliveries that are not all in the same phase."""
        orders: dict[Order, list[InFlight]] = {}
        for flight in flights:
            flight.phase, order = after(flight.phase, report)
            orders.setdefault(order, []).append(flight)
        for order, some in orders.items():
            self._carry_out[order](some)

    # -- from outside

    def lose(self, slot: int, sequence: int) -> None:
        """The lease of a slot is somebody else's: cancel what can be cancelled, settle nothing."""
        self._lose(self._slots.find(slot, sequence), "its lease could not be extended")

    def lose_claim(self, slot: int, sequence: int, asked_at: float) -> None:
        """The same of a claim. asked_at: monotonic seconds since which the ledger was asked to extend it.

        One that was not known to be granted by then is ours: there was nothing to extend yet. Where the last record is
        on its way there may be nothing to extend any more, and the answer to that says whose it is.
        """
        flight = self._slots.find(slot, sequence)
        if flight is not None and not flight.ends_claim and self._claims.was_granted_by(flight, asked_at):
            self._lose(flight, "its claim could not be extended")

    def _lose(self, flight: InFlight | None, reason: str) -> None:
        if flight is not None and flight.phase in _LOSABLE:
            flight.reason = reason
            self._reports.put(Report.LOST, (flight,))

    def park(self, left: Sequence[tuple[Attempt, Outcome]]) -> None:
        """Record attempts that were abandoned, and settle nothing: their code runs until the process ends.

        Their slots stay in the lease table, so the supervisor releases their messages once it has.
        """
        self._reports.put(Report.ABANDONED, list(dict.fromkeys(attempt.flight for attempt, _ in left)))
        self._recorder.ended(left)


def _nothing(_: Sequence[InFlight]) -> None:
    """A late word."""


class Turns:
    """Whose turn it is: one message of a group at a time, and no more messages at once than there is capacity for."""

    def __init__(self, role: QueueRole, stages: Stages, reports: Reports) -> None:
        self._role = role
        self._capacity = stages.capacity
        self._reports = reports
        self._groups: FifoGroups[InFlight] = FifoGroups()

    def queue(self, flights: Sequence[InFlight]) -> None:
        """Those whose turn it is get capacity."""
        first: list[InFlight] = []
        for flight in flights:
            group = flight.delivery.group
            if group is None or self._groups.enter(group, flight):
                first.append(flight)
        self._let_in(first)

    def _let_in(self, flights: Sequence[InFlight]) -> None:
        granted = [flight for flight in flights if isinstance(flight.answer, Granted)]
        if granted:
            self._capacity.acquire(granted)
        if len(granted) < len(flights):  # what isn't to be run needs no capacity
            self._reports.put(Report.PLACED, [one for one in flights if not isinstance(one.answer, Granted)])

    def return_(self, flights: Sequence[InFlight]) -> None:
        """Release claimed messages that are not to be begun here, and of which not more is known than their claim."""
        for flight in flights:
            if isinstance(flight.answer, Granted) and self._role.hands_on(flight.delivery.receive_count, 0.0):
                flight.must_leave, flight.is_fresh = True, False
                self._reports.put(Report.PLACED, (flight,))  # a copy has to carry what the ledger knows
            else:
                self._reports.put(Report.RESOLVED, (flight.resolve(Release(0.0), flight.reason),))

    def land(self, flights: Sequence[InFlight]) -> None:
        """The processing of these has ended: the next message of each one's group may begin, if it has one."""
        self._capacity.leave(flights)
        for flight in flights:
            group = flight.delivery.group
            if group is None:
                continue
            goes_on = isinstance(flight.settlement, Ack | Reject)
            following, stopped = self._groups.leave(group, flight, goes_on=goes_on)
            if following is not None:
                self._let_in((following,))
            for other in stopped:  # at once, so that the worker that gets the head next gets them, too
                other.reason = HEAD_FIRST
            if stopped:
                self._reports.put(Report.TURNED_AWAY, stopped)


class Steps:
    """What is done with a message while it is worked on: the steps of `core.flow`."""

    def __init__(self, runtime: Runtime, role: QueueRole, stages: Stages, reports: Reports) -> None:
        self._clock = runtime.clock
        self._emit = runtime.emit
        self._role = role
        self._slots = stages.slots
        self._watch = stages.watch
        self._admission = stages.admission
        self._decider = stages.decider
        self._runner = stages.runner
        self._isolated = stages.isolated
        self._recorder = stages.recorder
        self._settler = stages.settler
        self._reporter = stages.reporter
        self._reports = reports

    def admit(self, flights: Sequence[InFlight]) -> None:
        """Messages that nothing is known of go the same way: it is asked for once."""
        new: list[InFlight] = []
        for flight in flights:
            if self._admission.is_new(flight):
                new.append(flight)
            else:
                self._admit_known(flight)
        if not new:
            return
        self._admission.resolve_new(new)
        match self._decider.decide(new[0]).step:
            case Run(tasks):
                self._run(new, tasks)
            case _:
                self.decide(new)

    def _admit_known(self, flight: InFlight) -> None:
        if not self._admission.admit(flight, can_run=self._decider.can_run):
            self._reports.put(Report.RESOLVED, (flight,))
        elif flight.progress is flight.saved:
            self.decide((flight,))
        else:  # a task that left tasks.xml: what that means is recorded before it has consequences
            self._recorder.put((flight,))

    def decide(self, flights: Sequence[InFlight]) -> None:
        resolved: list[InFlight] = []
        for flight in flights:
            if flight.ends_claim:  # no time that passes turns an Ack into another step
                flight.settlement = ACK
                resolved.append(flight)
                continue
            decision = self._decider.decide(flight)
            match decision.step:
                case Run(tasks):
                    self._run((flight,), tasks)
                case Bury():
                    self._reports.put(Report.EXHAUSTED, (flight,))
                case Ack() | Release() | Reject() as settlement:
                    flight.is_handed_on = decision.is_handed_on
                    resolved.append(flight.resolve(settlement, decision.reason))
                case _:
                    assert_never(decision.step)
        if resolved:
            self._reports.put(Report.RESOLVED, resolved)

    def _run(self, flights: Sequence[InFlight], names: tuple[TaskName, ...]) -> None:
        now = self._clock.monotonic()
        tasks = self._admission.task_set(names)
        together: list[InFlight] = []
        for flight in flights:
            if now >= flight.claimed_until and not self._watch.holds_at(flight, now):  # others may have run them
                flight.reason = "its claim had run out before its tasks could start"
                self._reports.put(Report.LOST, (flight,))
            elif flight.progress.deaths and is_suspect(flight.progress.deaths):
                self._isolate(flight, tasks)
            else:
                # the slot says so first: whatever a task does to the process, its message is known as a suspect
                self._slots.set_standing(flight.slot, SlotState.RUNNING, now + tasks.longest_s)
                together.append(flight)
        if together:
            if ARMED is not None:
                ARMED.reach(Point.ALERTING if together[0].progress.is_buried else Point.STARTING)
            self._runner.start(together, tasks.tasks)

    def _isolate(self, flight: InFlight, task_set: TaskSet) -> None:
        # in the order of their times, at any look: the first that has no end is the one that had begun
        marks = flight.progress.alerts if flight.progress.is_buried else flight.progress.marks
        tasks = sorted(task_set.tasks, key=lambda task: marks[task.name].due_at)
        if flight.progress.deaths >= DEATHS_MAX:  # counted by who took its claim over: nobody could report the last
            now = self._clock.now()
            self._recorder.record(flight, tasks[0], Died(_NO_WORD), now, asyncio.get_running_loop().time())
            return
        if (rest_s := self._rest_s(flight)) > 0:
            self._reports.put(Report.RESOLVED, (flight.resolve(Release(rest_s), _LINE_IS_LONG),))
            return
        self._emit(SuspectIsolated(flight.message.uid, flight.progress.deaths))
        self._slots.set_standing(flight.slot, SlotState.ISOLATED)
        flight.running += 1  # the isolation as a whole
        self._isolated.put(flight, tasks)

    def _rest_s(self, flight: InFlight) -> float:
        """Seconds for which a suspect is given back, because another worker may run it sooner; 0.0 when it stays.

        Not where more is known of it than its copy carries, its group would wait with it, or few receives are left.
        """
        has_receives = self._role.has_receives_for_rest(flight.delivery.receive_count)
        if flight.has_moved or flight.delivery.group is not None or not has_receives:
            return 0.0
        return self._isolated.rest_s() * (0.5 + self._clock.random() / 2)

    def save(self, flights: Sequence[InFlight]) -> None:
        self._recorder.put(flights)

    def record(self, flights: Sequence[InFlight]) -> None:
        for flight in flights:
            self._recorder.ended_alone(flight)

    def bury(self, flights: Sequence[InFlight]) -> None:
        for flight in flights:
            if ARMED is not None:
                ARMED.reach(Point.EXHAUSTED)
            self._slots.set_standing(flight.slot, SlotState.HELD)
            self._settler.bury(flight)

    def record_burial(self, flights: Sequence[InFlight]) -> None:
        """The dead letters are confirmed: record that, then go on to the default tasks."""
        for flight in flights:
            self._reporter.dead_lettered(flight)
            flight.owes_letter = False
            if not flight.progress.is_buried:
                buried = mark_buried(flight.progress, flight.route)
                if self._role.is_repeat(flight.delivery.receive_count):  # its alerts may be what kills
                    buried = Progress(buried.marks, buried.alerts, is_buried=True, deaths=1)
                flight.progress = buried
            flight.ends_claim = self._decider.is_finished(flight)
            flight.has_moved = True
        self._recorder.put(flights)


class Endings:
    """How the work on a message ends, and its delivery."""

    def __init__(self, runtime: Runtime, role: QueueRole, stages: Stages, reports: Reports, turns: Turns) -> None:
        self._emit = runtime.emit
        self._role = role
        self._slots = stages.slots
        self._claims = stages.claims
        self._capacity = stages.capacity
        self._runner = stages.runner
        self._isolated = stages.isolated
        self._gate = stages.gate
        self._settler = stages.settler
        self._reporter = stages.reporter
        self._reports = reports
        self._turns = turns

    def settle(self, flights: Sequence[InFlight]) -> None:
        for flight in flights:
            if flight.is_duplicate:
                self._reporter.skipped_duplicate(flight, flight.reason)
                continue
            self._slots.set_standing(flight.slot, SlotState.HELD)
            match flight.settlement:
                case Ack():
                    if ARMED is not None:
                        ARMED.reach(Point.ALERTED if flight.progress.is_buried else Point.FINISHED)
                    flight.spends_stored = True  # nothing of it is left to do; a copy that comes late is skipped
                    self._reporter.finished(flight)
                case Release(delay_s):
                    flight.is_held = flight.problem is not None or flight.missing.is_all_of(flight.progress)
                    self._reporter.released(flight, delay_s)
                case Reject():
                    flight.is_held = flight.missing.is_all_of(flight.progress)  # reported when the copy is confirmed
        self._settler.put(flights)
        self._turns.land(flights)

    def cancel(self, flights: Sequence[InFlight]) -> None:
        for flight in flights:
            self._emit(LeaseLost(flight.message.uid, flight.reason))
            if flight.running:
                self._runner.interrupt(partial(is_, flight))
                self._isolated.drop(flight)
                if flight.alone is not None:
                    flight.alone.answer(may_start=False)
            elif flight.answer is not None:  # else the ledger's answer says whether there is a claim to give back
                self._reports.put(Report.ENDED, (flight,))

    def give_back(self, flights: Sequence[InFlight]) -> None:
        for flight in flights:
            flight.settlement = None
            if self._role.holds_deliveries:
                self._settler.put((flight.resolve(Release(0.0)),))  # its claim is given back first, if it is ours still
            elif isinstance(flight.answer, Granted):
                # the lease may be somebody else's and the claim still ours: left to run out, it would keep that one
                # waiting and look like the claim of a dead worker
                self._claims.leave((flight,))
            else:
                self._reports.put(Report.SETTLED, (flight,))
        self._turns.land(flights)

    def park(self, flights: Sequence[InFlight]) -> None:
        for flight in flights:
            self._slots.set_standing(flight.slot, SlotState.HELD)
        self._turns.land(flights)

    def free(self, flights: Sequence[InFlight]) -> None:
        self._slots.leave(flights)
        for flight in flights:
            if flight.alone is not None:
                self._gate.let_others(flight)
        self._capacity.slot_freed()

    def end_burial(self, flights: Sequence[InFlight]) -> None:
        self._turns.land(flights)
        self.free(flights)
