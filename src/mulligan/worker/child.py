"""The processes that the supervisor and its workers start, each with an end of a socket pair to talk over.

Ctrl-C reaches every process of a terminal; the supervisor alone acts on it, and tells its workers what to do.
"""

import asyncio
import socket
import sys
from collections.abc import Mapping, Sequence

__all__ = ["deaf", "spawn"]


async def spawn(
    module: str, *descriptors: int, env: Mapping[str, str] | None = None
) -> tuple[socket.socket, asyncio.subprocess.Process]:
    """Run `main` of a module in a process of its own; our end of the pair, and the process.

    Its arguments are the numbers of its own end and of the descriptors, which it inherits. Raises OSError when the
    system has no process, descriptor or memory left.
    """
    ours, theirs = socket.socketpair()
    inherited = [theirs.fileno(), *descriptors]
    try:
        process = await asyncio.create_subprocess_exec(
            *deaf(module, *map(str, inherited)), pass_fds=inherited, stdin=asyncio.subprocess.DEVNULL, env=env
        )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return ours, process


def deaf(module: str, *arguments: str) -> Sequence[str]:
    """The command of a process that runs `main` of a module, and takes no notice of SIGINT from before its imports on:
    those take a second on a busy machine. That it is ignored can't be inherited: libuv gives a child the defaults.
    """
    code = f"import _signal as s; s.signal(s.SIGINT, s.SIG_IGN); from {module} import main; main()"
    return (sys.executable, "-c", code, *arguments)
