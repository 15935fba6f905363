"""What a child process does so as not to outlive its parent."""

import ctypes
import signal
import sys

__all__ = ["die_with_parent", "outlive_parent"]

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends; Linux only, elsewhere nothing.

    The end of the pipe says the same to a process that listens; a task that holds the interpreter does not.
    """
    _set(signal.SIGKILL)


def outlive_parent() -> None:
    """Take `die_with_parent` back."""
    _set(0)


def _set(number: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)
