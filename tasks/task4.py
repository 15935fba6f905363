"""The default task: it is run when a task of a message could not be done, and tells somebody.

It writes to the log, with the channel of task4_constants.py. Nothing is sent to Slack yet.
"""

from mulligan import Task, TaskContext
from tasks.task4_constants import SLACK_CHANNEL


class Task4(Task):
    max_attempts = 5  # an alert is worth some patience

    async def run(self, data: str, context: TaskContext) -> None:
        for failure in context.failures:
            context.log.error(
                "a task could not be done",
                failed=failure.task,
                attempts=failure.attempts,
                length=len(data),
                reason=failure.reason,
                channel=SLACK_CHANNEL,
                look=f"mulligan dead show {context.uid}",
            )
