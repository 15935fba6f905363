"""Runs a coroutine as a program, on uvloop where there is one."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

__all__ = ["run"]


def run(main: Coroutine[Any, Any, T]) -> T:
    """What `main` returns."""
    try:
        import uvloop
    except ImportError:  # not made for this interpreter or system; everything works without it, a tenth slower
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
