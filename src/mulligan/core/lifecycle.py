"""The life of one delivery in a worker, from its receipt to the end of its settlement, as one table.

Each part of a pipeline reports what happened to a delivery. `TRANSITIONS` says which phase the delivery is in then, and
what the dispatcher is to do about it; the dispatcher does that and nothing else. What is to be done with the *message*
is decided in `core.flow`, `core.admission` and `core.decision`; this table knows only how far its delivery is.

A report that a phase does not list can't come there; it is a fault of the program, and raises `InvalidReport`.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum

__all__ = ["TRANSITIONS", "InvalidReport", "Order", "Phase", "Report", "after", "rows"]


class Phase(IntEnum):
    """How far a delivery is."""

    CLAIMING = 0
    """It was received and has a slot of the lease table; its claim is asked for."""
    WAITING = 1
    """The ledger has answered; it waits for its turn in its group, then for capacity."""
    ACTIVE = 2
    """Its steps are decided and done: tasks run, their results are saved."""
    BURYING = 3
    """Its dead letter is being sent."""
    LOST = 4
    """Its lease or its claim is another worker's; what still runs of it ends."""
    SETTLING = 5
    """Its end is under way: an acknowledgement, a release, a copy, or the return of its claim."""
    ABANDONED = 6
    """Attempts of it that could not be ended run on; the supervisor releases it when the process has ended."""
    OVER = 7
    """Its slot is free."""


class Report(IntEnum):
    """What happened to a delivery."""

    CLAIMED = 0
    """The ledger has answered its claim."""
    PLACED = 1
    """It is its turn, and it has capacity if it needs any."""
    TURNED_AWAY = 2
    """It got no capacity in time, or the message before it in its group is not finished here."""
    STARTING = 3
    """A task of it is about to start alone, which has to be saved first."""
    ENDED_ALONE = 4
    """A task of it that ran alone has ended."""
    ENDED = 5
    """Its attempts have ended, and nothing of them is left to be saved."""
    SAVED = 6
    """Its progress is saved, and no attempt of it runs."""
    RESOLVED = 7
    """Its settlement is decided."""
    EXHAUSTED = 8
    """A dead letter is due."""
    BURIED = 9
    """The broker has confirmed its dead letter."""
    LOST = 10
    """Its lease or its claim is another worker's."""
    ABANDONED = 11
    """It has attempts that did not end when the process had to."""
    SETTLED = 12
    """Its settlement has ended, one way or the other."""


class Order(IntEnum):
    """What the dispatcher does about a report."""

    NOTHING = 0
    QUEUE = 1
    """Have it wait for its turn in its group and for capacity."""
    ADMIT = 2
    """Merge what is known of it; then decide."""
    RETURN = 3
    """Release it for other workers, or have it leave as a copy."""
    DECIDE = 4
    """Ask the flow for the next step, and begin it."""
    SAVE = 5
    """Save its progress."""
    RECORD = 6
    """Record the outcome of the task that ran alone."""
    BURY = 7
    """Send its dead letter."""
    RECORD_BURIAL = 8
    """Save that its dead letter is confirmed."""
    SETTLE = 9
    """Hand it to the settler."""
    CANCEL = 10
    """Say that it is lost, and end what runs of it."""
    GIVE_BACK = 11
    """End its claim; no ack and no copy. Where a delivery never comes back unless released, release it."""
    PARK = 12
    """Leave it in the lease table for the supervisor."""
    FREE = 13
    """Free its slot."""
    END_BURIAL = 14
    """Free its slot: the broker took no dead letter, and the message was released."""


class InvalidReport(Exception):
    """A report that can't come in this phase. A fault of the program."""


Row = Mapping[Report, tuple[Phase, Order]]

TRANSITIONS: Mapping[Phase, Row] = {
    Phase.CLAIMING: {
        Report.CLAIMED: (Phase.WAITING, Order.QUEUE),
        Report.TURNED_AWAY: (Phase.WAITING, Order.RETURN),
        Report.RESOLVED: (Phase.SETTLING, Order.SETTLE),
        Report.LOST: (Phase.LOST, Order.CANCEL),  # whether there is a claim to end is known when the ledger answers
    },
    Phase.WAITING: {
        Report.PLACED: (Phase.ACTIVE, Order.ADMIT),
        Report.TURNED_AWAY: (Phase.WAITING, Order.RETURN),
        Report.RESOLVED: (Phase.SETTLING, Order.SETTLE),
        Report.LOST: (Phase.LOST, Order.CANCEL),
    },
    Phase.ACTIVE: {
        Report.STARTING: (Phase.ACTIVE, Order.SAVE),
        Report.ENDED_ALONE: (Phase.ACTIVE, Order.RECORD),
        Report.ENDED: (Phase.ACTIVE, Order.DECIDE),
        Report.SAVED: (Phase.ACTIVE, Order.DECIDE),
        Report.EXHAUSTED: (Phase.BURYING, Order.BURY),
        Report.RESOLVED: (Phase.SETTLING, Order.SETTLE),
        Report.LOST: (Phase.LOST, Order.CANCEL),
        Report.ABANDONED: (Phase.ABANDONED, Order.PARK),
    },
    Phase.BURYING: {
        Report.BURIED: (Phase.ACTIVE, Order.RECORD_BURIAL),
        Report.SETTLED: (Phase.OVER, Order.END_BURIAL),
        Report.SAVED: (Phase.BURYING, Order.NOTHING),
        Report.LOST: (Phase.BURYING, Order.NOTHING),  # the letter is on its way; its record says whose claim it is
    },
    Phase.LOST: {
        Report.CLAIMED: (Phase.SETTLING, Order.GIVE_BACK),
        Report.TURNED_AWAY: (Phase.SETTLING, Order.GIVE_BACK),
        Report.RESOLVED: (Phase.SETTLING, Order.GIVE_BACK),
        Report.ENDED: (Phase.SETTLING, Order.GIVE_BACK),
        Report.ENDED_ALONE: (Phase.LOST, Order.RECORD),
        Report.PLACED: (Phase.LOST, Order.NOTHING),
        Report.EXHAUSTED: (Phase.LOST, Order.NOTHING),
        Report.SAVED: (Phase.LOST, Order.NOTHING),
        Report.LOST: (Phase.LOST, Order.NOTHING),
        Report.ABANDONED: (Phase.LOST, Order.NOTHING),
    },
    Phase.SETTLING: {
        Report.SETTLED: (Phase.OVER, Order.FREE),
        # late words: a settlement that is under way is not called back
        Report.PLACED: (Phase.SETTLING, Order.NOTHING),
        Report.ENDED: (Phase.SETTLING, Order.NOTHING),
        Report.SAVED: (Phase.SETTLING, Order.NOTHING),
        Report.LOST: (Phase.SETTLING, Order.NOTHING),
    },
    Phase.ABANDONED: {
        Report.ENDED: (Phase.ABANDONED, Order.NOTHING),
        Report.SAVED: (Phase.ABANDONED, Order.NOTHING),
        Report.LOST: (Phase.ABANDONED, Order.NOTHING),
    },
    Phase.OVER: {
        Report.SAVED: (Phase.OVER, Order.NOTHING),
        Report.LOST: (Phase.OVER, Order.NOTHING),
    },
}
"""Of each phase, the reports that can come in it: the phase after it, and the order."""

Rows = Sequence[tuple[Phase, Order] | None]

_ROWS: Sequence[Rows] = [[TRANSITIONS[phase].get(report) for phase in Phase] for report in Report]


def rows(report: Report) -> Rows:
    """By phase, what `after` returns for this report; None where it can't come."""
    return _ROWS[report]


def after(phase: Phase, report: Report) -> tuple[Phase, Order]:
    """The phase after a report, and what to do about it. Raises InvalidReport."""
    found = _ROWS[report][phase]
    if found is None:
        raise InvalidReport(f"a delivery that is {phase.name} can't be reported as {report.name}")
    return found
