"""The three tasks and the alert of the runs with crashes: a message's name tells its fate.

`ok-N` succeeds, `once-N` has one task that fails the first time, `never-N` one that fails every time, `dies-N` one that
ends its process the first time; N says which.
"""

from collections.abc import Iterable
from typing import Any

from tests.acceptance.harness.source import IS_FIRST

__all__ = ["CODE", "PACE", "TASKS", "failing", "lay_out"]

TASKS = ("First", "Second", "Third")

PACE = "pace"
"""A file in the application's folder: how many seconds the first task takes. Who breaks the system slows it down by
that when the work gets ahead of the faults."""

_TASKS = """
def slow_s():
    try:
        with open("pace") as file:
            return float(file.read())
    except FileNotFoundError:
        return float(os.environ.get("SLOW_S", "0.02"))

def fails(context, data, place):
    kind, number = data.split("-")
    if int(number) % 3 != place:
        return False
    if kind == "dies" and is_first(data):
        os._exit(0)
    return kind == "never" or (kind == "once" and context.attempt == 1)

class First(Task):
    async def run(self, data, context: TaskContext):
        with effect(data, context):
            await asyncio.sleep(slow_s())
            if fails(context, data, 0):
                raise RuntimeError("as its name says")

class Second(Task):
    def run(self, data, context: TaskContext):
        with effect(data, context):
            time.sleep(0.003)
            if fails(context, data, 1):
                raise RuntimeError("as its name says")

class Third(Task):
    async def run(self, data, context: TaskContext):
        with effect(data, context):
            if fails(context, data, 2):
                raise RuntimeError("as its name says")

class Alert(Task):
    async def run(self, data, context: TaskContext):
        with effect(data, context):
            await asyncio.sleep(0.002)
"""

CODE = IS_FIRST + _TASKS


def lay_out(app: Any) -> None:
    """Give an application these tasks."""
    app.task("all", CODE)
    app.manifest(*(f"all {name}" for name in TASKS), "all Alert default")


def failing(bodies: Iterable[str]) -> set[tuple[str, str]]:
    """(body, task) of the tasks that fail permanently."""
    return {(body, TASKS[int(body.split("-")[1]) % 3]) for body in bodies if body.startswith("never")}
