"""How a worker process ends, step by step. Heartbeats go on outside until the last step is done.

1. Stop asking; receives under way end, and what they bring is released.
2. Start nothing more; running attempts have their grace.
3. Interrupt what is left: what can be cancelled ends, and its message is released or handed on.
4. What ignores that is abandoned and left in the lease table: the supervisor releases it when the process has ended.
5. Let every record and settlement out.
"""

import asyncio
from collections.abc import Sequence

from mulligan.worker.pipeline.pipeline import QueuePipeline

__all__ = ["drain"]

_STEP_S = 0.02
_CANCEL_S = 1.5
_SETTLE_S = 2.0


async def drain(pipelines: Sequence[QueuePipeline], grace_s: float) -> None:
    """Take the pipelines down.

    grace_s: seconds for running attempts. All of it takes at most grace_s + 3.5 s when the broker answers.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + grace_s
    for pipeline in pipelines:
        pipeline.stop_running()
    polls = [loop.create_task(pipeline.pollers.stop()) for pipeline in pipelines]
    await _until_idle(pipelines, until)
    for pipeline in pipelines:
        pipeline.runner.interrupt()
        pipeline.isolated.interrupt()
    await _until_idle(pipelines, loop.time() + _CANCEL_S)
    for pipeline in pipelines:
        pipeline.dispatcher.park(pipeline.runner.abandon())
    # a receive that can't be cancelled is still waited for: what it brings would be hidden for a whole lease
    await asyncio.wait(polls, timeout=max(_SETTLE_S, until - loop.time()))
    await _until_idle(pipelines, loop.time() + _SETTLE_S, is_flushing=True)
    for pipeline in pipelines:
        pipeline.give_up()
    await _until_idle(pipelines, loop.time() + _SETTLE_S / 2, is_flushing=True)
    for pipeline in pipelines:
        await pipeline.isolated.close()
        pipeline.runner.close()


async def _until_idle(pipelines: Sequence[QueuePipeline], until: float, *, is_flushing: bool = False) -> None:
    loop = asyncio.get_running_loop()
    while loop.time() < until:
        if is_flushing or not any(pipeline.runner.running for pipeline in pipelines):
            await _flush(pipelines, until)
        if all(pipeline.is_idle for pipeline in pipelines):
            return
        await asyncio.sleep(_STEP_S)


async def _flush(pipelines: Sequence[QueuePipeline], until: float) -> None:
    """Let out what lingers for company; there will be none."""
    loop = asyncio.get_running_loop()
    flushes = [loop.create_task(pipeline.settler.drain()) for pipeline in pipelines]
    _, pending = await asyncio.wait(flushes, timeout=max(0.0, until - loop.time()))
    for flush in pending:
        flush.cancel()
    if pending:
        await asyncio.wait(pending)
