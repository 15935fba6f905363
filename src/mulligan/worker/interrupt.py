"""Ctrl-C reaches every process of a terminal; the supervisor alone acts on it, and tells its workers what to do."""

import sys
from collections.abc import Sequence

__all__ = ["deaf"]


def deaf(module: str, *arguments: str) -> Sequence[str]:
    """The command of a process that runs `main` of a module, and takes no notice of SIGINT from before its imports on:
    those take a second on a busy machine. That it is ignored can't be inherited: libuv gives a child the defaults.
    """
    code = f"import _signal as s; s.signal(s.SIGINT, s.SIG_IGN); from {module} import main; main()"
    return (sys.executable, "-c", code, *arguments)
