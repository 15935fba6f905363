"""What a start waits for, so that it can be stopped meanwhile: a look for keys, or a server, may hang."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from mulligan.clock import SystemClock
from mulligan.core.error import MulliganError
from mulligan.worker.outage import Outage

__all__ = ["insist", "unless"]

T = TypeVar("T")

_CANCEL_S = 1.0
_SILENT_S = 3.0
"""A call that has no answer by then is reported: somebody may watch the start."""
_PAUSE_S = (0.25, 0.5, 1.0, 2.0)


async def insist(
    call: Callable[[], Awaitable[T]],
    passing: type[MulliganError],
    outage: Outage,
    clock: SystemClock,
    *,
    within_s: float = math.inf,
) -> T:
    """What `call` gives, as soon as it gives something; `outage` reports that it is waited for, and why.

    passing: the error that may pass. Raised all the same once the tries have lasted within_s (0: at the first).
    """
    began_at = clock.monotonic()
    tries = 0
    while True:
        try:
            found = await _with_notice(call, lambda: outage.goes_on(passing("no answer yet")))
        except passing as exc:
            left_s = began_at + within_s - clock.monotonic()
            if left_s <= 0:
                raise
            outage.goes_on(exc)
        else:
            outage.is_over()
            return found
        await asyncio.sleep(min(left_s, _PAUSE_S[min(tries, len(_PAUSE_S) - 1)]))
        tries += 1


async def _with_notice(call: Callable[[], Awaitable[T]], silent: Callable[[], None]) -> T:
    """What `call` gives or raises. silent: called once when it is still under way after a while."""
    timer = asyncio.get_running_loop().call_later(_SILENT_S, silent)
    try:
        return await call()
    finally:
        timer.cancel()


async def unless(ending: "asyncio.Future[Any]", work: Coroutine[Any, Any, T], *, grace_s: float = 0.0) -> T | None:
    """What `work` gives or raises. None when `ending` is done before, and grace_s seconds later: it is cancelled."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        await asyncio.wait([task, ending], return_when=asyncio.FIRST_COMPLETED)
        if grace_s and not task.done():
            await asyncio.wait([task], timeout=grace_s)
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait([task], timeout=_CANCEL_S)
        return None
    finally:
        if not task.done():
            task.cancel()
