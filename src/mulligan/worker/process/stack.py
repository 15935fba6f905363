"""The stacks of a worker that has to be killed: what its threads are at, but for mulligan's own that wait for work.

faulthandler writes them, for it needs no interpreter that is free, behind the slots of the lease table: the process
that kills the worker reads them there.
"""

import contextlib
import faulthandler
import os
import re
import signal
import sys

__all__ = ["register", "report", "shortened"]

_FRAME = re.compile(r'^  File "(.*)", line \d+ in (.*)$', re.MULTILINE)
_WAITING = "threading.py"
"""Frames above those that say what a thread waits for."""
_IDLE = {
    ("pipeline/thread_pool.py", "_serve"),
    ("pipeline/thread_pool.py", "_oversee"),
    ("storage/sqlite.py", "_next_group"),
    ("futures/thread.py", "_worker"),
}


def register(descriptor: int) -> None:
    """Have SIGUSR1 write the stacks of this process to the end of the file."""
    if not hasattr(signal, "SIGUSR1"):
        return
    os.lseek(descriptor, 0, os.SEEK_END)
    faulthandler.register(signal.SIGUSR1, file=descriptor, all_threads=True)


def report(text: str) -> None:
    """Write stacks to stderr, shortened. A stderr that is gone is not a reason to fail."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(shortened(text) + "\n")
        sys.stderr.flush()


def shortened(text: str) -> str:
    """What faulthandler wrote, without idle threads: their number is the last line. "" for nothing."""
    threads = [one for one in text.split("\n\n") if one.strip()]
    busy = [one.strip("\n") for one in threads if not _is_idle(one)]
    idle_count = len(threads) - len(busy)
    if idle_count:
        busy.append(f"({idle_count} more thread{'' if idle_count == 1 else 's'} of the worker's wait for work)")
    return "\n\n".join(busy)


def _is_idle(thread: str) -> bool:
    frames = [(file, function) for file, function in _FRAME.findall(thread) if not file.endswith(_WAITING)]
    if not frames:
        return False
    file, function = frames[0]
    return ("/".join(file.replace(os.sep, "/").split("/")[-2:]), function) in _IDLE
