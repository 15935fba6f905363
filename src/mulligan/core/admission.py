"""How far a message is when one of its copies begins: what this copy carries, and what the ledger knows. Pure."""

from collections.abc import Container

from mulligan.core.flow import rebased
from mulligan.core.message import TaskName
from mulligan.core.move import NO_STORY
from mulligan.core.progress import FRESH, Progress, merge
from mulligan.core.queue_role import QueueRole
from mulligan.core.route import Route, exhaust, reset_for_replay
from mulligan.core.value import value

__all__ = ["Admitted", "admit", "deaths_of"]


@value
class Admitted:
    """carried, progress: as in `core.flow`. saved: the progress that the ledger is known to hold.

    Where today's tasks.xml or this host's clock makes a difference, `progress` is not `saved`: it is to be saved before
    anything else.
    """

    carried: Progress
    saved: Progress
    progress: Progress


def deaths_of(known: Progress | None, role: QueueRole, receive_count: int) -> int:
    """How many workers the message may have killed, as far as is known. known: the ledger's progress, if it has one."""
    deaths = known.deaths if known is not None else 0
    return max(1, deaths) if role.is_repeat(receive_count) else deaths


def admit(
    role: QueueRole,
    route: Route,
    fresh: Progress,
    carried: Progress,
    known: Progress | None,
    now: float,
    *,
    deaths: int = 0,
    is_replay: bool = False,
    is_stray: bool = False,
    manifest: Container[TaskName] = (),
    all_tasks: tuple[TaskName, ...] = (),
) -> Admitted:
    """Where a message stands under its route.

    fresh: the progress of a new message of this route. carried: the progress that this copy brought along; empty when
    it brought none. known: the ledger's; None when it knows nothing of the message. now: epoch seconds (UTC).
    is_replay: the copy is a dead letter's that was replayed. is_stray: it came to rejects without a retry state.
    manifest: names of all tasks. all_tasks: those that are not default tasks.
    """
    has_begun = known is not None and (bool(known.marks) or known.is_buried)
    if is_replay:
        if known is not None and has_begun:
            carried = reset_for_replay(carried, tuple(known.marks))
        else:
            carried = reset_for_replay(carried, route.tasks, manifest)
    has_state = bool(carried.marks) or carried.is_buried
    if known is not None and has_begun:
        # the route was fixed at the first claim; what this copy carries beyond it is merged in
        base = carried if has_state else Progress(dict.fromkeys(known.marks, FRESH))
        saved = merge(known, base)
        # a head that is held back is not a copy: its attempts are in the ledger alone
        return Admitted(saved if role.holds_groups else base, saved, _rebased(role, saved, now))
    if not has_state:
        carried = fresh
    if is_stray and role.buries_strays:
        # of all tasks where none takes it: a message that is dropped because no task takes it must not vanish so
        return Admitted(carried, carried, exhaust(route.tasks or all_tasks, NO_STORY, now))
    saved = carried
    if deaths:
        saved = Progress(carried.marks, carried.alerts, carried.is_buried, deaths)
    return Admitted(carried, saved, _rebased(role, saved, now) if has_state else saved)


def _rebased(role: QueueRole, progress: Progress, now: float) -> Progress:
    # without a ledger a due time that is set anew is forgotten, so that the message would wait again and again
    return rebased(progress, now, has_waited=role.suspects_repeats)
