"""Cache of `record` for the common case: a new message whose tasks all succeed at the first attempt.

New messages begin with one shared progress per route (`Admission`). What `core.flow.record` makes of it when a task
succeeds is the same for all of them, so it is computed once, and they share the result.
"""

from mulligan.core.flow import record
from mulligan.core.message import TaskName
from mulligan.core.outcome import SUCCEEDED
from mulligan.core.policy import Policy
from mulligan.core.progress import DONE_AT_FIRST_TRY, Progress

__all__ = ["SuccessCache"]

_WAYS_MAX = 1000
"""Shared progresses at most: tasks that end in any order make 2 ** tasks of them."""

_POLICY = Policy()  # a success asks for none of it


class SuccessCache:
    """What a success makes of shared progresses. Those are known by identity: two equal ones may differ in history."""

    def __init__(self) -> None:
        self._ways: dict[int, tuple[Progress, dict[TaskName, tuple[Progress, bool]]]] = {}

    def share(self, progress: Progress) -> None:
        """From now on this one is shared."""
        if len(self._ways) < _WAYS_MAX:
            self._ways.setdefault(id(progress), (progress, {}))  # kept, so that the id stays its own

    def after(self, progress: Progress, task: TaskName) -> tuple[Progress, bool] | None:
        """The progress after a success of `task`, and whether the message is finished by it.

        None where `progress` is not shared.
        """
        found = self._ways.get(id(progress))
        if found is None:
            return None
        _, ways = found
        way = ways.get(task)
        if way is None:
            after = record(progress, task, SUCCEEDED, _POLICY, 0.0, 0.0)
            way = ways[task] = after, all(mark is DONE_AT_FIRST_TRY for mark in after.marks.values())
            self.share(after)
        return way
