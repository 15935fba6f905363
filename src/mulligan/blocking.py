"""Runs what blocks in a thread of the program's own: the event loop's default executor is the tasks' to use.

A task may fill that one with work that hangs, or put another one in its place.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from mulligan.fork import FORKED, end

__all__ = ["caught", "in_thread"]

T = TypeVar("T")

_THREADS = ThreadPoolExecutor(4, "mulligan-blocking")  # begins a thread when there is work for it


async def in_thread(work: Callable[[], T]) -> T:
    """What `work` gives or raises. A cancellation ends the wait, not the work."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work)


def caught(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """What `call`, a task's code, gives or raises, as values: a future that is to hold a StopIteration never ends."""
    try:
        return call(), None
    except BaseException as exc:  # noqa: BLE001 - user code may raise anything; the attempt raises it again
        return None, exc
    finally:
        if FORKED.is_true:
            end()
