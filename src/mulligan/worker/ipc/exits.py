"""How a process ended, in words."""

import signal

__all__ = ["UNSEEN", "describe_exit"]

UNSEEN = 1000
"""Stands for the return code of a process whose real one was taken by somebody else's `wait`."""


def describe_exit(returncode: int) -> str:
    """Either "signal 9 (SIGKILL)" or "exit code 1"."""
    if returncode == UNSEEN:
        return "an exit that was not seen (a task waits for every child: os.wait, waitpid(-1), SIGCHLD ignored)"
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return f"signal {-returncode} ({signal.Signals(-returncode).name})"
    except ValueError:
        return f"signal {-returncode}"
