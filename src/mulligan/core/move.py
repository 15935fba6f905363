"""Copies that somebody moved between the queues with a tool that is not ours: a console's redrive, a shovel, a script.

What such a copy is where it lies now. Nobody but us knows which queue a copy was made for, and a broker doesn't say;
the retry state does. A dead letter on another queue can only have been moved there: it is replayed, as `mulligan dead
replay` would have done. The `dispatcher` acts on it; docs/moves.md has the whole table. Pure.
"""

from mulligan.core import fingerprint
from mulligan.core.message import Message
from mulligan.core.progress import Progress, State, is_refused
from mulligan.core.retry_state import RetryState

__all__ = ["NO_STORY", "is_finished", "is_over", "may_be_of", "proves", "was_dead"]

NO_STORY = "it came to the rejects queue without a retry state, so mulligan did not put it there: not run"
"""Why the tasks of a message are exhausted that somebody else put on rejects."""


def was_dead(state: RetryState) -> bool:
    """Whether a copy with this retry state was put on the dead queue, so that on any other somebody has moved it.

    Retry states of older versions don't say so. There it shows: a copy for rejects has something pending, and a replay
    has nothing exhausted. Only of a letter that was replayed, and that no task takes, it can't be known; who meets
    its burial on record puts it on dead again.
    """
    if state.is_dead:
        return True
    progress = state.progress
    if progress.is_buried or not is_over(progress):
        return False
    if not progress.marks:
        return state.generation == 0 and state.hop == 0
    return any(mark.state is State.EXHAUSTED for mark in progress.marks.values()) or is_refused(progress.marks)


def is_over(progress: Progress) -> bool:
    """Whether no task is pending: the message is done, or it is buried, or about to be."""
    return not any(mark.state is State.PENDING for mark in progress.marks.values())


def is_finished(progress: Progress) -> bool:
    """Whether nothing is left to do for a message: its tasks are done, or it is buried and its alerts have ended."""
    if progress.is_buried:
        return not any(mark.state is State.PENDING for mark in progress.alerts.values())
    return bool(progress.marks) and all(mark.state is State.DONE for mark in progress.marks.values())


def proves(state: RetryState, message: Message, prefix: str) -> bool:
    """Whether a retry state is of this message: its uid is what prefix, id and body make.

    message: unpacked. Where retry states are not believed this holds what a producer may choose: nothing but a repeat
    of a message whose id and body he has, with the progress that the ledger knows of it (`may_be_of`), not the retry
    state's.
    """
    return state.id is not None and fingerprint.is_of(state.uid, prefix, state.id, message.body)


def may_be_of(state: RetryState, known: Progress, hop: int) -> bool:
    """Whether the ledger's record of the retry state's uid and generation vouches for a copy with this retry state.

    hop: of the newest copy on record. The newest copy that there is may be one ahead of it.
    """
    if state.is_dead:
        return known.is_buried or (bool(known.marks) and is_over(known))
    return state.hop <= hop + 1
