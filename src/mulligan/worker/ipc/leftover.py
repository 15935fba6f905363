"""Ends what the tasks of a worker started, and left behind when their process ended.

It is done before the worker's messages are released, so that nothing of an attempt runs beside the next one. What
belongs to a process is known by its session, and by the mark that it has in its environment: one of the two is left in
everything that does not get rid of both on purpose. Reads /proc; elsewhere the process group is all that is found.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from mulligan.clock import SystemClock
from mulligan.core.value import value

__all__ = ["WORKER_VARIABLE", "Leftovers", "end_leftovers"]

WORKER_VARIABLE = "MULLIGAN_WORKER"
"""Of the environment of a worker or an isolated process, and of all that it starts: a text that is its alone."""

_PROC = Path("/proc")
_SESSION, _THREADS = 3, 17  # fields of stat, counted from the state on
_ROUND_S = 0.01
_ENOUGH_S = 5.0
_EMPTY_LOOKS = 2


@value
class Leftovers:
    """What was found, each as "name (pid)". stayed: what could not be ended."""

    ended: tuple[str, ...] = ()
    stayed: tuple[str, ...] = ()


def end_leftovers(pid: int, mark: str, *, patience_s: float) -> Leftovers:
    """End the processes that belong to one that has ended; returns when they have. Blocks: for a thread.

    pid, mark: of the process that has ended. patience_s: seconds that they have to end by SIGTERM, before SIGKILL.
    """
    if not (_PROC / "self" / "stat").exists():
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        return Leftovers()
    began_at = SystemClock.monotonic()
    seen: dict[int, str] = {}
    signalled: set[int] = set()
    refused: set[int] = set()
    empty_looks = 0
    while True:
        left = dict(_belonging(pid, mark))
        seen |= left
        waited_s = SystemClock.monotonic() - began_at
        # one that forks and ends itself all the time is missed by a look now and then
        empty_looks = 0 if left.keys() - refused else empty_looks + 1
        if empty_looks == _EMPTY_LOOKS or waited_s > patience_s + _ENOUGH_S:
            break
        for one in left.keys() - refused:
            if waited_s < patience_s and one in signalled:
                continue
            number = signal.SIGKILL if waited_s >= patience_s else signal.SIGTERM
            signalled.add(one)
            if not _may_send(one, pid, mark, number):
                refused.add(one)
        SystemClock.pause(_ROUND_S)
    return Leftovers(_shown({one: name for one, name in seen.items() if one not in left}), _shown(left))


def _belonging(session: int, mark: str) -> Iterator[tuple[int, str]]:
    """(pid, name) of each that lives."""
    for entry in os.listdir(_PROC):  # noqa: PTH208 - numbers, not paths
        if entry.isdigit() and (name := _name_if_belonging(entry, session, mark)) is not None:
            yield int(entry), name


def _name_if_belonging(pid: str, session: int, mark: str) -> str | None:
    try:
        head, _, rest = (_PROC / pid / "stat").read_text("utf-8", "replace").rpartition(")")
        fields = rest.split()
        # the threads of a process may go on when its first one has ended
        if (fields[0] in "ZX" and int(fields[_THREADS]) <= 1) or int(pid) == os.getpid():
            return None
        if int(fields[_SESSION]) != session and not _has_mark(pid, mark):
            return None
    except (OSError, ValueError, IndexError):  # it has ended, or is somebody else's
        return None
    return head.partition("(")[2]


def _has_mark(pid: str, mark: str) -> bool:
    wanted = f"{WORKER_VARIABLE}={mark}".encode()
    for task in os.listdir(_PROC / pid / "task"):  # noqa: PTH208 - numbers, not paths
        with contextlib.suppress(OSError):  # it has ended
            variables = (_PROC / pid / "task" / task / "environ").read_bytes().split(b"\0")
            if any(one == wanted or one.startswith(wanted + b".") for one in variables):
                return True
            if variables != [b""]:  # of the whole process; only an ended thread has none
                return False
    return False


def _may_send(pid: int, session: int, mark: str, number: int) -> bool:
    """Send a signal, to the process that was looked at and no later one of its number. False when that is forbidden."""
    descriptor = -1
    with contextlib.suppress(OSError):  # a Linux without them, or no descriptor is left
        descriptor = os.pidfd_open(pid)
    try:
        if _name_if_belonging(str(pid), session, mark) is None:
            return True
        if descriptor >= 0:
            signal.pidfd_send_signal(descriptor, number)
        else:
            os.kill(pid, number)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return True


def _shown(processes: dict[int, str]) -> tuple[str, ...]:
    return tuple(f"{name} ({pid})" for pid, name in processes.items())
