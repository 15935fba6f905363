import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mulligan
from mulligan.brokers.base import Queues
from mulligan.brokers.sqlite import SqliteBroker
from mulligan.core.message import QueueName

QUEUES = Queues("t", QueueName("requests"), QueueName("rejects"), QueueName("dead"))

PRELUDE = """
import asyncio, sys, time
from pathlib import Path
from mulligan.brokers.base import Queues
from mulligan.brokers.sqlite import SqliteBroker
from mulligan.core.delivery import Outgoing

QUEUES = Queues("t", "requests", "rejects", "dead")

async def connect():
    broker = SqliteBroker(Path(sys.argv[1]), Clock())
    await broker.declare(QUEUES, create=True)
    return broker

class Clock:
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
"""


class Clock:
    """Real time, and a wall clock that can be set."""

    def __init__(self) -> None:
        self.wall_shift_s = 0.0
        self.shift_s = 0.0

    def now(self) -> float:
        return time.time() + self.shift_s + self.wall_shift_s

    def monotonic(self) -> float:
        return time.monotonic() + self.shift_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def queues():
    return QUEUES


@pytest.fixture
def path(tmp_path):
    return tmp_path / "queue.db"


@pytest.fixture
async def connect(path, clock):
    made = []

    async def make(with_clock=clock):
        made.append(SqliteBroker(path, with_clock))
        await made[-1].declare(QUEUES, create=True)
        return made[-1]

    yield make
    for broker in made:
        await broker.close()


@pytest.fixture
async def broker(connect):
    return await connect()


@pytest.fixture
def start(path):
    """Starts another process that runs a piece of code on the same queue file; ends it at the end of the test."""
    started = []
    source = str(Path(mulligan.__file__).parents[1])

    def run(code):
        process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + code, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": source},
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()
