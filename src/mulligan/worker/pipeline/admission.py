"""What is known of a message when its claim is granted: its route, and how far it is. Next comes `core.flow`."""

from collections.abc import Sequence

from mulligan.clock import SystemClock
from mulligan.core.flow import rebased
from mulligan.core.message import TaskName
from mulligan.core.move import NO_STORY
from mulligan.core.progress import FRESH, Progress, is_suspect, merge
from mulligan.core.route import Route, begin, exhaust, reconcile, reset_for_replay
from mulligan.core.value import value
from mulligan.ledger.base import Granted
from mulligan.tasks.registry import TaskRegistry
from mulligan.worker.in_flight import InFlight
from mulligan.worker.ipc.lease_table import LeaseTable, SlotState
from mulligan.worker.pipeline.success_cache import SuccessCache

__all__ = ["PATIENT_S", "Admission", "QueueRole"]

PATIENT_S = 900.0
"""Of a message that could be moved away by its queue soon: the state that can't be read, the body that is missing, or
the other copy that is worked on, have time to change."""

_ACCEPTS_S = 10.0
"""Seconds that the `accepts` of all tasks may take for one message, before it counts as blocking the worker."""


@value
class QueueRole:
    """The queue that a pipeline serves, and how.

    index: as the lease table names it: 0 requests, 1 rejects. is_trusted: its messages' retry states are believed.
    prefix: of the queues' names. lease_s: as messages are received. capacity: messages that are worked on at once.
    suspects_repeats: there is no ledger that knows of deaths, so a message that comes again may have killed a worker.
    holds_groups: on a FIFO queue a message that is to be tried again keeps its group waiting; else it steps aside.
    holds_deliveries: a delivery is held until it is settled or its connection ends, and never comes back by itself.
    counts_releases: as in the broker's `Features`.
    buries_strays: what comes to rejects without a retry state becomes a dead letter; else all its tasks run.
    max_bytes: the largest message of the queues.
    missing_grace_s: for how long a message waits for a task that this process doesn't know.
    receives: how often the queue delivers one message before it moves it away without its retry state; None: it never
    does.
    max_delay_s, max_lease_s: as in the broker's `Features`.
    """

    index: int
    is_trusted: bool
    prefix: str
    lease_s: float
    capacity: int
    suspects_repeats: bool = False
    holds_groups: bool = False
    holds_deliveries: bool = False
    counts_releases: bool = True
    buries_strays: bool = False
    max_bytes: int = 2**20
    missing_grace_s: float = 86_400.0
    receives: int | None = None
    max_delay_s: float = 0.0
    max_lease_s: float = 43_200.0

    def hands_on(self, receive_count: int, delay_s: float) -> bool:
        """Whether a message that is to be given back for delay_s has to go to rejects as a copy: else one of its next
        receives could be one too many. One is kept in reserve, for a worker that dies, or an answer that is lost.

        Where a copy can't be sent with a delay, the reserve is used to wait: a copy would come back at once.
        """
        if self.receives is None:
            return False
        left = self.receives - receive_count
        return left <= 0 or (left == 1 and (delay_s <= 0 or self.max_delay_s > 0))

    def patient_s(self, receive_count: int, wait_s: float) -> float:
        """How long a message is left alone that must not be copied: longer, where few receives are left for it."""
        if self.receives is None or receive_count < self.receives - 1:
            return wait_s
        return self.max_lease_s if receive_count >= self.receives else max(wait_s, PATIENT_S)


class Admission:
    """Fills in a flight's route, carried, saved and progress."""

    def __init__(
        self, stage: QueueRole, catalogue: TaskRegistry, table: LeaseTable, clock: SystemClock, usual: SuccessCache
    ) -> None:
        self._stage = stage
        self._catalogue = catalogue
        self._table = table
        self._clock = clock
        self._successes = usual
        self._last_route = Route(())
        self._last_begun = begin(self._last_route)

    def is_new(self, flight: InFlight) -> bool:
        """Whether nothing is known of the message, so that it goes the way of all new ones.

        A copy whose body can't be had is none: it came with a retry state.
        """
        answer = flight.answer
        return (
            isinstance(answer, Granted)
            and answer.progress is None
            and flight.is_fresh
            and not self._catalogue.picks
            and not (self._stage.suspects_repeats and flight.delivery.receive_count > 1)
        )

    def resolve_new(self, flights: Sequence[InFlight]) -> tuple[Route, Progress]:
        """`resolve` for those that are new: the route and the progress that they share."""
        route = self._catalogue.whole_route
        begun = self._begun(route)
        for flight in flights:
            flight.route = route
            flight.carried = flight.saved = flight.progress = begun
        return route, begun

    def resolve(self, flight: InFlight, known: Progress | None) -> None:
        """known: the ledger's progress, None when it knows nothing of the message.

        Where today's tasks.xml or this host's clock makes a difference, `progress` is not `saved`: it is to be saved
        before anything else.
        """
        deaths = known.deaths if known is not None else 0
        if self._stage.suspects_repeats and flight.delivery.receive_count > 1:
            deaths = max(1, deaths)
        flight.route = self._route(flight, is_suspect=is_suspect(deaths))
        if flight.is_replay:
            has_begun = known is not None and (bool(known.marks) or known.is_buried)
            if known is not None and has_begun:
                flight.carried = reset_for_replay(flight.carried, tuple(known.marks))
            else:
                flight.carried = reset_for_replay(flight.carried, flight.route.tasks, self._catalogue.names)
        has_story = bool(flight.carried.marks) or flight.carried.is_buried
        if known is not None and (known.marks or known.is_buried):
            # the route was fixed at the first claim; what this copy carries beyond it is merged in
            base = flight.carried if has_story else Progress(dict.fromkeys(known.marks, FRESH))
            flight.saved = merge(known, base)
            # a head that is held back is no copy: its attempts are in the ledger alone
            flight.carried = flight.saved if self._stage.holds_groups else base
            self._fit(flight, self._rebased(flight.saved))
            return
        if not has_story:
            flight.carried = self._begun(flight.route)
        if flight.is_stray and self._stage.buries_strays:
            flight.saved = flight.carried
            # of all tasks where none takes it: UNROUTED=drop must not make it vanish
            flight.progress = exhaust(
                flight.route.tasks or self._catalogue.whole_route.tasks, NO_STORY, self._clock.now()
            )
            return
        progress = flight.carried
        if deaths:
            progress = Progress(progress.marks, progress.alerts, progress.is_buried, deaths)
        flight.saved = progress
        flight.progress = progress
        if has_story:
            self._fit(flight, self._rebased(progress))

    def _rebased(self, progress: Progress) -> Progress:
        # without a ledger a due time that is set anew is forgotten, so that the message would wait again and again
        return rebased(progress, self._clock.now(), has_waited=self._stage.suspects_repeats)

    def lack(self, flight: InFlight, task: TaskName) -> None:
        """The process in which `task` was to run doesn't know it: it is one of the flight's missing tasks."""
        self._fit(flight, flight.progress, frozenset({task}) | flight.missing.tasks)

    def _fit(self, flight: InFlight, progress: Progress, lacking: frozenset[TaskName] = frozenset()) -> None:
        names = self._catalogue.names
        # a message without a retry state may have waited long before its first receipt. One of a later generation was
        # first received in an earlier one: this copy of it, if it is the first, came when it was replayed
        since_at = max(flight.first_seen_at, flight.delivery.sent_at if flight.generation else 0.0)
        flight.progress, flight.missing = reconcile(
            progress,
            [name for name in names if name not in lacking] if lacking else names,
            self._clock.now(),
            grace_s=self._stage.missing_grace_s,
            since_at=since_at,
        )

    def _route(self, flight: InFlight, *, is_suspect: bool) -> Route:
        """The tasks that take the message. `accepts` is user code too: what it does to the process is on the message.

        A suspect is routed to all tasks without asking here. Each asks again when it is run, alone, and skips.
        """
        if is_suspect or not self._catalogue.picks:
            return self._catalogue.whole_route
        self._table.set_standing(flight.slot, SlotState.RUNNING, self._clock.monotonic() + _ACCEPTS_S)
        try:
            return self._catalogue.route(flight.message)
        except BaseException:  # noqa: BLE001 - as SystemExit: a failed attempt, told by the attempt that asks again
            return self._catalogue.whole_route
        finally:
            self._table.set_standing(flight.slot, SlotState.HELD)

    def _begun(self, route: Route) -> Progress:
        """The progress of a new message; one value for all messages of the same route, as most are."""
        if route is not self._last_route:
            self._last_route, self._last_begun = route, begin(route)
            if route is self._catalogue.whole_route:  # where tasks pick, each message has a route of its own
                self._successes.share(self._last_begun)
        return self._last_begun
