"""What a start waits for, so that it can be told to stop meanwhile: a look for keys, or a server, may hang."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["unless"]

T = TypeVar("T")

_CANCEL_S = 1.0


async def unless(ending: "asyncio.Future[Any]", work: Coroutine[Any, Any, T]) -> T | None:
    """What `work` gives or raises. None when `ending` is done before: the work is cancelled then."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        await asyncio.wait([task, ending], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait([task], timeout=_CANCEL_S)
        return None
    finally:
        if not task.done():
            task.cancel()
