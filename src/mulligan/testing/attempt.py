"""One attempt of one task, here and now, without a worker: its end is the outcome that a worker would record."""

import asyncio

from mulligan.core.outcome import Outcome, TimedOut
from mulligan.tasks.context import TaskContext
from mulligan.tasks.outcome_of import outcome_of_error, outcome_of_result, with_own_wait
from mulligan.tasks.registry import LoadedTask

__all__ = ["attempt"]


async def attempt(task: LoadedTask, context: TaskContext) -> Outcome:
    """Run a task, async or in a thread, within its timeout. A sync one that is over its time is waited for."""
    try:
        async with asyncio.timeout(task.policy.timeout_s) as limit:
            if task.is_async:
                result = await task.invoke(context.message, context)
            else:
                result = await asyncio.to_thread(task.invoke, context.message, context)
        return with_own_wait(task, context.attempt, outcome_of_result(result))
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - user code may raise anything; here it becomes an outcome
        if limit.expired():
            return with_own_wait(task, context.attempt, TimedOut(task.policy.timeout_s))
        return with_own_wait(task, context.attempt, outcome_of_error(task, exc))
