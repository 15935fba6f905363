"""Copies that a newer version of this program wrote: they are left alone."""

import asyncio

import pytest

from mulligan.core import retry_state
from mulligan.core.delivery import Outgoing
from mulligan.core.event import MessageDone, MessageReleased, RetryStateMissing, StateTooNew
from mulligan.core.message import TaskName, Uid
from mulligan.core.progress import FRESH, Progress
from mulligan.core.retry_state import RetryState
from tests.integration.worker.service import LEDGER_DOWN, QUEUES, Recording, task

UID = "018bcfe56800-0b090fd81c3e1612c0f0"


def newer(uid=UID, version=2):
    """A state as a newer version may write it: known by its "v" and "uid", and by nothing else."""
    return f'{{"v":{version},"uid":"{uid}","gen":0,"jobs":{{"One":{{"done":true}}}}}}'


async def put(service, count=1, **more):
    copies = [
        Outgoing(b"hello", {retry_state.ATTRIBUTE: newer(f"018bcfe56800-{number:020x}"), **more})
        for number in range(count)
    ]
    for start in range(0, count, 100):
        await service.broker.send(QUEUES.rejects, copies[start : start + 100])


async def kept(service):
    """(receive count, body, state) of what is on rejects, once it can be seen."""
    await asyncio.sleep(1000)
    found = await service.broker.receive(QUEUES.rejects, 100, wait_s=0.0, lease_s=1.0)
    return [(one.receive_count, one.body, one.attributes[retry_state.ATTRIBUTE]) for one in found]


async def test_message_of_a_newer_version_is_neither_run_nor_removed_and_told(service):
    one = Recording()
    worker = service.worker(task("One", one), task("Alert", one, is_default=True))

    await put(service)
    await asyncio.sleep(50)

    assert one.runs == []
    assert await service.totals() == (0, 1, 0)
    assert service.told(StateTooNew) == [StateTooNew(QUEUES.rejects, Uid(f"018bcfe56800-{0:020x}"), 1, 2, 1, (), 60.0)]
    assert service.told(RetryStateMissing) == []
    assert worker.ledger.calls == []
    assert worker.network.count("ack") == worker.network.count("send") == 0
    assert worker.table.used == worker.in_flight == 0
    await worker.drain()
    assert await kept(service) == [(2, b"hello", newer(f"018bcfe56800-{0:020x}"))]


async def test_message_of_a_newer_version_is_looked_at_after_a_minute_then_twice_that_up_to_fifteen(service):
    service.worker(task("One", Recording()))

    await put(service)
    await asyncio.sleep(3000)

    assert [event.delay_s for event in service.told(MessageReleased)] == [60, 120, 240, 480, 900, 900, 900]


async def test_message_of_a_newer_version_is_looked_at_by_its_age_where_the_broker_counts_no_releases(service):
    service.worker(task("One", Recording()), features={"counts_releases": False})

    await put(service)
    await asyncio.sleep(3000)

    waits = [event.delay_s for event in service.told(MessageReleased)]
    assert waits == pytest.approx([60, 60, 120, 240, 480, 900, 900, 900], rel=0.02)


async def test_message_of_a_newer_version_is_left_no_longer_than_the_broker_can(service):
    worker = service.worker(task("One", Recording()), features={"max_lease_s": 30.0})

    await put(service)
    await asyncio.sleep(100)

    delays = [entries[0][1] for name, (_, entries) in _released(worker)]
    assert delays == [30.0, 30.0, 30.0, 30.0]


def _released(worker):
    return [(name, args) for name, args in worker.network.calls if name == "release"]


async def test_thousand_copies_of_a_newer_version_are_told_once_a_minute_with_their_count(service):
    service.worker(task("One", Recording()))

    await put(service, 1000)
    await asyncio.sleep(300)

    told = service.told(StateTooNew)
    assert 2 <= len(told) <= 5
    assert sum(event.copies for event in told) <= len(service.told(MessageReleased)) == 3000
    assert told[1].copies >= 999


async def test_queue_full_of_newer_copies_costs_two_requests_for_each_batch_and_look(service):
    """A start on them was a busy loop."""
    worker = service.worker(task("One", Recording()), stages=(1,))

    await put(service, 1000)
    await asyncio.sleep(50)

    assert len(service.told(MessageReleased)) == 1000
    assert worker.network.count("receive") <= 1000 / 10 + 10
    assert worker.network.count("release") <= 1000 / 10 + 10


async def test_message_behind_a_wall_of_newer_copies_is_done(service):
    one = Recording()
    service.worker(task("One", one))
    await put(service, 500)

    mine = RetryState(Uid(UID), 0, 1, service.clock.now(), Progress({TaskName("One"): FRESH}))
    await service.send("mine", queue=QUEUES.rejects, **{retry_state.ATTRIBUTE: retry_state.encode(mine)})
    await service.until(lambda: service.told(MessageDone), within_s=20)

    assert one.runs == [("mine", 1)]


async def test_message_of_a_newer_version_waits_for_no_ledger(service):
    worker = service.worker(task("One", Recording()))
    worker.ledger.cut["claim"] = worker.ledger.cut["give_back"] = LEDGER_DOWN

    await put(service)
    await asyncio.sleep(50)

    assert len(service.told(MessageReleased)) == 1
    assert worker.table.used == 0


async def test_message_of_a_newer_version_is_given_back_by_the_supervisor_without_a_word_to_the_ledger(service):
    worker = service.worker(task("One", Recording()))
    worker.network.faults["release"] = [asyncio.Event().wait]
    await put(service)
    await asyncio.sleep(5)
    ledger = worker.keeper._ledger = worker.ledger

    assert await worker.keeper.sweep(worker.table, blamed=()) == 1

    assert ledger.calls == []
    assert (await service.broker.depth(QUEUES.rejects)).ready == 1


async def test_group_waits_behind_its_head_of_a_newer_version_and_is_told_by_name(service):
    one = Recording()
    worker = service.worker(task("One", one), stages=(1,))
    worker.network.group = lambda delivery: delivery.body.decode()[0]
    states = [
        newer(),
        retry_state.encode(RetryState(Uid("018bcfe56800-1"), 0, 1, 1.0, Progress({TaskName("One"): FRESH}))),
        retry_state.encode(RetryState(Uid("018bcfe56800-2"), 0, 1, 1.0, Progress({TaskName("One"): FRESH}))),
    ]
    worker.network.faults["receive"] = [None, *[asyncio.Event().wait] * 50]

    await service.broker.send(
        QUEUES.rejects,
        [
            Outgoing(body, {retry_state.ATTRIBUTE: state})
            for body, state in zip((b"a1", b"a2", b"b1"), states, strict=True)
        ],
    )
    await asyncio.sleep(5)

    assert one.runs == [("b1", 1)]
    assert service.told(StateTooNew)[0].groups == ("a",)
    assert [(event.uid, event.reason, event.delay_s) for event in service.told(MessageReleased)] == [
        (UID, "its state can't be read", 60.0),
        ("018bcfe56800-1", "the head of its group comes first", 0.0),
    ]


async def test_message_on_the_requests_queue_is_new_whatever_version_a_producer_puts_into_its_state(service):
    one = Recording()
    service.worker(task("One", one))

    await service.send("hello", **{retry_state.ATTRIBUTE: newer()})
    await service.until_empty()

    assert one.runs == [("hello", 1)]
    assert service.told(StateTooNew) == []


async def test_message_goes_on_where_it_stood_once_the_program_knows_its_version(service, monkeypatch):
    one = Recording()
    monkeypatch.setattr(retry_state, "VERSION", 0)  # a program older than the copy
    old = service.worker(task("One", one), task("Two", one))
    state = '{"v":1,"uid":"018bcfe56800-1","gen":0,"hop":1,"seen":1,"tasks":{"One":["d",1],"Two":["p",0]}}'
    await service.send("hello", queue=QUEUES.rejects, **{retry_state.ATTRIBUTE: state})
    await service.until(lambda: service.told(StateTooNew))
    await old.drain()
    monkeypatch.setattr(retry_state, "VERSION", 1)

    service.worker(task("One", one), task("Two", one))
    await service.until_empty()

    assert [(context.task, context.uid) for context in one.contexts] == [("Two", "018bcfe56800-1")]
