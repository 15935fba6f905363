"""Whose turn it is in each group of a FIFO queue: one message of a group at a time, in the order of their receipt."""

from collections import deque
from typing import Generic, TypeVar

__all__ = ["FifoGroups"]

T = TypeVar("T")


class FifoGroups(Generic[T]):
    """The messages of each group that this process holds: the head, whose turn it is, and those behind it."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[T]] = {}

    def enter(self, group: str, item: T) -> bool:
        """Queue the item in its group; True when its turn is now."""
        line = self._lines.setdefault(group, deque())
        line.append(item)
        return len(line) == 1

    def leave(self, group: str, item: T, *, goes_on: bool) -> tuple[T | None, list[T]]:
        """Take the item out of its group. Returns the item whose turn it is now, and those that have to leave, too.

        goes_on: the group may go on after this one. Otherwise it has stopped the group, and all behind it have to go.
        So it is with one that leaves before its turn: it was lost, it will come again, and none may overtake it.
        """
        line = self._lines.get(group)
        if line is None or item not in line:
            return None, []
        place = line.index(item)
        if place:
            behind = [line.pop() for _ in range(len(line) - place)][::-1]
            return None, behind[1:]
        line.popleft()
        if goes_on and line:
            return line[0], []
        del self._lines[group]
        return None, list(line)
