"""How a process ended, in words."""

import signal

__all__ = ["told"]


def told(returncode: int) -> str:
    """Either "signal 9 (SIGKILL)" or "exit code 1"."""
    if returncode >= 0:
        return f"exit code {returncode}"
    try:
        return f"signal {-returncode} ({signal.Signals(-returncode).name})"
    except ValueError:
        return f"signal {-returncode}"
