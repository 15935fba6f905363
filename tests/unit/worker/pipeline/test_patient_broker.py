import asyncio

import pytest

from mulligan.brokers.memory import MemoryBroker
from mulligan.core.delivery import EntryFault, Fault, Outgoing
from mulligan.core.error import BrokerRefused, BrokerUnavailable
from mulligan.core.event import BrokerDown, BrokerUp
from mulligan.core.message import Uid
from mulligan.worker.pipeline.patient_broker import PatientBroker
from tests.integration.worker.service import Network

DOWN = BrokerUnavailable("down")
RETRY = EntryFault(Fault.RETRY, "busy")
REFUSED = EntryFault(Fault.REFUSED, "too big")
LOST = EntryFault(Fault.LEASE_LOST, "gone")


@pytest.fixture
async def broker(clock, queues):
    made = Network(MemoryBroker(clock))
    await made.declare(queues, create=True)
    return made


@pytest.fixture
async def patient(broker, queues, runtime):
    return PatientBroker(broker, queues.requests, runtime.clock, runtime.emit)


@pytest.fixture
async def receipts(broker, queues):
    """Of four messages that are leased."""
    await broker.send(queues.requests, [Outgoing(b"hello", {})] * 4)
    deliveries = await broker.receive(queues.requests, 4, wait_s=0, lease_s=600.0)
    broker.calls.clear()
    return [delivery.receipt for delivery in deliveries]


def acked(broker):
    return [args[1] for name, args in broker.calls if name == "ack"]


async def test_broker_is_called_once_when_every_entry_succeeds(patient, broker, receipts):
    assert await patient.ack(receipts) == [None] * 4

    assert acked(broker) == [receipts]


async def test_broker_is_called_again_with_those_entries_only_that_were_busy(patient, broker, receipts):
    first, second, third, fourth = receipts
    broker.faults["ack"] = [[None, RETRY, REFUSED, RETRY], [None, RETRY], [None]]

    assert await patient.ack(receipts) == [None, None, REFUSED, None]

    assert acked(broker) == [[first, second, third, fourth], [second, fourth], [fourth]]


async def test_broker_is_called_four_times_for_an_entry_that_stays_busy(patient, broker):
    broker.faults["ack"] = [[RETRY, LOST], [RETRY], [RETRY], [RETRY]]

    assert await patient.ack(["a", "b"]) == [RETRY, LOST]

    assert broker.count("ack") == 4


async def test_broker_is_waited_for_and_its_outage_is_reported_once(patient, broker, receipts, queues, events):
    broker.faults["release"] = [DOWN] * 20

    assert await patient.release([(receipts[0], 3.0)]) == [None]

    assert [type(event) for event in events] == [BrokerDown, BrokerUp]
    assert [args for name, args in broker.calls if name == "release"] == [(queues.requests, [(receipts[0], 3.0)])] * 21


async def test_broker_is_not_waited_for_when_the_process_has_to_end(patient, broker):
    broker.cut["ack"] = DOWN
    call = asyncio.ensure_future(patient.ack(["a"]))
    await asyncio.sleep(60)
    loop = asyncio.get_running_loop()
    gave_up_at = loop.time()

    patient.give_up()

    assert await call == [EntryFault(Fault.RETRY, "down")]
    assert loop.time() - gave_up_at < 0.01
    assert patient.is_giving_up


async def test_refused_calls_are_reported_once_a_minute_with_the_number_of_the_others(patient, broker, events):
    broker.cut["ack"] = BrokerRefused("no right to delete")

    for number in range(4):
        (fault,) = await patient.ack(["a"])
        patient.report(Uid(f"uid{number}"), "ack", fault, "it comes back")
    await asyncio.sleep(60)
    patient.report(Uid("uid4"), "ack", fault, "it comes back")

    assert [(event.uid, event.others) for event in events] == [("uid0", 0), ("uid4", 3)]


async def test_faults_of_single_entries_are_each_reported(patient, events):
    for number in range(3):
        patient.report(Uid(f"uid{number}"), "ack", REFUSED, "it comes back")

    assert [(event.uid, event.others) for event in events] == [("uid0", 0), ("uid1", 0), ("uid2", 0)]
