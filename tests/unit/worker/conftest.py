"""Virtual time for every async test of the folder, unless its module says REAL_TIME = True (child processes)."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mulligan.core.delivery import Delivery, Queues
from mulligan.core.event import Event
from mulligan.core.message import Message, QueueName, TaskName, Uid
from mulligan.core.policy import Policy
from mulligan.core.progress import FRESH, Progress
from mulligan.tasks.registry import LoadedTask
from mulligan.worker.in_flight import InFlight
from tests.support.virtual_loop import VirtualClock, VirtualLoop

QUEUES = Queues("t", QueueName("t-requests-q"), QueueName("t-rejects-q"), QueueName("t-dead-q"))
UID = Uid("018bcfe56800-00000000000000000000")


def pytest_asyncio_loop_factories(config, item):
    return {"real": asyncio.new_event_loop} if getattr(item.module, "REAL_TIME", False) else {"virtual": VirtualLoop}


@pytest.fixture
def queues() -> Queues:
    return QUEUES


@pytest.fixture
async def clock() -> VirtualClock:
    return VirtualClock(asyncio.get_running_loop())


@pytest.fixture
def events() -> list[Event]:
    """Everything that was emitted."""
    return []


@pytest.fixture
def failed() -> list[BaseException]:
    """Faults that would end the worker."""
    return []


@pytest.fixture
def make_task() -> Callable[..., LoadedTask]:
    def make(run: Callable[..., Any], name: str = "One", **more: Any) -> LoadedTask:
        """A task whose `run` gets (message, context)."""
        policy = Policy(max_attempts=more.pop("max_attempts", 2), timeout_s=more.pop("timeout_s", 60.0))
        is_async = asyncio.iscoroutinefunction(run)
        return LoadedTask(TaskName(name), policy, more.pop("is_default", False), is_async, True, run, **more)

    return make


@pytest.fixture
def make_flight() -> Callable[..., InFlight]:
    def make(*tasks: str, uid: Uid = UID, receipt: str = "1.1") -> InFlight:
        """A flight whose tasks are all pending."""
        message = Message(uid, b"hello", {}, 1_700_000_000.0)
        delivery = Delivery(QUEUES.requests, receipt, receipt, b"hello", {}, 1_700_000_000.0)
        flight = InFlight(delivery, message, None, "token", 1_700_000_000.0)
        flight.progress = flight.carried = flight.saved = Progress(
            {TaskName(name): FRESH for name in tasks or ("One",)}
        )
        return flight

    return make
