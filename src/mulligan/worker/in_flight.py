"""One delivery on its way through a worker: the one mutable object there. Only the dispatcher changes its phase."""

import asyncio

from mulligan.core.delivery import Delivery
from mulligan.core.lifecycle import Phase
from mulligan.core.message import Message, Uid
from mulligan.core.outcome import Outcome
from mulligan.core.progress import Progress
from mulligan.core.retry_state import RetryState, Unread, id_of
from mulligan.core.route import NONE_MISSING, Missing, Route
from mulligan.core.step import Settlement
from mulligan.core.value import value
from mulligan.ledger.base import Answer
from mulligan.tasks.registry import LoadedTask

__all__ = ["Damaged", "InFlight", "IsolatedResult", "IsolatedStart"]


@value
class Damaged:
    """In the place of the ledger's answer to a claim: the message's row can't be read, and nothing is claimed.

    problem: a sentence with the place of the row, and what to do.
    """

    problem: str


@value
class IsolatedResult:
    """The end of a task that ran alone. started_at: seconds of the loop. is_last: no other task follows it now."""

    task: LoadedTask
    outcome: Outcome
    started_at: float
    is_last: bool


class IsolatedStart:
    """The starts of a suspect's tasks, one after the other.

    start: set while it is being saved that a task is about to start; its result is whether the task may. gate, leaving:
    the number at the gate of the present attempt, and of one whose end is not saved yet; 0 for none. result: of the
    attempt that has just ended.
    """

    __slots__ = ("gate", "leaving", "result", "start")

    def __init__(self) -> None:
        self.start: asyncio.Future[bool] | None = None
        self.gate = self.leaving = 0
        self.result: IsolatedResult | None = None

    def answer(self, *, may_start: bool) -> None:
        """Answer `start`, if it is set."""
        if self.start is not None and not self.start.done():
            self.start.set_result(may_start)


_NOTHING = Progress({})
_NO_ROUTE = Route(())


class InFlight:
    """A delivery, its claim, and how far its message is.

    carried, progress: as in `core.flow`. saved: the progress that the ledger is known to hold.
    is_fresh: it came without a retry state, as a new message, and may go the way of all new ones.
    state: the retry state that it came with. is_replay: it is a dead letter's, and somebody has moved it here, so this
    is its replay. is_stray: it came to rejects without a retry state.
    ends_claim: whether the next save ends the claim, because an Ack follows it.
    phase: how far it is, see `core.lifecycle`. running: attempts under way.
    settlement: how it ends, once that is decided; reason: why, for the log. is_duplicate: of what is done or under way
    elsewhere.
    missing: tasks of it that this process doesn't know. is_held: it waits for nothing else, or for its body.
    must_leave: nothing of it is started here any more. is_handed_on: its copy on rejects is for the sake of the queue's
    redrive, and no end of it: its deaths go along.
    has_moved: something was done for it here.
    owes_letter: it was buried before it came, and may be its own letter: it is put on dead again before it is removed.
    answer: the ledger's, to the claim; None before it came. claimed_until: monotonic seconds for which it is good at
    least, unless the supervisor extends it.
    problem: why its body is not available; then it must not be run, copied or buried.
    unread: why its state, or its row in the ledger, can't be read; then it is not claimed, and released, nothing else.
    stored: the stored body that goes with its last copy on this queue. spends_stored: this is the end of that copy.
    slot: in the lease table; -1 before and after.
    alone: of a suspect of which a task was about to start: how that stands.
    is_saving, unrecorded: the recorder's: a save of it is due; ends of attempts whose record is not under way yet.
    has_place, waits_since: the capacity's: it is one of those that may be worked on now; the loop's seconds since which
    it waits for that, 0.0 when it doesn't.
    """

    # what most flights never change is the class's: a hundred thousand of them a second are made
    alone: IsolatedStart | None = None
    answer: Answer | Damaged | None = None
    claimed_until = 0.0
    ends_claim = False
    has_moved = False
    has_place = False
    is_duplicate = False
    is_handed_on = False
    is_held = False
    is_replay = False
    is_saving = False
    is_stray = False
    missing: Missing = NONE_MISSING
    must_leave = False
    owes_letter = False
    phase = Phase.CLAIMING
    problem: str | None = None
    reason = ""
    route = _NO_ROUTE
    running = 0
    settlement: Settlement | None = None
    slot = -1
    spends_stored = False
    stored: str | None = None
    state: RetryState | None = None
    unread: Unread | None = None
    unrecorded = 0
    waits_since = 0.0

    def __init__(self, delivery: Delivery, message: Message, state: RetryState | None, token: str, now: float) -> None:
        self.delivery = delivery
        self.message = message
        self.token = token
        self.generation = state.generation if state else 0
        self.hop = state.hop if state else 0
        self.first_seen_at = state.first_seen_at if state else now
        self.received_at = now
        self.is_fresh = state is None
        self.carried: Progress = state.progress if state else _NOTHING
        self.progress = self.carried
        self.saved = self.carried
        if state is not None:
            self.state = state

    def resolve(self, settlement: Settlement, reason: str = "") -> "InFlight":
        """Decide how the delivery ends, and why. It is to be reported as `RESOLVED`."""
        self.settlement, self.reason = settlement, reason
        return self

    @property
    def key(self) -> tuple[Uid, int, str]:
        """uid, generation and token, as the ledger's calls take them."""
        return self.message.uid, self.generation, self.token

    @property
    def group(self) -> str | None:
        """The message's group on FIFO queues. A dead letter that was moved still has one of its own as its delivery."""
        return self.delivery.group if self.state is None or self.state.group is None else self.state.group

    @property
    def may_be_letter(self) -> bool:
        """Whether it may be the very dead letter of its burial, and nothing says so: it has no retry state, or one
        without a task, which is a replay's or, of an older version, that of the dead letter that became of it.
        """
        if self.state is None:
            return self.is_stray
        # a letter has nothing of its burial: one that has is a copy whose alerts are to be tried again
        return not self.is_replay and not self.state.progress.marks and not self.state.progress.is_buried

    def copy_state(self, progress: Progress, hop: int) -> RetryState:
        """The retry state that a copy of the message carries."""
        message_id = id_of(self.delivery) if self.state is None else self.state.id
        return RetryState(self.message.uid, self.generation, hop, self.first_seen_at, progress, id=message_id)

    def replay(self) -> None:
        """From now on this is the replay of the dead letter that came."""
        self.is_replay = True
        self.generation, self.hop = self.generation + 1, 0
        self.carried = self.progress = self.saved = Progress(self.carried.marks)  # that one was buried, not this
