"""What to do with a delivery now: the step that `core.flow` says for its message, made to fit its queue. Pure.

A FIFO queue that holds its groups keeps a message that is to be tried again, and with it its group. A queue that moves
a message away after a number of receives must not be given it back once too often. A dead letter that came back is put
on the dead queue again before it is removed.
"""

from mulligan.core.flow import next_step
from mulligan.core.progress import Progress
from mulligan.core.queue_role import QueueRole
from mulligan.core.route import NONE_MISSING, Missing, Route
from mulligan.core.step import BURY, Ack, Reject, Release, Step
from mulligan.core.value import value

__all__ = ["Decision", "decide"]

_GROUP_WAITS = "its group waits for it"
_NOT_DUE = "not due yet"
_SHUTTING_DOWN = "shutting down"


@value
class Decision:
    """step: what to do. reason: why, for a Release.

    is_handed_on: the copy of a Reject is for the sake of the queue's redrive, and no end of the message: its deaths go
    along.
    """

    step: Step
    reason: str = ""
    is_handed_on: bool = False


def decide(
    role: QueueRole,
    route: Route,
    carried: Progress,
    progress: Progress,
    now: float,
    *,
    receive_count: int = 1,
    can_run: bool = True,
    missing: Missing = NONE_MISSING,
    owes_letter: bool = False,
) -> Decision:
    """The step for this delivery, and why.

    carried, progress, now, can_run, missing: as in `core.flow.next_step`. receive_count: of the delivery, this one
    included. owes_letter: the message was buried before it came, and this copy may be its only letter.
    """
    step = next_step(route, carried, progress, now, can_run=can_run, missing=missing)
    if owes_letter and isinstance(step, Ack | Reject):
        return Decision(BURY)  # as a duplicate of its burial it would be lost; a second dead letter is one too many
    reason = _NOT_DUE if can_run else _SHUTTING_DOWN
    if isinstance(step, Reject) and role.holds_groups and not progress.is_buried:
        step, reason = Release(step.delay_s), _GROUP_WAITS
    if isinstance(step, Release) and role.hands_on(receive_count, step.delay_s):
        return Decision(BURY) if owes_letter else Decision(Reject(step.delay_s), reason, is_handed_on=True)
    return Decision(step, reason)
