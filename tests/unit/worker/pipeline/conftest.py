"""The parts of one pipeline: each is the real one, with a ledger that fails as a test says, and reports on a list."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mulligan.core.event import Event
from mulligan.core.lifecycle import Phase
from mulligan.core.message import Uid
from mulligan.core.queue_role import QueueRole
from mulligan.ledger.base import Claim
from mulligan.ledger.memory import MemoryLedger
from mulligan.tasks.registry import LoadedTask, TaskRegistry
from mulligan.worker.in_flight import InFlight
from mulligan.worker.ipc.lease_table import LeaseTable
from mulligan.worker.isolation.gate import Gate
from mulligan.worker.pipeline.admission import Admission
from mulligan.worker.pipeline.backpressure import Backpressure
from mulligan.worker.pipeline.claims import Claims
from mulligan.worker.pipeline.decider import Decider
from mulligan.worker.pipeline.held_copies import HeldCopies, MissingTasks
from mulligan.worker.pipeline.patient_ledger import PatientLedger
from mulligan.worker.pipeline.recorder import Recorder
from mulligan.worker.pipeline.reporter import EventReporter
from mulligan.worker.pipeline.runtime import Runtime
from mulligan.worker.pipeline.slots import Slots
from mulligan.worker.reports import Reports
from tests.integration.worker.service import Network
from tests.support.virtual_loop import VirtualClock

UID = "018bcfe56800-0000000000000000000"


@pytest.fixture
async def ledger(clock: VirtualClock) -> Network:
    return Network(MemoryLedger(clock))


@pytest.fixture
async def patient(ledger: Network, runtime: Runtime) -> PatientLedger:
    return PatientLedger(ledger, runtime.clock, runtime.emit)


@pytest.fixture
async def claims(runtime: Runtime, patient: PatientLedger, table: LeaseTable, reports: Reports) -> Claims:
    """Claims of a minute."""
    return Claims(runtime, patient, table, reports, 60.0)


@pytest.fixture
def registry(make_task: Callable[..., LoadedTask]) -> TaskRegistry:
    """Tasks One and Two, which succeed, and the default task Alert."""
    tasks = [make_task(_succeed, "One"), make_task(_succeed, "Two"), make_task(_succeed, "Alert", is_default=True)]
    return TaskRegistry({task.name: task for task in tasks})


async def _succeed(message: Any, context: Any) -> None:
    """Nothing to do."""


@pytest.fixture
async def held_copies(runtime: Runtime) -> HeldCopies:
    return HeldCopies(runtime.clock, runtime.emit, counts_releases=True)


@pytest.fixture
async def admission(
    runtime: Runtime, role: QueueRole, registry: TaskRegistry, slots: Slots, held_copies: HeldCopies
) -> Admission:
    return Admission(runtime, role, registry, slots, MissingTasks(runtime.clock, runtime.emit), held_copies)


@pytest.fixture
async def decider(role: QueueRole, clock: VirtualClock) -> Decider:
    return Decider(role, clock)


@pytest.fixture
async def reporter(table: LeaseTable, clock: VirtualClock, events: list[Event]) -> EventReporter:
    """For somebody who hears every kind of event."""
    return EventReporter(table, clock, events.append, lambda _: True)


@pytest.fixture
def backpressure() -> Backpressure:
    """On while two ends or more wait for their record."""
    return Backpressure(2)


@pytest.fixture
async def gate() -> Gate:
    return Gate()


@pytest.fixture
async def recorder(
    runtime: Runtime,
    patient: PatientLedger,
    admission: Admission,
    decider: Decider,
    reporter: EventReporter,
    backpressure: Backpressure,
    gate: Gate,
    reports: Reports,
) -> Recorder:
    return Recorder(runtime, patient, admission, decider, reporter, backpressure, gate, reports)


@pytest.fixture
def make_held(
    make_flight: Callable[..., InFlight], ledger: Network, clock: VirtualClock
) -> Callable[..., Awaitable[InFlight]]:
    async def make_held(number: int = 0, *tasks: str) -> InFlight:
        """A flight whose claim is granted and that is worked on, without anything to save."""
        flight = make_flight(*tasks, uid=Uid(f"{UID}{number}"))
        now = clock.now()
        await ledger.claim([Claim(flight.message.uid, 0, 0, flight.token, now + 60)], now)
        flight.phase = Phase.ACTIVE
        return flight

    return make_held
