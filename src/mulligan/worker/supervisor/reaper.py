"""What the first process of a container owes to the rest: orphans become its children, and stay as zombies until it
waits for them.
"""

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

__all__ = ["Reaper"]

_FIRST = 1


class Reaper:
    """Waits for adopted children that have ended. Does nothing in a process that is not the first of its system."""

    def __init__(self) -> None:
        self._before: set[int] = set()

    def reap(self, ours: Collection[int]) -> None:
        """Call it now and then. ours: pids of children that somebody else waits for.

        Only what had ended by the last call, too: a library that started a process of its own waits for it by then.
        """
        if os.getpid() != _FIRST:
            return
        ended = {pid for pid in _ended_children() if pid not in ours}
        for pid in ended & self._before:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self._before = ended


def _ended_children() -> Iterator[int]:
    for entry in os.listdir("/proc"):  # noqa: PTH208 - numbers, not paths
        if not entry.isdigit():
            continue
        try:
            state, parent = Path("/proc", entry, "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if state == "Z" and int(parent) == _FIRST:
            yield int(entry)
