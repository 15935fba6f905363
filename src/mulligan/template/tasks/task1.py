"""A sample: the shape that a new task has."""

from mulligan import Task, TaskContext


class Task1(Task):
    async def run(self, data: str, context: TaskContext) -> None:
        context.log.info("task 1 got a message", length=len(data))
