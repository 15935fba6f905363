"""Messages there and back: batches, attributes, envelopes, leases, closing."""

import asyncio

import pytest

from mulligan.core.delivery import EntryFault, Fault, Outgoing
from mulligan.core.error import BrokerRefused
from mulligan.core.message import Typed
from mulligan.servers.sqs.faults.script import Duplicate

H12 = 43_200


async def receive(broker, queue, max_count=10, *, wait_s=0.0, lease_s=30.0):
    return await broker.receive(queue, max_count, wait_s=wait_s, lease_s=lease_s)


def requests(server):
    """Requests by action, as the server counted them."""
    return {action: sum(outcomes.values()) for action, outcomes in server.counters.snapshot()["requests"].items()}


async def test_message_comes_back_as_it_was_sent(broker, queues, clock):
    attributes = {
        "text": "grüße 🎈\n",
        "bytes": b"\x00\xff",
        "number": Typed("Number", "1.50"),
        "json": Typed("String.json", "{}"),
        "png": Typed("Binary.png", b"\x89"),
    }
    before = clock.now()

    assert await broker.send(queues.requests, [Outgoing("grüße 🎈".encode(), attributes)]) == [None]
    (found,) = await receive(broker, queues.requests)

    assert found.body == "grüße 🎈".encode()
    assert found.attributes == attributes
    assert found.receive_count == 1
    assert found.group is None
    assert abs(found.sent_at - before) < 5


async def test_twenty_messages_cost_four_requests_in_full_batches(server, broker, queues):
    for _ in range(2):
        await broker.send(queues.requests, [Outgoing(b"x", {}) for _ in range(10)])
    server.counters.reset()

    for _ in range(2):
        deliveries = await receive(broker, queues.requests)
        assert await broker.ack(queues.requests, [item.receipt for item in deliveries]) == [None] * 10

    assert requests(server) == {"ReceiveMessage": 2, "DeleteMessageBatch": 2}
    assert broker.requests["ReceiveMessage"] == 2


async def test_send_splits_a_batch_that_is_over_1_mib(server, broker, queues):
    big = [Outgoing(str(at).encode() * 300_000, {}) for at in range(7)]

    assert await broker.send(queues.requests, big) == [None] * 7

    assert requests(server)["SendMessageBatch"] == 3
    bodies = set()
    while found := await receive(broker, queues.requests):
        bodies |= {item.body for item in found}
    assert bodies == {one.body for one in big}


async def test_send_takes_the_rest_when_one_entry_is_refused(broker, queues):
    entries = [Outgoing(b"1", {}), Outgoing(b"\x00", {}), Outgoing(b"3", {})]

    answers = await broker.send(queues.requests, entries)

    assert answers[0] is answers[2] is None
    assert answers[1] is not None
    assert answers[1].fault is Fault.REFUSED
    assert answers[1].reason.startswith("app-requests-q: the message can't be sent: its body has the character U+0000")
    assert sorted(item.body for item in await receive(broker, queues.requests)) == [b"1", b"3"]


async def test_message_of_exactly_the_limit_is_taken_and_one_byte_more_is_not(broker, queues):
    limit = broker.features.max_message_bytes
    exact = Outgoing(b"x" * (limit - len("name" + "String" + "value")), {"name": "value"})
    over = Outgoing(exact.body + b"x", {"name": "value"})

    answers = await broker.send(queues.requests, [exact, over])

    assert answers[0] is None
    assert answers[1] is not None
    assert str(limit + 1) in answers[1].reason
    assert [item.body for item in await receive(broker, queues.requests)] == [exact.body]


# -- leases -----------------------------------------------------------------------------------------------------------


async def one(broker, queue, *, lease_s=30.0):
    await broker.send(queue, [Outgoing(b"one", {})])
    (found,) = await receive(broker, queue, lease_s=lease_s)
    return found


async def test_lease_can_be_extended_to_twelve_hours_and_not_beyond(broker, queues, clock, events):
    found = await one(broker, queues.requests)
    clock.shift_s += 20

    assert await broker.extend(queues.requests, [(found.receipt, H12)]) == [None]
    assert "got 43174 s" in events[0].text or "got 43175 s" in events[0].text

    clock.shift_s += H12 - 30 - 20
    assert await receive(broker, queues.requests) == []
    clock.shift_s += 60
    assert [item.receive_count for item in await receive(broker, queues.requests)] == [2]


async def test_lease_is_lost_when_its_twelve_hours_are_over(server, broker, queues, clock):
    found = await one(broker, queues.requests, lease_s=H12)
    server.counters.reset()
    clock.shift_s += H12 - 3

    (answer,) = await broker.extend(queues.requests, [(found.receipt, 60)])

    assert answer is not None
    assert answer.fault is Fault.LEASE_LOST
    assert requests(server) == {}


async def test_release_beyond_the_twelve_hours_wakes_early_instead_of_failing(broker, queues, clock, events):
    found = await one(broker, queues.requests, lease_s=60)
    clock.shift_s += 40

    assert await broker.release(queues.requests, [(found.receipt, H12)]) == [None]

    clock.shift_s += H12 - 100
    assert await receive(broker, queues.requests) == []
    clock.shift_s += 70
    assert len(await receive(broker, queues.requests)) == 1
    assert events == []


async def test_receipt_is_good_in_a_broker_that_declared_nothing(server, broker, broker_of, queues):
    found = await one(broker, queues.requests)
    keeper = broker_of(server)

    assert await keeper.extend(queues.requests, [(found.receipt, 60)]) == [None]
    assert await keeper.ack(queues.requests, [found.receipt]) == [None]


async def test_batch_answers_each_entry_when_some_receipts_are_rubbish(broker, queues):
    await broker.send(queues.requests, [Outgoing(b"1", {}), Outgoing(b"2", {})])
    first, second = await receive(broker, queues.requests)

    answers = await broker.ack(queues.requests, [first.receipt, "7:rubbish", second.receipt])

    assert answers[0] is answers[2] is None
    assert isinstance(answers[1], EntryFault)
    assert answers[1].fault is Fault.LEASE_LOST


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
async def test_change_refuses_what_is_no_time_and_carries_the_others_out(broker, queues, seconds):
    await broker.send(queues.requests, [Outgoing(b"1", {}), Outgoing(b"2", {})])
    first, second = await receive(broker, queues.requests)

    answers = await broker.release(queues.requests, [(first.receipt, seconds), (second.receipt, 0.0)])

    assert answers[0] is not None
    assert answers[0].fault is Fault.REFUSED
    assert answers[1] is None
    assert [item.body for item in await receive(broker, queues.requests)] == [second.body]


@pytest.mark.parametrize("lease_s", [0.0, -1.0, H12 + 1, float("nan")])
async def test_receive_refuses_a_lease_that_can_not_be(broker, queues, lease_s):
    with pytest.raises(BrokerRefused, match="lease"):
        await receive(broker, queues.requests, lease_s=lease_s)


async def test_duplicates_come_as_two_deliveries_of_one_id(broker, queues, play):
    await broker.send(queues.requests, [Outgoing(b"twin", {})])
    play("ReceiveMessage", Duplicate(), times=1)

    found = await receive(broker, queues.requests)
    found += await receive(broker, queues.requests)

    assert [item.body for item in found] == [b"twin", b"twin"]
    assert found[0].id == found[1].id
    assert found[0].receipt != found[1].receipt


# -- ends -------------------------------------------------------------------------------------------------------------


async def waiting_receive(broker, queue):
    """A receive whose request is on its way; there is nothing for it yet."""
    task = asyncio.create_task(receive(broker, queue, wait_s=20.0, lease_s=3000.0))
    while not broker.requests.get("ReceiveMessage"):
        await asyncio.sleep(0)
    return task


async def test_close_lets_the_poll_end_and_releases_what_it_brings(server, broker, broker_of, queues):
    other = broker_of(server)
    task = await waiting_receive(broker, queues.requests)

    closing = asyncio.create_task(broker.close())
    await asyncio.sleep(0)
    await other.send(queues.requests, [Outgoing(b"late", {})])
    await closing

    assert await task == []
    (found,) = await receive(other, queues.requests)
    assert found.body == b"late"
    assert found.receive_count == 2


async def test_cancelled_receive_releases_what_it_still_brings(server, broker, broker_of, queues):
    other = broker_of(server)
    task = await waiting_receive(broker, queues.requests)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await other.send(queues.requests, [Outgoing(b"late", {})])
    await broker.close()

    (found,) = await receive(other, queues.requests)
    assert found.receive_count == 2


async def test_closed_broker_gives_nothing_and_takes_nothing(broker, queues):
    await broker.close()
    await broker.close()

    assert await receive(broker, queues.requests) == []
    with pytest.raises(BrokerRefused, match="closed"):
        await broker.send(queues.requests, [Outgoing(b"x", {})])
    with pytest.raises(BrokerRefused, match="closed"):
        await broker.ack(queues.requests, ["1:x"])


# -- FIFO -------------------------------------------------------------------------------------------------------------


def grouped(body, group, *, dedup_id=None):
    return Outgoing(body, {}, 0.0, group, dedup_id or f"{group}-{body.decode()}")


async def test_fifo_keeps_the_order_of_a_group_and_blocks_it_while_one_is_in_flight(fifo, fifo_queues):
    queue = fifo_queues.requests
    await fifo.send(queue, [grouped(b"1", "a"), grouped(b"2", "a"), grouped(b"1", "b")])

    first = await receive(fifo, queue, 1)
    blocked = await receive(fifo, queue)
    await fifo.ack(queue, [first[0].receipt])
    rest = await receive(fifo, queue)

    assert [(item.group, item.body) for item in first] == [("a", b"1")]
    assert {(item.group, item.body) for item in blocked} == {("b", b"1")}
    assert [(item.group, item.body) for item in rest] == [("a", b"2")]


async def test_fifo_takes_a_repeated_send_once(fifo, fifo_queues):
    queue = fifo_queues.requests

    await fifo.send(queue, [grouped(b"1", "a")])
    await fifo.send(queue, [grouped(b"1", "a")])

    assert len(await receive(fifo, queue)) == 1


async def test_fifo_tells_that_a_late_ack_came_too_late(fifo, fifo_queues, clock):
    queue = fifo_queues.requests
    await fifo.send(queue, [grouped(b"1", "a")])
    (found,) = await receive(fifo, queue)
    clock.shift_s += 31

    (answer,) = await fifo.ack(queue, [found.receipt])

    assert answer is not None
    assert answer.fault is Fault.LEASE_LOST
    assert len(await receive(fifo, queue)) == 1


async def test_fifo_refuses_a_delay_with_what_to_do(fifo, fifo_queues):
    (answer,) = await fifo.send(fifo_queues.rejects, [Outgoing(b"x", {}, 5.0, "g", "d")])

    assert answer is not None
    assert answer.fault is Fault.REFUSED
    assert "release it on receipt" in answer.reason
