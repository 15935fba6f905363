import math
import random
from dataclasses import replace

import pytest

from mulligan.brokers.memory import MemoryBroker
from mulligan.core import retry_state
from mulligan.core.delivery import EntryFault, Fault
from mulligan.core.error import PackingError
from mulligan.core.event import SettlementFailed
from mulligan.core.message import Message, Typed, Uid
from mulligan.storage.body import BodyFolder
from mulligan.worker.pipeline.copies import Copies, rounded_up
from mulligan.worker.pipeline.packer import Packer
from mulligan.worker.pipeline.patient_broker import PatientBroker
from tests.integration.worker.service import Network

UID = "018bcfe56800-0000000000000000000"
TOO_BIG = EntryFault(Fault.REFUSED, "too big")


class FullDisk(BodyFolder):
    """Keeps and drops nothing."""

    def keep(self, name, content):
        raise PackingError("the disk is full")

    def drop(self, name):
        raise PackingError("the disk is full")


@pytest.fixture
async def broker(clock, queues):
    made = Network(MemoryBroker(clock))
    await made.declare(queues, create=True)
    return made


@pytest.fixture
def make_copies(broker, queues, runtime):
    def make_copies(folder):
        patient = PatientBroker(broker, queues.requests, runtime.clock, runtime.emit)
        return Copies(patient, queues, Packer(folder))

    return make_copies


@pytest.fixture
async def copies(make_copies, tmp_path):
    return make_copies(BodyFolder(tmp_path / "bodies"))


@pytest.fixture
def flight_of(make_flight):
    def flight_of(number=0, body=b"hello", **attributes):
        flight = make_flight("One", uid=f"{UID}{number}")
        flight.message = Message(flight.message.uid, body, attributes, 1.0)
        return flight

    return flight_of


def sent(broker):
    return [outgoing for name, args in broker.calls if name == "send" for outgoing in args[1]]


async def test_copies_keep_typed_attributes_and_drop_the_producers_id(copies, broker, queues, flight_of):
    flight = flight_of(**{"mulligan-uid": "order-1", "price": Typed("Number", "1.50")})

    assert await copies.send(queues.rejects, [(flight, 0.0)], hops=1) == [(flight, 0.0, None)]

    (copy,) = await broker.receive(queues.rejects, 1, wait_s=0, lease_s=60)
    assert set(copy.attributes) == {"price", retry_state.ATTRIBUTE}
    assert copy.attributes["price"] == Typed("Number", "1.50")


async def test_copies_of_different_hops_have_different_deduplication_ids(copies, broker, queues, flight_of):
    first, second = flight_of(0), flight_of(0)
    second.hop = 1

    await copies.send(queues.rejects, [(first, 0.0), (second, 0.0)], hops=1)

    assert [outgoing.dedup_id for outgoing in sent(broker)] == [f"{UID}0-0-1", f"{UID}0-0-2"]
    assert sent(broker)[0].group is None


async def test_dead_letters_of_one_group_are_groups_of_their_own_so_that_none_hides_another(
    copies, broker, queues, flight_of
):
    first, second = flight_of(0), flight_of(1)
    for flight in (first, second):
        flight.delivery = replace(flight.delivery, group="g")

    await copies.send(queues.dead, [(first, 0.0)], hops=0)
    await copies.send(queues.rejects, [(second, 0.0)], hops=1)

    assert [outgoing.group for outgoing in sent(broker)] == [f"{UID}0", "g"]
    states = [retry_state.decode(outgoing.attributes[retry_state.ATTRIBUTE]) for outgoing in sent(broker)]
    assert [state.group for state in states] == ["g", None]


async def test_copies_name_each_that_was_not_confirmed_and_its_fault(copies, broker, queues, flight_of):
    first, second = flight_of(0), flight_of(1)
    broker.faults["send"] = [[TOO_BIG, None]]

    answers = await copies.send(queues.rejects, [(first, 1.0), (second, 2.0)], hops=1)

    assert answers == [(first, 1.0, TOO_BIG), (second, 2.0, None)]


async def test_copies_send_the_others_when_the_body_of_one_cannot_be_kept(
    make_copies, tmp_path, broker, queues, flight_of
):
    copies = make_copies(FullDisk(tmp_path))
    big = flight_of(0, body=random.Random(1).randbytes(broker.features.max_message_bytes))
    small = flight_of(1)

    answers = await copies.send(queues.rejects, [(big, 0.0), (small, 0.0)], hops=1)

    assert answers == [(big, 0.0, EntryFault(Fault.REFUSED, "the disk is full")), (small, 0.0, None)]


async def test_copies_report_a_stored_body_that_stays(make_copies, tmp_path, events):
    copies = make_copies(FullDisk(tmp_path))

    await copies.drop_body(Uid(f"{UID}0"), "name")

    assert events == [SettlementFailed(Uid(f"{UID}0"), "clearing up", "the disk is full", "it is left over")]


@pytest.mark.parametrize(
    ("delay_s", "expected"),
    [(0.0, 0.0), (-1.0, 0.0), (0.1, 1.0), (1.0, 1.0), (1.2, 2.0), (899.5, 900.0), (5000.0, 900.0)],
)
def test_rounded_up_gives_whole_units_and_no_more_than_the_broker_can_hold(delay_s, expected):
    assert rounded_up(delay_s, 1.0, 900.0) == expected


def test_rounded_up_is_never_shorter_than_asked():
    for number in range(1, 2000):
        delay_s = number * 0.00137
        assert rounded_up(delay_s, 0.001, math.inf) >= delay_s
