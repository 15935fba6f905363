"""Virtual time for every async test of the folder, unless its module says REAL_TIME = True (child processes)."""

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from mulligan.core.delivery import Delivery, Queues
from mulligan.core.event import Event
from mulligan.core.lifecycle import Report
from mulligan.core.message import Message, QueueName, TaskName, Uid
from mulligan.core.policy import Policy
from mulligan.core.progress import FRESH, Progress
from mulligan.core.queue_role import QueueRole
from mulligan.tasks.registry import LoadedTask
from mulligan.worker.claim_watch import ClaimWatch
from mulligan.worker.in_flight import InFlight
from mulligan.worker.ipc.lease_table import LeaseTable
from mulligan.worker.pipeline.runtime import Runtime
from mulligan.worker.pipeline.slots import Slots
from mulligan.worker.reports import Reports
from tests.support.virtual_loop import VirtualClock, VirtualLoop

QUEUES = Queues("t", QueueName("t-requests-q"), QueueName("t-rejects-q"), QueueName("t-dead-q"))
UID = Uid("018bcfe56800-00000000000000000000")
SLOTS = 4000


class Reported(list[tuple[Report, list[InFlight]]]):
    """What was reported, in order."""

    def of(self, report: Report) -> list[InFlight]:
        """The flights of which this was reported, in order."""
        return [flight for one, flights in self for flight in flights if one is report]

    def groups_of(self, report: Report) -> list[list[InFlight]]:
        """The same, as they were reported together."""
        return [flights for one, flights in self if one is report]


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
async def runtime(clock: VirtualClock, events: list[Event], failed: list[BaseException]) -> Runtime:
    return Runtime(clock, events.append, failed.append)


@pytest.fixture
def reported() -> Reported:
    return Reported()


@pytest.fixture
def reports(reported: Reported) -> Reports:
    """Reports that nobody acts on; `reported` lists them."""

    def note(report: Report, flights: Sequence[InFlight]) -> None:
        reported.append((report, list(flights)))

    made = Reports()
    made.connect(note)
    return made


@pytest.fixture
def table() -> Iterator[LeaseTable]:
    made = LeaseTable.create(SLOTS)
    yield made
    made.close()


@pytest.fixture
def slots(table: LeaseTable) -> Slots:
    """All of the table, for the queue of requests."""
    return Slots(table, 0, SLOTS)


@pytest.fixture
async def watch(table: LeaseTable, clock: VirtualClock) -> ClaimWatch:
    return ClaimWatch(table, clock)


@pytest.fixture
def role() -> QueueRole:
    """The queue of requests of a system with a ledger."""
    return QueueRole(0, False, "t", 60.0)


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
        """A flight whose tasks are all pending, and whose claim does not run out."""
        message = Message(uid, b"hello", {}, 1_700_000_000.0)
        delivery = Delivery(QUEUES.requests, receipt, receipt, b"hello", {}, 1_700_000_000.0)
        flight = InFlight(delivery, message, None, "token", 1_700_000_000.0)
        flight.claimed_until = math.inf
        flight.progress = flight.carried = flight.saved = Progress(
            {TaskName(name): FRESH for name in tasks or ("One",)}
        )
        return flight

    return make
