"""A sample that fails on demand, to see what happens then. Try `python publisher.py fp1`, and `fo1`.

s...   succeeds
fp...  fails once, and passes when it is tried again from the rejects queue
fo...  fails permanently: the default task is run, and the message becomes a dead letter
"""

from mulligan import Task, TaskContext


class Task3(Task):
    async def run(self, data: str, context: TaskContext) -> bool:
        if data.startswith("fo"):
            raise RuntimeError("the body begins with fo, so this fails every time")
        if data.startswith("fp") and context.attempt == 1:
            raise RuntimeError("the body begins with fp, so this fails the first time")
        return True
