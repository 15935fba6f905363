"""The tasks that our runs are measured with, as the text of a file in the folder tasks."""

__all__ = ["FAILS_ONCE", "LATE", "LONG", "NOOP", "SYNC_NOOP", "THREE", "WAITS"]

NOOP = """
from mulligan import Task
class Noop(Task):
    async def run(self, data: str):
        return None
"""
THREE = """
from mulligan import Task
class First(Task):
    async def run(self, data: str):
        return None
class Second(Task):
    async def run(self, data: str):
        return None
class Third(Task):
    async def run(self, data: str):
        return None
"""
SYNC_NOOP = """
from mulligan import Task
class Noop(Task):
    def run(self, data: str):
        return None
"""
WAITS = """
import asyncio
from mulligan import Task
class Waits(Task):
    async def run(self, data: str):
        await asyncio.sleep(0.05)
"""
FAILS_ONCE = """
from mulligan import Task, TaskContext
class FailsOnce(Task):
    async def run(self, data: str, context: TaskContext):
        return context.attempt > 1 or int(data[:16]) % 20 != 0
"""
"""One message in twenty fails at its first attempt."""

LONG = """
import asyncio
from mulligan import Task
class Long(Task):
    async def run(self, data: str):
        if int(data[:16]) % 20 == 0:
            await asyncio.sleep({long_s})
"""
"""One message in twenty takes long."""

LATE = """
import time
from mulligan import Task
class Late(Task):
    def __init__(self):
        self.out = open({file!r}, "a", buffering=1)
    async def run(self, data: str):
        self.out.write(f"{{(time.monotonic_ns() - int(data[:16])) / 1e9}}\\n")
"""
"""Writes how long after its sending each message started."""
