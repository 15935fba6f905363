"""Runs a coroutine as a program, on uvloop where there is one."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

__all__ = ["run", "run_and_leave"]


def run(main: Coroutine[Any, Any, T]) -> T:
    """What `main` returns."""
    with asyncio.Runner(loop_factory=_factory()) as runner:
        return runner.run(main)


def run_and_leave(main: Coroutine[Any, Any, T]) -> T:
    """What `main` returns. The loop stays as it is then: its end would wait for whatever swallows a cancellation, and
    for threads. For a process that ends by `os._exit`.
    """
    loop = (_factory() or asyncio.new_event_loop)()
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(main)


def _factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not made for this interpreter or system; everything works without it, a tenth slower
        return None
    return uvloop.new_event_loop
