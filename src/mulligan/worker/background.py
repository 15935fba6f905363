"""Work that goes on beside the rest: what fails in it is reported, never lost with its task."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Background"]


def _in_order() -> None:
    """A cancellation is an end in order."""


class Background:
    """Tasks of the event loop that nobody awaits.

    failed: called with each error that one of them raises.
    on_cancel: asked when one has been cancelled, by whomever: the error for `failed`, or None for an end in order.
    """

    def __init__(
        self, failed: Callable[[BaseException], None], on_cancel: Callable[[], BaseException | None] = _in_order
    ) -> None:
        self._failed = failed
        self._on_cancel = on_cancel
        self._tasks: dict[asyncio.Task[None], None] = {}  # in the order of their starts

    def spawn(self, work: Coroutine[Any, Any, None], ended: Callable[[], None] | None = None) -> "asyncio.Task[None]":
        """Begin the work at the loop's next turn. ended: called when it has ended, and nothing went to `failed`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(lambda task: self._on_done(task, ended))
        return task

    def __len__(self) -> int:
        """How many have not ended."""
        return len(self._tasks)

    def forget(self, task: "asyncio.Task[None]") -> None:
        """Count a task as ended that is about to end: a caller in this turn of the loop must not see it."""
        self._tasks.pop(task, None)

    def cancel(self) -> None:
        """Cancel all that have not ended."""
        for task in list(self._tasks):
            task.cancel()

    async def wait(self, return_when: str = asyncio.ALL_COMPLETED) -> None:
        """Wait until all have ended, or as `return_when` of `asyncio.wait` says. Raises nothing of theirs."""
        if self._tasks:
            await asyncio.wait(list(self._tasks), return_when=return_when)

    def _on_done(self, task: "asyncio.Task[None]", ended: Callable[[], None] | None) -> None:
        self._tasks.pop(task, None)
        error = self._on_cancel() if task.cancelled() else task.exception()
        if error is not None:
            self._failed(error)
        elif ended is not None:
            ended()
