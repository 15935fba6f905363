"""Takes deliveries of one queue through the flow: claim, decide, run, record, settle. Decides nothing itself.

take      read the retry state, take a slot of the lease table, claim, merge what is known
_advance  ask `core.flow.next_step`, and do as it says
_ended    `core.flow.record` each outcome, and have it saved at once
_kept     when all of a message's attempts have ended and are saved: its next step
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import assert_never

from mulligan.brokers.base import Emit
from mulligan.clock import SystemClock
from mulligan.core import packing, retry_state
from mulligan.core.delivery import Delivery
from mulligan.core.error import LedgerError, PackingError
from mulligan.core.event import (
    BodyMissing,
    Event,
    LeaseLost,
    MessageMoved,
    MessageReleased,
    SuspectIsolated,
)
from mulligan.core.flow import DEATHS_MAX, begun_alone, mark_buried, next_step, record, settled
from mulligan.core.message import TaskName, Uid
from mulligan.core.move import was_dead
from mulligan.core.outcome import SUCCEEDED, Died, Interrupted, Outcome
from mulligan.core.policy import again_in_s
from mulligan.core.progress import Progress, State, at_rest, is_suspect, merge
from mulligan.core.retry_state import RetryState, Unread
from mulligan.core.route import Route
from mulligan.core.step import ACK, BURY, Ack, Bury, Reject, Release, Run, Step
from mulligan.ledger.base import Answer, Granted, Held, Outdated
from mulligan.tasks.registry import LoadedTask, TaskRegistry, TaskSet
from mulligan.worker.failpoint import ARMED, Point
from mulligan.worker.in_flight import Damaged, InFlight, IsolatedStart
from mulligan.worker.ipc.lease_table import LeaseTable, SlotState
from mulligan.worker.isolation.gate import Gate
from mulligan.worker.isolation.isolated_runner import IsolatedRunner
from mulligan.worker.opening import unless
from mulligan.worker.pipeline.admission import PATIENT_S, Admission, QueueRole
from mulligan.worker.pipeline.capacity import Capacity
from mulligan.worker.pipeline.fifo import FifoGroups
from mulligan.worker.pipeline.held_copies import HeldCopies, MissingTasks
from mulligan.worker.pipeline.packer import Packer
from mulligan.worker.pipeline.recorder import CLAIM_SPENT, Recorder
from mulligan.worker.pipeline.reporter import EventReporter
from mulligan.worker.pipeline.runner import Attempt, Runner
from mulligan.worker.pipeline.settler import Settler
from mulligan.worker.pipeline.success_cache import SuccessCache
from mulligan.worker.pipeline.verifier import New, Newest, StateVerifier, Verified

__all__ = ["Dispatcher"]

_NO_PLACE = "no place came free in time"
_HEAD_FIRST = "the head of its group comes first"
_UNREADABLE_ROW = "its row in the ledger can't be read"
_AWAY = "the ledger can't be reached"
_UNREAD = "its state can't be read"
_LINE_IS_LONG = "another worker may run it alone sooner"
_NO_WORD = "nothing was heard of it again, nor of its worker"

_RECEIVES_KEPT = 2
"""Receives that a suspect must have left, beyond the present one, to be given back for another worker: its worker may
die, and an answer may be lost."""

_LAST_TRY_S = 1.0
"""What a process that is to end leaves the ledger to end claims that may have been made."""

_NO_BODY_S = 60.0
_NO_BODY_MAX_S = 3600.0
"""A copy whose body can't be had is looked at again after so long, then twice that, and so on: somebody has to act."""

_HELD_S = 1.0
"""How long a copy waits at most for the claim of another where a dead worker's messages come back by themselves: the
supervisor is about to end that claim."""


class Dispatcher:
    """Takes deliveries of one queue in one process through the flow, for all its consumers there."""

    def __init__(
        self,
        stage: QueueRole,
        catalogue: TaskRegistry,
        table: LeaseTable,
        clock: SystemClock,
        emit: Emit,
        wants: Callable[[type[Event]], bool],
        *,
        packer: Packer,
        misses: MissingTasks,
        gate: Gate,
        new_token: Callable[[], str],
    ) -> None:
        self._stage = stage
        self._catalogue = catalogue
        self._table = table
        self._clock = clock
        self._emit = emit
        self._packer = packer
        self._misses = misses
        self._gate = gate
        self._new_token = new_token
        self._reporter = EventReporter(table, clock, emit, wants)
        self._verifier = StateVerifier(stage, packer, emit)
        self._left_alone = HeldCopies(clock, emit, counts_releases=stage.counts_releases)
        self._successes = SuccessCache()
        self._admission = Admission(stage, catalogue, table, clock, self._successes)
        self._flights: dict[int, InFlight] = {}
        self._claim_s = (1 - CLAIM_SPENT) * stage.lease_s
        """Seconds for which a claim is good at least when its answer is there."""
        self._can_run = True
        self._groups: FifoGroups[InFlight] = FifoGroups()
        self._following: deque[InFlight] = deque()
        self._is_following = False
        self.in_flight = 0
        """Messages received whose processing has not ended."""

    def wire(
        self,
        runner: Runner,
        recorder: Recorder,
        settler: Settler,
        solo: IsolatedRunner,
        freed: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """Connect the parts that act for the dispatcher and call it back. Once, before `take`.

        freed: called when a message stops being in flight or gives its slot back, so that another may be asked for.
        failed: with a fault of ours that ends the worker.
        """
        self._freed = freed
        self._stopping: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._capacity = Capacity(self._stage.capacity, begin=self._begin_all, give_back=self._give_back, failed=failed)
        self._runner = runner
        self._recorder = recorder
        self._settler = settler
        self._solo = solo

    # -- in

    async def take(self, deliveries: Sequence[Delivery], lease_until: float) -> None:
        """Take the deliveries of one receive. lease_until: monotonic seconds at which their leases end."""
        now = self._clock.now()
        wrapped: list[tuple[InFlight, RetryState]] = []
        unread: list[tuple[InFlight, Unread]] = []
        pleading: list[InFlight] = []
        flights = [self._board(delivery, now, wrapped, unread, pleading) for delivery in deliveries]
        self._enter(flights, lease_until)
        self.in_flight += len(flights)
        if unread:
            flights = self._hold(flights, unread)
        for flight, told in wrapped:
            await self._unpack(flight, told)
        if pleading:
            flights = await self._hear(flights, pleading, lease_until)
        if not flights:
            return
        self._reporter.received(len(flights))
        if ARMED is not None:
            ARMED.reach(Point.RECEIVED)
        answers = await self._recorder.claim(flights, patience_s=self._stage.lease_s)
        if answers is not None:
            self._answered(flights, answers)
        elif self._recorder.is_giving_up:
            self._not_claimed(flights)
        else:
            await self._go_without(flights)

    def _answered(self, flights: Sequence[InFlight], answers: Sequence[Answer | Damaged]) -> None:
        """Let those in that are to be run, one of a group at a time."""
        claimed_until = self._clock.monotonic() + self._claim_s
        dropped: list[InFlight] = []
        first: list[InFlight] = []
        claimed: list[int] = []
        lost_groups: set[str | None] = set()
        for flight, answer in zip(flights, answers, strict=True):
            group = flight.delivery.group
            flight.answer, flight.claimed_until = answer, claimed_until
            if isinstance(answer, Granted):
                claimed.append(flight.slot)
            if flight.is_lost:
                dropped.append(flight)
                lost_groups.add(group)
            elif group is None:
                first.append(flight)
            elif group in lost_groups:
                self._return(flight, _HEAD_FIRST)
            elif self._groups.enter(group, flight):
                first.append(flight)
        self._table.set_claimed(claimed)
        self._let_in(first)  # after all have entered: a head that ends at once must find those behind it
        for flight in dropped:
            self._forsake(flight)

    async def _go_without(self, flights: Sequence[InFlight]) -> None:
        """The ledger is away for long, perhaps only from here: let others have what was not begun. Until it can be
        written again nothing more is asked for, which is until this ends.

        What its queue would soon move away is kept: where the ledger is away from everybody, each look is a receive.
        """
        kept: list[InFlight] = []
        unsure: list[tuple[Uid, int, str]] = []
        for flight in flights:
            if not flight.is_lost and self._stage.hands_on(flight.delivery.receive_count, 0.0):
                kept.append(flight)
                continue
            unsure.append(flight.key)
            if flight.is_lost:
                self._forsake(flight)
            else:
                flight.token = ""  # it does not wait for the end of its claim, of which nothing is known
                self._finish(flight, Release(0.0), _AWAY)
        if unsure:
            # one may have been made whose answer was lost; and a ledger that only reads can't end it
            with contextlib.suppress(LedgerError):  # that is an answer
                await unless(self._stopping, self._recorder.give_back_all(unsure), grace_s=_LAST_TRY_S)
        if not kept:
            return
        if (answers := await self._recorder.claim(kept)) is not None:
            self._answered(kept, answers)
        else:
            self._not_claimed(kept)

    def _not_claimed(self, flights: Sequence[InFlight]) -> None:
        """The process ends, and the ledger can't be reached: nothing was started."""
        for flight in flights:
            if flight.is_lost:
                self._forsake(flight)
            else:
                self._finish(flight, Release(0.0), _AWAY)

    def _begin_all(self, flights: Sequence[InFlight]) -> None:
        """Messages that nothing is known of go the same way: it is asked for once."""
        new: list[InFlight] = []
        for flight in flights:
            if self._admission.is_new(flight):
                new.append(flight)
            else:
                self._begin(flight)
        if not new:
            return
        route, begun = self._admission.resolve_new(new)
        match next_step(route, begun, begun, self._clock.now(), can_run=self._can_run):
            case Run(tasks):
                self._run(new, tasks)
            case _:
                for flight in new:
                    self._advance(flight)

    def _let_in(self, flights: Sequence[InFlight]) -> None:
        granted = [flight for flight in flights if isinstance(flight.answer, Granted)]
        if granted:
            self._capacity.acquire(granted)
        if len(granted) < len(flights):
            for flight in flights:
                if not isinstance(flight.answer, Granted):  # it isn't to be run, so it needs no place
                    self._begin(flight)

    def _give_back(self, flight: InFlight) -> None:
        self._return(flight, _NO_PLACE)

    def _return(self, flight: InFlight, reason: str) -> None:
        """Give a claimed message back that is not to be begun here, and of which not more is known than its claim."""
        if isinstance(flight.answer, Granted) and self._stage.hands_on(flight.delivery.receive_count, 0.0):
            flight.must_leave = True
            self._begin(flight)  # a copy has to carry what the ledger knows
        else:
            self._finish(flight, Release(0.0), reason)

    def _begin(self, flight: InFlight) -> None:
        """Start a message: at once on standard queues, when its group is free on FIFO queues."""
        assert flight.answer is not None
        if self._admit(flight, flight.answer):
            if flight.missing.tasks:
                self._misses.add(flight)
            if flight.progress is flight.saved:
                self._advance(flight)
            else:  # a task that left tasks.xml: what that means is recorded before it has consequences
                self._recorder.put(flight)

    def ending(self, within_s: float) -> int:
        """How many messages more there will be room for in so many seconds. None where nothing is asked for ahead."""
        # a message that comes a second time is a suspect there, and may come so because it was given back unbegun
        return 0 if self._stage.suspects_repeats else self._capacity.expected_completions(within_s)

    @property
    def held(self) -> int:
        """Slots of the lease table in use: messages in flight, and those whose settlement is under way."""
        return len(self._flights)

    def stop_running(self) -> None:
        """From now on start no attempt: what is unfinished is released or handed on."""
        self._can_run = False
        if not self._stopping.done():
            self._stopping.set_result(None)
        self._capacity.open()

    def lose(self, slot: int, sequence: int) -> None:
        """The lease of a slot is somebody else's: cancel what can be cancelled, settle nothing."""
        flight = self._held(slot, sequence)
        if flight is not None:
            self.drop(flight, "its lease could not be extended")

    def lose_claim(self, slot: int, sequence: int, asked_at: float) -> None:
        """The same of a claim. asked_at: monotonic seconds since which the ledger was asked to extend it.

        One that was not known to be granted by then is ours: there was nothing to extend yet. Where the last record is
        on its way there may be nothing to extend any more, and the answer to that tells whose it is.
        """
        flight = self._held(slot, sequence)
        if flight is None or flight.answer is None or flight.ends_claim:
            return
        if flight.claimed_until - self._claim_s <= asked_at:
            self.drop(flight, "its claim could not be extended")

    def _held(self, slot: int, sequence: int) -> InFlight | None:
        flight = self._flights.get(slot)
        return flight if flight is not None and self._table.sequence(slot) == sequence else None

    def drop(self, flight: InFlight, reason: str) -> None:
        """End a flight without a settlement, as soon as its attempts have ended; those that can be are cancelled."""
        if flight.is_lost or flight.is_settling:
            return
        flight.is_lost = True
        self._emit(LeaseLost(flight.message.uid, reason))
        if flight.answer is None:
            return  # once the ledger has answered it is known whether there is a claim to give back
        if flight.running:
            self._runner.interrupt(lambda one: one is flight)
            self._solo.drop(flight)
            if flight.alone is not None:
                flight.alone.answer(may_start=False)
        else:
            self._forsake(flight)

    def holds(self, flight: InFlight) -> bool:
        """Whether the claim of a flight is surely ours still. It isn't when we and the supervisor stood still."""
        return self._holds_at(flight, self._clock.monotonic())

    def _holds_at(self, flight: InFlight, now: float) -> bool:
        return now < flight.claimed_until or (flight.slot >= 0 and now < self._table.kept_until(flight.slot))

    def _forsake(self, flight: InFlight) -> None:
        if self._stage.holds_deliveries:
            flight.is_settling = True
            self._settler.put(flight, Release(0.0))  # its claim is given back first, if it is ours still
            self._land(flight)
        elif isinstance(flight.answer, Granted):
            # the lease may be somebody else's and the claim still ours: left to run out, it would keep that one waiting
            # and look like the claim of a dead worker
            self._recorder.leave(flight)
            self._land(flight)
        else:
            self.over(flight)

    def _board(
        self,
        delivery: Delivery,
        now: float,
        wrapped: list[tuple[InFlight, RetryState]],
        unread: list[tuple[InFlight, Unread]],
        pleading: list[InFlight],
    ) -> InFlight:
        message, told, problem = retry_state.read(delivery, self._stage.prefix, is_trusted=self._stage.is_trusted)
        flight = InFlight(delivery, message, told, self._new_token(), now)
        if problem is not None:
            if problem.is_held:
                flight.token = ""  # it is never claimed, so the ledger has nothing to give back
                unread.append((flight, problem))
            else:
                flight.is_stray, flight.is_fresh = True, not self._stage.buries_strays
        if told is not None:
            if told.wrap is not None:
                wrapped.append((flight, told))
            if was_dead(told):
                flight.replay()
        elif flight.is_stray or (retry_state.ATTRIBUTE in delivery.attributes and not self._stage.is_trusted):
            pleading.append(flight)
        return flight

    def _enter(self, flights: Sequence[InFlight], lease_until: float) -> None:
        put, index = self._table.put, self._stage.index
        for flight in flights:
            slot = flight.slot = put(
                index, flight.delivery.receipt, flight.message.uid, flight.generation, flight.token, lease_until
            )
            self._flights[slot] = flight

    async def _hear(self, flights: list[InFlight], pleading: Sequence[InFlight], lease_until: float) -> list[InFlight]:
        """Find out which messages those are that carry a retry state where none is believed, or none where all should.

        Returns the flights that continue.
        """
        waiting: list[tuple[InFlight, Unread]] = []
        for flight in pleading:
            match await self._verifier.verify(flight, self._recorder):
                case None:
                    self._not_claimed(flights)
                    return []
                case Verified() as believed:
                    self._believe(flight, believed, lease_until)
                case Unread() as unread:
                    flight.token = ""
                    waiting.append((flight, unread))
                case Newest(generation, hop):
                    flight.generation, flight.hop = generation, hop
                    self._enter_anew(flight, lease_until)
                case New():
                    pass
        return self._hold(flights, waiting) if waiting else flights

    def _believe(self, flight: InFlight, believed: Verified, lease_until: float) -> None:
        """Take the flight for the message that its retry state names."""
        told = flight.told = believed.told
        flight.message, flight.problem, flight.is_fresh = believed.message, believed.problem, False
        flight.generation, flight.hop, flight.first_seen_at = told.generation, told.hop, told.first_seen_at
        flight.carried = flight.progress = flight.saved = settled(believed.known)
        if told.is_dead:
            flight.replay()
        self._enter_anew(flight, lease_until)

    def _enter_anew(self, flight: InFlight, lease_until: float) -> None:
        """Have the lease table say whose claim is extended, now that the message is known."""
        self._table.remove(flight.slot)
        del self._flights[flight.slot]
        self._enter((flight,), lease_until)

    def _hold(self, flights: Sequence[InFlight], unread: Sequence[tuple[InFlight, Unread]]) -> list[InFlight]:
        """Leave copies alone whose state can't be read, and with them what is behind them in their groups; the rest."""
        for flight, problem in unread:
            flight.unread = problem
        rest: list[InFlight] = []
        stopped: set[str] = set()
        for flight in flights:
            group = flight.delivery.group
            if flight.unread is not None:
                wait_s = self._left_alone.add(flight, flight.unread)
                self._finish(flight, Release(self._patient_s(flight, wait_s)), _UNREAD)
                if group is not None:
                    stopped.add(group)
            elif group is not None and group in stopped:
                if self._stage.hands_on(flight.delivery.receive_count, 0.0):
                    # it comes back as often as its head, and its queue would move it away
                    flight.must_leave, flight.is_fresh = True, False
                    rest.append(flight)
                else:
                    flight.token = ""
                    self._finish(flight, Release(0.0), _HEAD_FIRST)
            else:
                rest.append(flight)
        return rest

    async def _unpack(self, flight: InFlight, told: RetryState) -> None:
        file = told.wrap.file if told.wrap is not None else None
        flight.stored = file if packing.is_for(file, packing.REJECTS) else None
        try:
            flight.message = await self._packer.unpack(flight.message, told)
        except PackingError as exc:
            flight.problem = str(exc)

    def _admit(self, flight: InFlight, answer: Answer | Damaged) -> bool:
        """Take the ledger's answer to the claim; False: this copy is not to be run."""
        match answer:
            case Granted(known):
                if flight.problem is not None:
                    self._leave(flight, known, flight.problem)
                    return False
                self._admission.resolve(flight, known)
                flight.owes_letter = flight.may_be_letter and flight.progress.is_buried
                if flight.told is not None and (flight.is_replay or not self._stage.is_trusted) and self._can_run:
                    self._tell_moved(flight, is_first=known is None or not known.marks)
                return True
            case Held(until):
                wait_s = max(0.05, until - self._clock.now())
                longest_s = _HELD_S if self._stage.holds_deliveries else self._stage.lease_s
                wait_s = min(wait_s, longest_s)
                wait_s = max(wait_s, min(self._patient_s(flight, wait_s), PATIENT_S))
                self._fold(flight, Release(wait_s), "another copy is being worked on")
                return False
            case Outdated():
                if flight.is_replay:
                    self._tell_moved(flight, is_first=False)
                self._fold(flight, ACK, "a later copy exists")
                return False
            case Damaged(problem):
                flight.unread = Unread(problem, is_held=True, is_in_ledger=True)
                flight.token = ""  # nothing is claimed
                wait_s = self._left_alone.add(flight, flight.unread)
                self._finish(flight, Release(self._patient_s(flight, wait_s)), _UNREADABLE_ROW)
                return False
            case _:
                assert_never(answer)

    def _tell_moved(self, flight: InFlight, *, is_first: bool) -> None:
        uid, queue = flight.message.uid, flight.delivery.queue
        self._emit(MessageMoved(uid, queue, flight.generation, flight.is_replay, is_first))

    def _leave(self, flight: InFlight, known: Progress | None, problem: str) -> None:
        """Neither run nor remove a copy whose body can't be had, unless it has been finished already."""
        flight.progress = flight.saved = flight.carried if known is None else merge(known, flight.carried)
        now = self._clock.now()
        step = next_step(Route(()), flight.carried, flight.progress, now, can_run=False)
        if isinstance(step, Ack) and flight.progress.marks:
            self._finish(flight, step, "")
            return
        age_s = None if self._stage.counts_releases else now - flight.delivery.sent_at
        wait_s = again_in_s(_NO_BODY_S, _NO_BODY_MAX_S, flight.delivery.receive_count, age_s)
        wait_s = self._patient_s(flight, wait_s)
        self._emit(BodyMissing(flight.message.uid, flight.delivery.queue, problem, wait_s))
        self._finish(flight, Release(wait_s), problem)

    def _patient_s(self, flight: InFlight, wait_s: float) -> float:
        return self._stage.patient_s(flight.delivery.receive_count, wait_s)

    # -- the flow

    def _advance(self, flight: InFlight) -> None:
        step = self._next_step(flight, self._clock.now())
        match step:
            case Reject(delay_s) if self._stage.holds_groups and not flight.progress.is_buried:
                step, reason = Release(delay_s), "its group waits for it"
            case _:
                reason = "not due yet" if self._can_run and not flight.must_leave else "shutting down"
        if isinstance(step, Release) and self._stage.hands_on(flight.delivery.receive_count, step.delay_s):
            flight.is_handed_on = not flight.owes_letter
            step = BURY if flight.owes_letter else Reject(step.delay_s)
        match step:
            case Run(tasks):
                self._run((flight,), tasks)
            case Bury():
                if ARMED is not None:
                    ARMED.reach(Point.EXHAUSTED)
                flight.is_settling = True
                self._table.set_standing(flight.slot, SlotState.HELD)
                self._settler.bury(flight)
            case Ack() | Release() | Reject():
                self._finish(flight, step, reason)
            case _:
                assert_never(step)

    def _next_step(self, flight: InFlight, now: float) -> Step:
        step = next_step(
            flight.route,
            flight.carried,
            flight.progress,
            now,
            can_run=self._can_run and not flight.must_leave,
            missing=flight.missing,
        )
        if flight.owes_letter and isinstance(step, Ack | Reject):
            return BURY  # as a duplicate of its burial it would be lost; a second dead letter is only one too many
        return step

    def _run(self, flights: Sequence[InFlight], names: tuple[TaskName, ...]) -> None:
        now = self._clock.monotonic()
        crew = self._catalogue.crew(names)
        together: list[InFlight] = []
        for flight in flights:
            if not self._holds_at(flight, now):  # somebody else may have run them
                self.drop(flight, "its claim had run out before its tasks could start")
            elif flight.progress.deaths and is_suspect(flight.progress.deaths):
                self._isolate(flight, crew)
            else:
                # the slot says so first: whatever a task does to the process, its message is known as a suspect
                self._table.set_standing(flight.slot, SlotState.RUNNING, now + crew.longest_s)
                together.append(flight)
        if together:
            if ARMED is not None:
                ARMED.reach(Point.ALERTING if together[0].progress.is_buried else Point.STARTING)
            self._runner.start(together, crew.tasks)

    def _isolate(self, flight: InFlight, crew: TaskSet) -> None:
        # in the order of their times, at any look: the first that has no end is the one that had begun
        marks = flight.progress.alerts if flight.progress.is_buried else flight.progress.marks
        tasks = sorted(crew.tasks, key=lambda task: marks[task.name].due_at)
        if flight.progress.deaths >= DEATHS_MAX:  # counted by who took its claim over: nobody could tell of the last
            now = self._clock.now()
            self.outcome(flight, tasks[0], Died(_NO_WORD), now, asyncio.get_running_loop().time())
            return
        if (rest_s := self._rest_s(flight)) > 0:
            self._finish(flight, Release(rest_s), _LINE_IS_LONG)
            return
        self._emit(SuspectIsolated(flight.message.uid, flight.progress.deaths))
        self._table.set_standing(flight.slot, SlotState.ISOLATED)
        flight.running += 1  # the isolation as a whole
        self._solo.put(flight, tasks)

    def _rest_s(self, flight: InFlight) -> float:
        """Seconds for which a suspect is given back, because another worker may run it sooner; 0.0 when it stays.

        Not where more is known of it than its copy carries, its group would wait with it, or few receives are left.
        """
        receives = self._stage.receives
        has_receives = receives is None or receives - flight.delivery.receive_count > _RECEIVES_KEPT
        if flight.has_moved or flight.delivery.group is not None or not has_receives:
            return 0.0
        return self._solo.rest_s() * (0.5 + self._clock.random() / 2)

    async def begins_alone(self, flight: InFlight) -> bool:
        """Have it on record that a task of a suspect is about to start; False when its claim is lost meanwhile.

        Whoever may have to tell which task it was finds the ends of those before it on record, too. The last start that
        it has is made while no other suspect's task runs on this host.
        """
        is_last = at_rest(flight.progress).deaths == DEATHS_MAX - 1
        if flight.alone is None:
            flight.alone = IsolatedStart()
        alone = flight.alone
        alone.gate = await self._gate.enter(is_last=is_last)
        if flight.is_lost or not self.holds(flight):
            return False
        flight.progress = begun_alone(flight.progress)
        if flight.progress is flight.saved:
            return True
        start: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        alone.start = start
        self._recorder.put(flight)
        try:
            return await start
        finally:
            alone.start = None

    def ended(self, ends: Sequence[tuple[Attempt, Outcome]]) -> None:
        """Take the ends of attempts, many at a time."""
        now = self._clock.now()
        for attempt, outcome in ends:
            flight = attempt.flight
            flight.running -= 1
            self.outcome(flight, attempt.task, outcome, now, attempt.started_at)

    def park(self, left: Sequence[tuple[Attempt, Outcome]]) -> None:
        """Record attempts that were abandoned, and settle nothing: their code runs until the process ends.

        Their slots stay in the lease table, so the supervisor releases their messages once it has.
        """
        for attempt, _ in left:
            attempt.flight.is_settling = True
        self.ended(left)
        for flight in dict.fromkeys(attempt.flight for attempt, _ in left):
            if not flight.is_lost:
                self._table.set_standing(flight.slot, SlotState.HELD)
                self._land(flight)

    def isolated(
        self, flight: InFlight, task: LoadedTask, outcome: Outcome, started_at: float, *, is_last: bool
    ) -> None:
        """Take the end of an attempt in a process of its own. is_last: no other task of this `Run` follows."""
        flight.progress = at_rest(flight.progress)
        alone = flight.alone
        if alone is not None:
            if not alone.leaving:
                alone.leaving = alone.gate
            elif alone.gate:  # the end of the one before is not on record yet, so this one has not even started
                self._gate.leave(alone.gate)
            alone.gate = 0
        if is_last:
            flight.running -= 1
        self.outcome(flight, task, outcome, self._clock.now(), started_at)
        if alone is not None:
            self._leave_gate(flight, alone)

    def _leave_gate(self, flight: InFlight, alone: IsolatedStart) -> None:
        """Let other suspects start, once it is on record that this one does not run: the next may end the host."""
        if alone.leaving and (flight.is_lost or flight.slot < 0 or flight.progress is flight.saved):
            self._gate.leave(alone.leaving)
            alone.leaving = 0

    def outcome(self, flight: InFlight, task: LoadedTask, outcome: Outcome, now: float, started_at: float) -> None:
        """Record one outcome and have it saved. The flight's `running` has been counted down already."""
        if flight.is_lost:
            if flight.running == 0:
                self._forsake(flight)
            return
        if ARMED is not None:
            ARMED.reach(Point.ENDED)
        before = flight.progress
        usual = self._successes.after(before, task.name) if outcome is SUCCEEDED else None
        if usual is not None:
            after, is_finished = usual
        elif isinstance(outcome, Interrupted) and outcome.lacks_task:
            self._admission.lack(flight, task.name)
            self._misses.add(flight)
            after, is_finished = flight.progress, False
            before = after if _is_pending(after, task.name) else before  # else it has failed for good, which is told
        else:
            after = record(before, task.name, outcome, task.policy, now, self._clock.random())
            is_finished = False
        if after is not before:
            flight.progress = after
            flight.has_moved = True
            self._reporter.outcome(flight, task, outcome, now, started_at)
        if flight.running == 0:
            flight.ends_claim = is_finished or self._is_finished(flight, now)
        if after is not flight.saved:
            self._recorder.put(flight, ends=1)
        elif flight.running == 0 and not flight.is_settling:
            self._advance(flight)

    def _is_finished(self, flight: InFlight, now: float) -> bool:
        return self._next_step(flight, now) is ACK

    def kept(self, flights: Sequence[InFlight]) -> None:
        """Go on with flights whose progress is now saved."""
        for flight in flights:
            if flight.alone is not None:
                if flight.progress is flight.saved:
                    flight.alone.answer(may_start=True)
                self._leave_gate(flight, flight.alone)
            if flight.is_lost or flight.is_settling or flight.running:
                continue
            if flight.progress is not flight.saved:
                self._recorder.put(flight)
            elif flight.ends_claim:  # no time that passes turns an Ack into another step
                self._finish(flight, ACK, "")
            else:
                self._advance(flight)

    def buried(self, flight: InFlight) -> None:
        """The dead letter of a flight is confirmed: record that, then go on to the default tasks."""
        if flight.is_lost:
            return
        self._reporter.dead_lettered(flight)
        flight.owes_letter = False
        if not flight.progress.is_buried:
            buried = mark_buried(flight.progress, flight.route)
            if self._stage.suspects_repeats and flight.delivery.receive_count > 1:  # its alerts may be what kills
                buried = Progress(buried.marks, buried.alerts, is_buried=True, deaths=1)
            flight.progress = buried
        flight.ends_claim = self._is_finished(flight, self._clock.now())
        flight.is_settling = False
        flight.has_moved = True
        self._recorder.put(flight)

    # -- out

    def _finish(self, flight: InFlight, settlement: Ack | Release | Reject, reason: str) -> None:
        """Hand the delivery to the settler; it is not in flight any more."""
        self._table.set_standing(flight.slot, SlotState.HELD)
        flight.is_settling = True
        match settlement:
            case Ack():
                if ARMED is not None:
                    ARMED.reach(Point.ALERTED if flight.progress.is_buried else Point.FINISHED)
                flight.spends_stored = True  # nothing of it is left to do; whoever comes late is folded
                self._reporter.finished(flight)
            case Release(delay_s):
                flight.is_held = flight.problem is not None or flight.missing.is_all_of(flight.progress)
                self._emit(MessageReleased(flight.message.uid, reason, delay_s))
            case Reject():
                flight.is_held = flight.missing.is_all_of(flight.progress)  # told when the copy is confirmed
            case _:
                assert_never(settlement)
        self._settler.put(flight, settlement)
        self._land(flight, goes_on=not isinstance(settlement, Release))

    def _fold(self, flight: InFlight, settlement: Ack | Release, reason: str) -> None:
        self._reporter.skipped_duplicate(flight, reason)
        flight.token = ""  # the claim is not ours to give back
        flight.is_settling = True
        self._settler.put(flight, settlement)
        self._land(flight, goes_on=isinstance(settlement, Ack))

    def _land(self, flight: InFlight, *, goes_on: bool = False) -> None:
        """The processing of a flight has ended. goes_on: the next message of its group, if it has one, may begin."""
        if not flight.has_landed:
            flight.has_landed = True
            self.in_flight -= 1
            self._capacity.release(flight)
            if flight.delivery.group is not None:
                self._pass_turn(flight, flight.delivery.group, goes_on)
        self._freed()

    def _pass_turn(self, flight: InFlight, group: str, goes_on: bool) -> None:
        following, stopped = self._groups.leave(group, flight, goes_on=goes_on)
        if following is not None:
            self._following.append(following)
            self._follow()
        for other in stopped:  # at once, so that whoever gets the head next gets them, too
            self._return(other, _HEAD_FIRST)

    def _follow(self) -> None:
        # iterate, don't recurse: duplicates finish synchronously, and a long group would overflow the stack
        if self._is_following:
            return
        self._is_following = True
        try:
            while self._following:
                self._let_in((self._following.popleft(),))
        finally:
            self._is_following = False

    def over(self, flight: InFlight) -> None:
        """The settlement of a flight has ended, one way or the other: its slot is free."""
        if flight.slot >= 0:
            del self._flights[flight.slot]
            self._table.remove(flight.slot)
            flight.slot = -1
            if flight.alone is not None:
                self._leave_gate(flight, flight.alone)
            if flight.has_landed:
                self._freed()  # a poller may wait for a slot
            else:  # a burial that was refused ends here without a settlement of ours
                self._land(flight)


def _is_pending(progress: Progress, task: TaskName) -> bool:
    return (progress.alerts if progress.is_buried else progress.marks)[task].state is State.PENDING
