"""A default task that writes to the log only."""

from collections.abc import Callable

from mulligan.clock import SystemClock
from mulligan.core.message import Message
from mulligan.integrations.alert import alert_of, log
from mulligan.tasks.base import Task
from mulligan.tasks.context import TaskContext

__all__ = ["LogAlertTask"]


class LogAlertTask(Task):
    """Writes a line to the log for each task that could not be done. shows_body: with the beginning of the body."""

    shows_body = False
    now: Callable[[], float] = staticmethod(SystemClock.now)

    async def run(self, message: Message, context: TaskContext) -> None:
        """Write the lines."""
        alert = alert_of(message, context, self.now(), shows_body=self.shows_body)
        log(alert, context, **({"body": alert.body} if alert.body else {}))
