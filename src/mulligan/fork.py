"""What a child that a task forks must not have of its worker: descriptors, signal handlers, the worker's own code.

Python makes every descriptor close in a program that a task starts. A child that is forked and starts no program
(`os.fork`, `multiprocessing` with its start method "fork") has copies of all of them: a connection that such a copy
holds open outlives its worker, and a signal for the child reaches the worker's event loop.

Code that opens a descriptor for its own use registers it with `keep`. `guard` is for the process, once.
"""

import asyncio
import contextlib
import faulthandler
import os
import signal
import threading
from typing import NoReturn

__all__ = ["FORKED", "Identity", "end", "guard", "identity", "keep", "keep_handler", "keep_transport", "sole_loop"]

_KEPT_MANY = 1024
_EXIT_CODE = 70  # EX_SOFTWARE of sysexits.h

Identity = tuple[int, int]


class FORKED:  # a name to look at, at the cost of an attribute
    """Whether this process is a child that was forked by one that called `guard`, and has started no program since."""

    is_true = False


class _Process:
    """What was passed to `guard` and the others."""

    kept: dict[int, Identity] = {}  # noqa: RUF012 - one a process. Device and inode: numbers are used again
    handlers: dict[int, object] = {}  # noqa: RUF012 - one a process
    loop: asyncio.AbstractEventLoop | None = None
    loops_thread = 0


_thread = threading.local()


def keep(descriptor: int) -> None:
    """Have forked children get /dev/null in the place of this descriptor, for as long as it is what it is now."""
    kept = _Process.kept
    if len(kept) >= _KEPT_MANY:
        for one in [one for one, seen in kept.items() if identity(one) != seen]:
            del kept[one]
    if (found := identity(descriptor)) is not None:
        kept[descriptor] = found


def keep_transport(transport: asyncio.BaseTransport) -> None:
    """`keep` for the socket of a transport."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        keep(sock.fileno())


def keep_handler(number: int) -> None:
    """Have forked children get the default of this signal in the place of the handler that it has now.

    One that is set later is a task's own, and stays in its children.
    """
    _Process.handlers[number] = signal.getsignal(number)


def sole_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Say which event loop must not go on in a child that is forked by this thread."""
    _Process.loop, _Process.loops_thread = loop, threading.get_ident()


def guard() -> None:
    """Have every child that is forked from now on be rid of all that is kept. Once a process."""
    os.register_at_fork(before=_before, after_in_parent=_unblock, after_in_child=_after_in_child)


def end() -> NoReturn:
    """End a forked child that comes back from its task. The worker's code would do the worker's work a second time."""
    text = (
        f"process {os.getpid()}, forked by a task, came back from the task and is ended. "
        "Let such a child end itself: os._exit(0)\n"
    )
    with contextlib.suppress(OSError):
        os.write(2, text.encode())
    os._exit(_EXIT_CODE)


def _before() -> None:
    # a signal that comes before the child has run would reach the worker, and be lost to the child
    with contextlib.suppress(AttributeError, OSError):
        _thread.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _Process.handlers)


def _unblock() -> None:
    with contextlib.suppress(AttributeError, OSError):
        signal.pthread_sigmask(signal.SIG_SETMASK, _thread.mask)


def _after_in_child() -> None:
    FORKED.is_true = True
    _shut_kept()
    with contextlib.suppress(ValueError, OSError):
        signal.set_wakeup_fd(-1)  # its other end is read by the worker's loop
    for number, handler in _Process.handlers.items():
        # set again where Python knows of no other: one of the event loop's library may be there, unknown to Python
        if signal.getsignal(number) is handler and handler is not signal.SIG_IGN:
            with contextlib.suppress(ValueError, OSError):
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    with contextlib.suppress(AttributeError, ValueError):
        faulthandler.unregister(signal.SIGUSR1)
    _unblock()
    if _Process.loop is not None and threading.get_ident() == _Process.loops_thread:
        with contextlib.suppress(RuntimeError):
            _Process.loop.call_soon(end)


def _shut_kept() -> None:
    null = -1
    for descriptor, seen in _Process.kept.items():
        if identity(descriptor) != seen:
            continue
        if null < 0:
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        # not closed: objects of the worker's know the number, and would close whatever gets it next
        os.dup2(null, descriptor, inheritable=False)
    if null >= 0:
        os.close(null)
    _Process.kept.clear()


def identity(descriptor: int) -> Identity | None:
    """What file or socket a descriptor names now; None when it is closed."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino
