"""A FIFO dead queue takes a letter of one message twice within minutes, where the first was moved away meanwhile."""

import pytest

from mulligan.clock import SystemClock
from mulligan.core.delivery import Outgoing
from mulligan.core.message import Message, TaskName, Uid
from mulligan.core.progress import Mark, Progress, State
from mulligan.core.queue_role import QueueRole
from mulligan.core.retry_state import RetryState
from mulligan.ledger.memory import MemoryLedger
from mulligan.storage.body import BodyFolder
from mulligan.worker.in_flight import InFlight
from mulligan.worker.ipc.lease_table import LeaseTable
from mulligan.worker.pipeline.packer import Packer
from mulligan.worker.pipeline.patient_ledger import PatientLedger
from mulligan.worker.pipeline.runtime import Runtime
from mulligan.worker.pipeline.settler import Settler
from mulligan.worker.pipeline.slots import Slots
from mulligan.worker.reports import Reports

FAILED = Progress({TaskName("One"): Mark(State.EXHAUSTED, 1, 0.0, "no", 1.0)})
TOLD = RetryState(Uid("018bcfe56800-00112233445566778899"), 0, 1, 1.0, FAILED)


@pytest.fixture
async def bury(fifo, fifo_queues, tmp_path):
    """Buries what is received next of rejects."""
    clock, table = SystemClock(), LeaseTable.create(16)
    runtime = Runtime(clock, print, print)
    reports = Reports()
    reports.connect(lambda report, flights: None)
    role = QueueRole(1, True, fifo_queues.prefix, 30.0)
    ledger = PatientLedger(MemoryLedger(clock), clock, print)
    packer = Packer(BodyFolder(tmp_path))
    settler = Settler(runtime, fifo, fifo_queues, role, ledger, packer, Slots(table, 1, 16), reports)

    async def bury_next():
        (delivery,) = await fifo.receive(fifo_queues.rejects, 1, wait_s=1.0, lease_s=30.0)
        flight = InFlight(delivery, Message(TOLD.uid, b"hello", {}, 1.0), TOLD, "token", 1.0)
        settler.bury(flight)
        settler.bury(flight)  # as after an answer that was lost
        await settler.drain()
        await fifo.ack(fifo_queues.rejects, [delivery.receipt])

    yield bury_next
    table.close()


async def letters(fifo, fifo_queues):
    return await fifo.receive(fifo_queues.dead, 10, wait_s=1.0, lease_s=30.0)


async def test_letter_is_on_dead_again_when_it_was_moved_away_and_is_put_back_within_five_minutes(
    bury, fifo, fifo_queues
):
    """SQS took it for the letter that it had had, said yes, and dropped it; then its copy on rejects was removed."""
    await fifo.send(fifo_queues.rejects, [Outgoing(b"hello", {}, group="g", dedup_id="1")])
    await bury()
    (first,) = await letters(fifo, fifo_queues)
    await fifo.send(fifo_queues.rejects, [Outgoing(b"hello", {}, group="g", dedup_id="moved")])
    await fifo.ack(fifo_queues.dead, [first.receipt])

    await bury()

    (again,) = await letters(fifo, fifo_queues)
    assert again.body == b"hello"
