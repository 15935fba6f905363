import pytest

from mulligan.core.delivery import EntryFault, Fault, Outgoing
from mulligan.core.error import BrokerRefused
from mulligan.core.message import Typed


async def receive(broker, queue, max_count=10, *, wait_s=0.0, lease_s=30.0):
    return await broker.receive(queue, max_count, wait_s=wait_s, lease_s=lease_s)


async def test_send_makes_a_message_that_is_received_as_it_was_sent(broker, queues, clock):
    before = clock.now()
    answers = await broker.send(queues.requests, [Outgoing(b"hello", {"colour": "blue"})])

    (delivery,) = await receive(broker, queues.requests)

    assert answers == [None]
    assert delivery.queue == queues.requests
    assert delivery.body == b"hello"
    assert delivery.attributes == {"colour": "blue"}
    assert delivery.receive_count == 1
    assert delivery.id
    assert before - 1 <= delivery.sent_at <= clock.now() + 1


def is_refused(answers):
    return [answer.fault for answer in answers if answer is not None] == [Fault.REFUSED]


@pytest.mark.parametrize(
    ("body", "is_text"),
    [
        (b"", False),
        (b"\0", False),
        (bytes(range(256)), False),
        ("grüße 🎈".encode(), True),
        (b"\xff\xfe not utf-8", False),
        (b"x" * 262_144, True),
    ],
    ids=["empty", "nul", "all bytes", "utf-8", "not utf-8", "256 KiB"],
)
async def test_receive_gives_the_body_unchanged_or_send_refuses_it(service, broker, queues, body, is_text):
    answers = await broker.send(queues.requests, [Outgoing(body, {})])

    if service.is_text and not is_text:
        assert is_refused(answers)
        return
    (delivery,) = await receive(broker, queues.requests)
    assert delivery.body == body


@pytest.mark.parametrize(
    ("attribute", "is_text"),
    [
        ("text", True),
        ("", False),
        ('quotes " and \\ and \n', True),
        ("ünï 🎈", True),
        ("lone \ud800 surrogate", False),
        (b"", False),
        (b"\0\xff", True),
        (Typed("Number", "1.50"), True),
        (Typed("String.json", '{"a":1}'), True),
        (Typed("Binary.png", b"\x89PNG"), True),
    ],
)
async def test_receive_gives_attributes_of_every_kind_unchanged_or_send_refuses_them(
    service, broker, queues, attribute, is_text
):
    answers = await broker.send(queues.requests, [Outgoing(b"body", {"name": attribute, "other": "x"})])

    if service.is_text and not is_text:
        assert is_refused(answers)
        return
    (delivery,) = await receive(broker, queues.requests)
    assert delivery.attributes == {"name": attribute, "other": "x"}


async def test_receive_gives_messages_in_the_order_in_which_they_were_sent(service, broker, queues):
    if not service.is_exact:
        pytest.skip("this broker promises no order")
    await broker.send(queues.requests, [Outgoing(b"1", {}), Outgoing(b"2", {}), Outgoing(b"3", {})])
    await broker.send(queues.requests, [Outgoing(b"4", {})])

    deliveries = await receive(broker, queues.requests)

    assert [d.body for d in deliveries] == [b"1", b"2", b"3", b"4"]


async def test_receive_gives_no_more_than_asked_for(broker, queues):
    await broker.send(queues.requests, [Outgoing(b"1", {}), Outgoing(b"2", {}), Outgoing(b"3", {})])

    assert len(await receive(broker, queues.requests, 2)) == 2


async def test_receive_gives_a_full_batch_and_a_full_batch_can_be_sent(broker, queues):
    count = broker.features.max_batch

    answers = await broker.send(queues.requests, [Outgoing(str(n).encode(), {}) for n in range(count)])
    deliveries = []
    while found := await receive(broker, queues.requests, count):
        deliveries += found

    assert answers == [None] * count
    assert {d.body for d in deliveries} == {str(n).encode() for n in range(count)}


async def test_send_refuses_a_batch_of_one_too_many_whole(broker, queues):
    count = broker.features.max_batch + 1

    with pytest.raises(BrokerRefused, match=str(broker.features.max_batch)):
        await broker.send(queues.requests, [Outgoing(b"", {})] * count)

    assert await receive(broker, queues.requests) == []


async def test_calls_with_no_entries_answer_nothing(broker, queues):
    assert await broker.send(queues.requests, []) == []
    assert await broker.ack(queues.requests, []) == []
    assert await broker.release(queues.requests, []) == []
    assert await broker.extend(queues.requests, []) == []


async def test_receive_gives_only_what_is_on_the_queue_asked_for(broker, queues):
    await broker.send(queues.rejects, [Outgoing(b"reject", {})])

    assert await receive(broker, queues.requests) == []
    assert [d.body for d in await receive(broker, queues.rejects)] == [b"reject"]


async def test_send_takes_a_message_of_exactly_the_limit(service, broker, queues):
    body = b"x" * (broker.features.max_message_bytes - len(b"name") - len(b"value") - service.type_bytes)

    answers = await broker.send(queues.requests, [Outgoing(body, {"name": "value"})])
    (delivery,) = await receive(broker, queues.requests)

    assert answers == [None]
    assert delivery.body == body


async def test_send_refuses_only_the_entry_that_is_one_byte_too_large(service, broker, queues):
    limit = broker.features.max_message_bytes
    body = b"x" * (limit - len(b"name") - len(b"value") - service.type_bytes + 1)

    answers = await broker.send(
        queues.requests, [Outgoing(b"before", {}), Outgoing(body, {"name": "value"}), Outgoing(b"after", {})]
    )

    assert answers[0] is None
    assert isinstance(answers[1], EntryFault)
    assert answers[1].fault is Fault.REFUSED
    assert str(limit + 1) in answers[1].reason
    assert str(limit) in answers[1].reason
    assert answers[2] is None
    assert sorted(d.body for d in await receive(broker, queues.requests)) == [b"after", b"before"]


async def test_send_keeps_a_delayed_message_back_until_its_time(broker, queues, pass_time):
    await broker.send(queues.requests, [Outgoing(b"later", {}, delay_s=4.0), Outgoing(b"now", {})])

    first = await receive(broker, queues.requests)
    await pass_time(2.0)
    second = await receive(broker, queues.requests)
    await pass_time(2.5)
    third = await receive(broker, queues.requests)

    assert [d.body for d in first] == [b"now"]
    assert second == []
    assert [d.body for d in third] == [b"later"]
    assert third[0].receive_count == 1


async def test_send_takes_the_longest_delay_and_refuses_a_longer_one(broker, queues):
    longest = broker.features.max_delay_s

    answers = await broker.send(
        queues.requests, [Outgoing(b"x", {}, delay_s=longest), Outgoing(b"x", {}, delay_s=longest + 1)]
    )

    assert answers[0] is None
    assert isinstance(answers[1], EntryFault)
    assert answers[1].fault is Fault.REFUSED


async def test_two_receivers_never_get_the_same_message_while_it_is_leased(connect, queues):
    one, other = await connect(), await connect()
    for start in range(0, 40, 10):
        await one.send(queues.requests, [Outgoing(str(n).encode(), {}) for n in range(start, start + 10)])

    bodies = []
    for _ in range(10):
        bodies += [d.body for d in await receive(one, queues.requests, 5)]
        bodies += [d.body for d in await receive(other, queues.requests, 5)]

    assert sorted(bodies, key=int) == [str(n).encode() for n in range(40)]


async def test_depth_counts_ready_delayed_and_leased_messages(service, broker, queues, pass_time):
    if not service.is_exact:
        pytest.skip("this broker only estimates its depth")
    await broker.send(queues.requests, [Outgoing(b"1", {}), Outgoing(b"2", {}), Outgoing(b"3", {})])
    await broker.send(queues.requests, [Outgoing(b"4", {}, delay_s=60.0)])
    await receive(broker, queues.requests, 1)
    await pass_time(10.0)

    depth = await broker.depth(queues.requests)

    assert (depth.ready, depth.delayed, depth.in_flight) == (2, 1, 1)
    assert depth.oldest_age_s == pytest.approx(10.0, abs=2.0)
    assert depth.is_exact


async def test_depth_of_an_empty_queue_is_nothing(broker, queues):
    depth = await broker.depth(queues.dead)

    assert depth.total == 0
    assert depth.oldest_age_s is None


async def test_purge_removes_all_messages_of_one_queue_leased_ones_too(broker, queues, pass_time):
    await broker.send(queues.requests, [Outgoing(b"1", {}), Outgoing(b"2", {}), Outgoing(b"3", {}, delay_s=3.0)])
    await broker.send(queues.dead, [Outgoing(b"dead", {})])
    await receive(broker, queues.requests, 1, lease_s=3.0)

    await broker.purge(queues.requests)
    await pass_time(4.0)

    assert await receive(broker, queues.requests) == []
    assert [d.body for d in await receive(broker, queues.dead)] == [b"dead"]
