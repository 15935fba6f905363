"""The processes that the supervisor and its workers start, each with an end of a socket pair to talk over.

Each has a session of its own: a signal to its terminal or to its parent's group doesn't reach it, nor what
its tasks start. It is known by its variable `leftover.WORKER_VARIABLE`, which everything that it starts inherits.
"""

import asyncio
import atexit
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from mulligan import fork
from mulligan.blocking import in_thread
from mulligan.environ import ENVIRON
from mulligan.worker.ipc import build
from mulligan.worker.ipc.channel import Channel
from mulligan.worker.ipc.exits import UNSEEN
from mulligan.worker.ipc.leftover import WORKER_VARIABLE, Leftovers, end_leftovers

__all__ = ["HOOKS_S", "OWN_MARK", "Child", "ChildProcess", "become", "ends_with", "leave", "spawn"]

HOOKS_S = 2.0
"""Seconds that the hooks of `atexit` have."""

OWN_MARK = ENVIRON.get(WORKER_VARIABLE, "")
"""This process's own; "" in a supervisor. Those of what it starts begin with it. Read before a task can change it."""

_CHECK = "from mulligan.worker.ipc.build import check; check()"
"""First of all: the files may be another version's by now. It takes the last argument away."""


class _Origin:
    """Of a process that runs tasks: what it was started with, before a task could change it. Empty in others."""

    environ: Mapping[str, str] = {}
    executable = ""


class ChildProcess(Protocol):
    """A process that this one has started. returncode: its exit code, or the number of its signal, negative; None while
    it lives.
    """

    pid: int
    returncode: int | None

    async def wait(self) -> int:
        """Wait for the end of the process itself; its `returncode`."""

    def kill(self) -> None:
        """End it by SIGKILL, if it lives."""

    def send_signal(self, number: int) -> None:
        """Send a signal, if it lives."""

    async def end_leftovers(self, *, patience_s: float = 0.0) -> Leftovers:
        """End what its tasks started and left behind, once it has ended itself.

        patience_s: seconds to end by SIGTERM, before SIGKILL.
        """


class Child(ChildProcess):
    """One of the system. Its end is seen, no matter who holds its descriptors open or handles SIGCHLD.

    mark: what its environment has as `WORKER_VARIABLE`.
    """

    def __init__(self, popen: "subprocess.Popen[bytes]", mark: str) -> None:
        """Only on the event loop."""
        self.pid = popen.pid
        self.mark = mark
        self.returncode: int | None = None
        self._popen = popen
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._descriptor = -1
        try:
            self._descriptor = os.pidfd_open(self.pid)
            self._loop.add_reader(self._descriptor, self._reap)
        except (AttributeError, OSError):  # an old Linux, another system, no descriptor left
            self._shut()
            threading.Thread(target=self._await, name=f"mulligan-child-{self.pid}", daemon=True).start()

    async def wait(self) -> int:
        """See `ChildProcess`."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        """See `ChildProcess`."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        """See `ChildProcess`."""
        # until it has been waited for, its number is nobody else's
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def end_leftovers(self, *, patience_s: float = 0.0) -> Leftovers:
        """See `ChildProcess`."""
        return await in_thread(lambda: end_leftovers(self.pid, self.mark, patience_s=patience_s))

    def _reap(self) -> None:
        try:
            found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            self._end(UNSEEN)
            return
        if found is not None:
            self._end(found.si_status if found.si_code == os.CLD_EXITED else -found.si_status)

    def _await(self) -> None:
        try:
            _, status = os.waitpid(self.pid, 0)
            code = os.waitstatus_to_exitcode(status)
        except ChildProcessError:
            code = UNSEEN
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._end, code)

    def _end(self, code: int) -> None:
        self._shut()
        self.returncode = self._popen.returncode = code
        self._ended.set()

    def _shut(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._loop.remove_reader(descriptor)
            os.close(descriptor)


def spawn(
    module: str, *descriptors: int, folder: Path, env: Mapping[str, str] | None = None
) -> tuple[socket.socket, Child]:
    """Run `main` of a module in a process of its own; our end of the pair, and the process.

    Its arguments are the numbers of its own end and of the descriptors, which it inherits and has to `become`.
    folder: the application's, in which it begins. Raises OSError when the folder is gone, or the system has no
    process, descriptor or memory left.
    """
    ours, theirs = socket.socketpair()
    mark = f"{OWN_MARK}.{secrets.token_hex(4)}" if OWN_MARK else secrets.token_hex(8)
    inherited = [theirs.fileno(), *descriptors]
    try:
        popen = subprocess.Popen(
            _command(module, *map(str, inherited)),
            pass_fds=inherited,
            stdin=subprocess.DEVNULL,
            env={**(_Origin.environ or ENVIRON if env is None else env), WORKER_VARIABLE: mark},
            cwd=folder,
            start_new_session=True,
        )
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    return ours, Child(popen, mark)


async def ends_with(child: ChildProcess, channel: Channel[Any]) -> None:
    """End the channel's input once the process has ended: something that it started may have its end of it."""
    await child.wait()
    channel.end_input()


def become(end: socket.socket, *descriptors: int) -> None:
    """Be a process that `spawn` started: have nothing that is ours reach what the tasks start or fork."""
    for descriptor in (end.fileno(), *descriptors):
        os.set_inheritable(descriptor, False)
        fork.keep(descriptor)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        fork.keep_handler(number)
    fork.guard()
    _Origin.environ, _Origin.executable = dict(ENVIRON), sys.executable
    sys.argv = ["mulligan"]  # ours are not the business of a task file that parses its arguments when it is imported


def leave(code: int) -> None:
    """Do what an interpreter does at its end, but for waiting: run the hooks of `atexit`, flush. Bounded.

    The hooks of a process that ends because of a fault are left out, as they are when a process is killed.
    """
    if code == 0:
        limit = threading.Timer(HOOKS_S, os._exit, (code,))
        limit.daemon = True
        with contextlib.suppress(RuntimeError):  # no thread is left; the parent ends us, too
            limit.start()
        with contextlib.suppress(BaseException):  # each has been reported on stderr
            atexit._run_exitfuncs()  # noqa: SLF001 - the interpreter's own way to them waits for threads first
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


def _command(module: str, *arguments: str) -> Sequence[str]:
    """A process that takes no notice of SIGINT and SIGHUP, from before its imports on: those take a second on a busy
    machine. Not ignored but handled, for what is ignored is ignored by every program that a task starts, too; SIGHUP
    stays ignored where it was (nohup). -P: nothing is imported from where a task may have changed to.
    """
    code = (
        "import _signal as s; n = lambda *_: None; s.signal(s.SIGINT, n); "
        "s.getsignal(s.SIGHUP) == s.SIG_IGN or s.signal(s.SIGHUP, n); "
        f"{_CHECK}; from {module} import main; main()"
    )
    return (_Origin.executable or sys.executable, "-P", "-c", code, *arguments, build.OURS)
