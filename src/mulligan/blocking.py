"""Runs what blocks in a thread of the program's own: the event loop's default executor is the tasks' to use.

A task may fill that one with work that hangs, or put another one in its place. Whatever hangs here keeps no process:
the threads are daemons, which neither the end of a loop nor that of the interpreter waits for.
"""

import asyncio
import contextlib
import errno
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from mulligan.fork import FORKED, end

__all__ = ["caught", "in_thread"]

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """What `work` gives or raises. A cancellation ends the wait, not the work, whose result is then dropped.

    Raises OSError (EAGAIN) where the system has no thread left.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[T] = loop.create_future()

    def serve() -> None:
        result, error = caught(work)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_settle, ended, result, error)

    try:
        threading.Thread(target=serve, name="mulligan-blocking", daemon=True).start()
    except RuntimeError as exc:
        raise OSError(errno.EAGAIN, f"no thread can be started ({exc}): look at the system's limits") from None
    return await ended


def _settle(ended: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if ended.done():
        return
    if error is None:
        ended.set_result(result)
    else:
        ended.set_exception(error)


def caught(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """What `call` gives or raises, as values: a future that is to hold a StopIteration never ends."""
    try:
        return call(), None
    except BaseException as exc:  # noqa: BLE001 - user code may raise anything; the attempt raises it again
        return None, exc
    finally:
        if FORKED.is_true:
            end()
