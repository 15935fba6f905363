"""The checker's part that knows groups: whether a message of a FIFO queue starts when it is its turn."""

from typing import Any

from mulligan.core.progress import Progress, State

__all__ = ["whose_turn"]

Key = tuple[str, int]


def whose_turn(watch: Any, key: Key) -> str | None:
    """The uid of a message that has to be over before the tasks of this one may start; None when it is its turn.

    Over is what is finished. Where a head that failed does not hold its group, it is over when it has been tried, too.
    """
    world = watch.world
    if key[1] or key in watch.copied:
        return None  # it runs from a copy, and those know no order
    if world.receives:
        return None  # a head that is handed on before its queue moves it away keeps no group waiting
    stored = world.stored.queues[world.queues.requests].stored.values()
    mine = next((one for one in stored if one.uid == key[0]), None)
    if mine is None or mine.delivery.group is None:
        return None
    for one in stored:
        if one is mine:
            break
        if one.delivery.group == mine.delivery.group and not _is_over(watch, one):
            return str(one.uid)
    return None


def _is_over(watch: Any, stored: Any) -> bool:
    world, key = watch.world, (stored.uid, stored.generation)
    row = watch.known(key)
    progress = row.progress if row is not None and row.progress is not None else Progress({})
    if watch.unfinished(key, progress) is None:
        return True
    if progress.is_buried or not world.settings.holds_groups:
        # alerts hold nobody up, nor does what was to step aside
        return watch.copied.get(key, 0) > 0 or _is_tried(progress)
    return False


def _is_tried(progress: Progress) -> bool:
    marks = progress.alerts if progress.is_buried else progress.marks
    return any(mark.attempts or mark.state is not State.PENDING for mark in marks.values())
