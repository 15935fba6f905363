"""Copies whose tasks this application doesn't have: another application's, or of tasks that were renamed or removed.

Told at the start, where the queue can be looked at without receiving, and by `mulligan check`. Changes nothing.
"""

from collections.abc import Container, Mapping, Sequence

from mulligan.brokers.base import Broker
from mulligan.core import retry_state
from mulligan.core.error import BrokerError, RetryStateError
from mulligan.core.event import TasksUnknown
from mulligan.core.message import AttributeValue, QueueName, TaskName
from mulligan.core.progress import State

__all__ = ["LOOKED_AT_MAX", "at_start", "unknown_tasks"]

LOOKED_AT_MAX = 1000
"""Copies of a queue that are looked at: a start must not take longer when the dead queue is full."""


async def at_start(broker: Broker, queues: Sequence[QueueName], known: Container[TaskName]) -> list[TasksUnknown]:
    """What is to be reported of these queues; nothing where the broker would have to receive for it, or fails."""
    events: list[TasksUnknown] = []
    for queue in queues:
        try:
            found = await broker.attributes(queue, LOOKED_AT_MAX)
        except BrokerError:
            return events  # the work that follows reports it
        event = None if found is None else unknown_tasks(queue, found, known)
        events += [event] if event is not None else []
    return events


def unknown_tasks(
    queue: QueueName, copies: Sequence[Mapping[str, AttributeValue]], known: Container[TaskName]
) -> TasksUnknown | None:
    """The tasks of copies on rejects or dead that are not done and not among the known; None when there are none.

    copies: their attributes. A state that can't be read is passed over, as others report it.
    """
    names: dict[TaskName, None] = {}
    count = 0
    for attributes in copies:
        foreign = [name for name in _open(attributes) if name not in known]
        names |= dict.fromkeys(foreign)
        count += bool(foreign)
    return TasksUnknown(queue, tuple(names), count, len(copies)) if names else None


def _open(attributes: Mapping[str, AttributeValue]) -> list[TaskName]:
    if retry_state.ATTRIBUTE not in attributes:
        return []
    try:
        progress = retry_state.decode(attributes[retry_state.ATTRIBUTE]).progress
    except RetryStateError:
        return []
    return [name for name, mark in {**progress.marks, **progress.alerts}.items() if mark.state is not State.DONE]
