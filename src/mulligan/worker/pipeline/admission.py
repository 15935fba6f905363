"""Takes the ledger's answer to a claim: which tasks the message has, and how far it is; or why it is not run here."""

from collections.abc import Sequence
from typing import assert_never

from mulligan.core.admission import admit, deaths_of
from mulligan.core.event import BodyMissing, MessageMoved
from mulligan.core.flow import next_step
from mulligan.core.message import TaskName
from mulligan.core.policy import again_in_s
from mulligan.core.progress import Progress, is_suspect, merge
from mulligan.core.queue_role import QueueRole
from mulligan.core.retry_state import Unread
from mulligan.core.route import Route, begin, reconcile
from mulligan.core.step import ACK, Ack, Release
from mulligan.ledger.base import Granted, Held, Outdated
from mulligan.tasks.registry import TaskRegistry, TaskSet
from mulligan.worker.in_flight import Damaged, InFlight
from mulligan.worker.ipc.lease_table import SlotState
from mulligan.worker.pipeline.held_copies import HeldCopies, MissingTasks
from mulligan.worker.pipeline.runtime import Runtime
from mulligan.worker.pipeline.slots import Slots
from mulligan.worker.pipeline.success_cache import SuccessCache

__all__ = ["Admission"]

_UNREADABLE_ROW = "its row in the ledger can't be read"

_NO_BODY_S = 60.0
_NO_BODY_MAX_S = 3600.0
"""A copy whose body is not available is looked at again after so long, then twice that, and so on: somebody has to
act."""

_ACCEPTS_S = 10.0
"""Seconds that the `accepts` of all tasks may take for one message, before it counts as blocking the worker."""


class Admission:
    """Fills in a flight's route, carried, saved and progress.

    misses: counts messages that wait for a task which this process doesn't know.
    """

    def __init__(
        self,
        runtime: Runtime,
        role: QueueRole,
        registry: TaskRegistry,
        slots: Slots,
        misses: MissingTasks,
        held_copies: HeldCopies,
    ) -> None:
        self._role = role
        self._registry = registry
        self._slots = slots
        self._misses = misses
        self._clock = runtime.clock
        self._emit = runtime.emit
        self._held_copies = held_copies
        self._last_route = Route(())
        self._last_begun = begin(self._last_route)
        self.successes = SuccessCache()

    def task_set(self, names: tuple[TaskName, ...]) -> TaskSet:
        """The tasks of these names."""
        return self._registry.task_set(names)

    # -- new messages

    def is_new(self, flight: InFlight) -> bool:
        """Whether nothing is known of the message, so that it goes the way of all new ones.

        A copy whose body is not available is none: it came with a retry state.
        """
        answer = flight.answer
        return (
            isinstance(answer, Granted)
            and answer.progress is None
            and flight.is_fresh
            and not self._registry.picks
            and not (self._role.suspects_repeats and flight.delivery.receive_count > 1)
        )

    def resolve_new(self, flights: Sequence[InFlight]) -> None:
        """`admit` for those that are new: the route and the progress that they share."""
        route = self._registry.whole_route
        begun = self._begun(route)
        for flight in flights:
            flight.route = route
            flight.carried = flight.saved = flight.progress = begun

    # -- others

    def admit(self, flight: InFlight, *, can_run: bool) -> bool:
        """Take the ledger's answer to the claim; False: this copy is not to be run, and its settlement is decided."""
        answer = flight.answer
        match answer:
            case Granted(known):
                if flight.problem is not None:
                    self._leave(flight, known, flight.problem)
                    return False
                self._resolve(flight, known)
                flight.owes_letter = flight.may_be_letter and flight.progress.is_buried
                if flight.state is not None and (flight.is_replay or not self._role.is_trusted) and can_run:
                    self._report_moved(flight, is_first=known is None or not known.marks)
                return True
            case Held(until):
                wait_s = self._role.held_s(until, self._clock.now(), flight.delivery.receive_count)
                self._fold(flight, Release(wait_s), "another copy is being worked on")
                return False
            case Outdated():
                if flight.is_replay:
                    self._report_moved(flight, is_first=False)
                self._fold(flight, ACK, "a later copy exists")
                return False
            case Damaged(problem):
                flight.unread = Unread(problem, is_held=True, is_in_ledger=True)
                flight.token = ""  # nothing is claimed
                wait_s = self._held_copies.add(flight, flight.unread)
                flight.resolve(Release(self._patient_s(flight, wait_s)), _UNREADABLE_ROW)
                return False
            case None:
                raise AssertionError("the ledger has not answered")
            case _:
                assert_never(answer)

    def _fold(self, flight: InFlight, settlement: Ack | Release, reason: str) -> None:
        flight.token = ""  # the claim is not ours to give back
        flight.is_duplicate = True
        flight.resolve(settlement, reason)

    def _leave(self, flight: InFlight, known: Progress | None, problem: str) -> None:
        """Neither run nor remove a copy whose body is not available, unless it has been finished already."""
        flight.progress = flight.saved = flight.carried if known is None else merge(known, flight.carried)
        now = self._clock.now()
        step = next_step(Route(()), flight.carried, flight.progress, now, can_run=False)
        if isinstance(step, Ack) and flight.progress.marks:
            flight.resolve(step)
            return
        age_s = None if self._role.counts_releases else now - flight.delivery.sent_at
        wait_s = again_in_s(_NO_BODY_S, _NO_BODY_MAX_S, flight.delivery.receive_count, age_s)
        wait_s = self._patient_s(flight, wait_s)
        self._emit(BodyMissing(flight.message.uid, flight.delivery.queue, problem, wait_s))
        flight.resolve(Release(wait_s), problem)

    def _resolve(self, flight: InFlight, known: Progress | None) -> None:
        receive_count = flight.delivery.receive_count
        deaths = deaths_of(known, self._role, receive_count)
        flight.route = self._route(flight, is_suspect=is_suspect(deaths))
        found = admit(
            self._role,
            flight.route,
            self._begun(flight.route),
            flight.carried,
            known,
            self._clock.now(),
            deaths=deaths,
            is_replay=flight.is_replay,
            is_stray=flight.is_stray,
            manifest=self._registry.names,
            all_tasks=self._registry.whole_route.tasks,
        )
        flight.carried, flight.saved = found.carried, found.saved
        self._fit(flight, found.progress)
        if flight.missing.tasks:
            self._misses.add(flight)

    def lack(self, flight: InFlight, task: TaskName) -> None:
        """The process in which `task` was to run doesn't know it: it is one of the flight's missing tasks."""
        self._fit(flight, flight.progress, frozenset({task}) | flight.missing.tasks)
        self._misses.add(flight)

    def _fit(self, flight: InFlight, progress: Progress, lacking: frozenset[TaskName] = frozenset()) -> None:
        names = self._registry.names
        # a message without a retry state may have waited long before its first receipt. One of a later generation was
        # first received in an earlier one: this copy of it, if it is the first, came when it was replayed
        since_at = max(flight.first_seen_at, flight.delivery.sent_at if flight.generation else 0.0)
        flight.progress, flight.missing = reconcile(
            progress,
            [name for name in names if name not in lacking] if lacking else names,
            self._clock.now(),
            grace_s=self._role.missing_grace_s,
            since_at=since_at,
        )

    def _route(self, flight: InFlight, *, is_suspect: bool) -> Route:
        """The tasks that take the message. `accepts` is user code too: what it does to the process is on the message.

        A suspect is routed to all tasks without asking here. Each asks again when it is run, alone, and skips.
        """
        if is_suspect or not self._registry.picks:
            return self._registry.whole_route
        self._slots.set_standing(flight.slot, SlotState.RUNNING, self._clock.monotonic() + _ACCEPTS_S)
        try:
            return self._registry.route(flight.message)
        except BaseException:  # noqa: BLE001 - as SystemExit: a failed attempt, reported by the attempt that asks again
            return self._registry.whole_route
        finally:
            self._slots.set_standing(flight.slot, SlotState.HELD)

    def _patient_s(self, flight: InFlight, wait_s: float) -> float:
        return self._role.patient_s(flight.delivery.receive_count, wait_s)

    def _report_moved(self, flight: InFlight, *, is_first: bool) -> None:
        uid, queue = flight.message.uid, flight.delivery.queue
        self._emit(MessageMoved(uid, queue, flight.generation, flight.is_replay, is_first))

    def _begun(self, route: Route) -> Progress:
        """The progress of a new message; one value for all messages of the same route, as most are."""
        if route is not self._last_route:
            self._last_route, self._last_begun = route, begin(route)
            if route is self._registry.whole_route:  # where tasks pick, each message has a route of its own
                self.successes.share(self._last_begun)
        return self._last_begun
