import pytest

from mulligan.core.delivery import EntryFault, Fault, Outgoing
from mulligan.core.error import BrokerRefused

SHORT_S = 3.0


async def receive(broker, queue, max_count=10, *, lease_s=SHORT_S):
    return await broker.receive(queue, max_count, wait_s=0.0, lease_s=lease_s)


async def one(broker, queue, *, lease_s=SHORT_S):
    await broker.send(queue, [Outgoing(b"one", {})])
    (delivery,) = await receive(broker, queue, lease_s=lease_s)
    return delivery


def is_lost(answer):
    return isinstance(answer, EntryFault) and answer.fault is Fault.LEASE_LOST


def keeps_lease(broker):
    if not broker.features.keeps_lease:
        pytest.skip("a lease of this broker is its connection")


async def test_ack_removes_the_message_for_good(broker, queues, pass_time):
    delivery = await one(broker, queues.requests)

    answers = await broker.ack(queues.requests, [delivery.receipt])
    await pass_time(SHORT_S + 1)

    assert answers == [None]
    assert await receive(broker, queues.requests) == []


async def test_ack_succeeds_when_it_is_repeated(broker, queues):
    delivery = await one(broker, queues.requests)
    await broker.ack(queues.requests, [delivery.receipt])

    assert await broker.ack(queues.requests, [delivery.receipt]) == [None]


async def test_ack_that_is_repeated_does_not_remove_a_message_sent_since(broker, queues):
    delivery = await one(broker, queues.requests)
    await broker.ack(queues.requests, [delivery.receipt])
    await broker.send(queues.requests, [Outgoing(b"new", {})])
    (new,) = await receive(broker, queues.requests)

    await broker.ack(queues.requests, [delivery.receipt])

    assert await broker.ack(queues.requests, [new.receipt]) == [None]
    assert new.id != delivery.id


async def test_message_comes_back_with_one_receive_more_when_its_lease_ends(broker, queues, pass_time):
    keeps_lease(broker)
    first = await one(broker, queues.requests)

    during = await receive(broker, queues.requests)
    await pass_time(SHORT_S + 0.5)
    (second,) = await receive(broker, queues.requests)

    assert during == []
    assert second.body == b"one"
    assert second.id == first.id
    assert second.receive_count == 2
    assert second.receipt != first.receipt
    assert second.sent_at == first.sent_at


async def test_late_ack_removes_the_message_when_nobody_received_it_since(broker, queues, pass_time):
    keeps_lease(broker)
    delivery = await one(broker, queues.requests)
    await pass_time(SHORT_S + 0.5)

    answers = await broker.ack(queues.requests, [delivery.receipt])

    assert answers == [None]
    assert await receive(broker, queues.requests) == []


async def test_stale_receipt_settles_nothing_when_the_message_was_received_again(service, broker, queues, pass_time):
    keeps_lease(broker)
    stale = await one(broker, queues.requests)
    await pass_time(SHORT_S + 0.5)
    (fresh,) = await receive(broker, queues.requests, lease_s=30.0)

    acked = await broker.ack(queues.requests, [stale.receipt])
    released = await broker.release(queues.requests, [(stale.receipt, 0.0)])
    extended = await broker.extend(queues.requests, [(stale.receipt, 1.0)])
    found = await receive(broker, queues.requests)

    if service.is_exact:
        assert is_lost(acked[0])
        assert is_lost(released[0])
        assert is_lost(extended[0])
    assert found == []
    assert await broker.ack(queues.requests, [fresh.receipt]) == [None]


async def test_batch_answers_each_entry_when_one_receipt_is_stale(service, broker, queues, pass_time):
    if not service.is_exact:
        pytest.skip("this broker can't tell that a receipt is stale")
    await broker.send(queues.requests, [Outgoing(b"1", {}), Outgoing(b"2", {}), Outgoing(b"3", {})])
    first = await receive(broker, queues.requests, 1)
    await pass_time(SHORT_S + 0.5)
    rest = await receive(broker, queues.requests, 3)
    fresh = {d.body: d.receipt for d in rest}

    answers = await broker.ack(queues.requests, [fresh[b"2"], first[0].receipt, fresh[b"3"]])

    assert answers[0] is None
    assert is_lost(answers[1])
    assert answers[2] is None
    assert (await broker.depth(queues.requests)).total == 1


async def test_release_gives_the_message_back_at_once(broker, queues):
    delivery = await one(broker, queues.requests, lease_s=60.0)

    answers = await broker.release(queues.requests, [(delivery.receipt, 0.0)])
    (again,) = await receive(broker, queues.requests)

    assert answers == [None]
    assert again.body == b"one"
    assert again.receive_count == 2


async def test_release_gives_the_message_back_after_its_delay(broker, queues, pass_time):
    delivery = await one(broker, queues.requests, lease_s=60.0)

    await broker.release(queues.requests, [(delivery.receipt, 4.0)])
    await pass_time(2.0)
    early = await receive(broker, queues.requests)
    await pass_time(2.5)
    due = await receive(broker, queues.requests)

    assert early == []
    assert [d.body for d in due] == [b"one"]


async def test_release_counts_as_delayed_and_not_as_in_flight(service, broker, queues):
    if not service.is_exact:
        pytest.skip("this broker only estimates its depth")
    delivery = await one(broker, queues.requests)

    await broker.release(queues.requests, [(delivery.receipt, 4.0)])
    depth = await broker.depth(queues.requests)

    assert (depth.ready, depth.delayed, depth.in_flight) == (0, 1, 0)


async def test_release_of_a_batch_gives_each_message_its_own_delay(broker, queues, pass_time):
    await broker.send(queues.requests, [Outgoing(b"1", {}), Outgoing(b"2", {})])
    receipts = {d.body: d.receipt for d in await receive(broker, queues.requests, lease_s=60.0)}

    answers = await broker.release(queues.requests, [(receipts[b"1"], 4.0), (receipts[b"2"], 0.0)])

    assert answers == [None, None]
    assert [d.body for d in await receive(broker, queues.requests, lease_s=60.0)] == [b"2"]
    await pass_time(4.5)
    assert [d.body for d in await receive(broker, queues.requests)] == [b"1"]


async def test_extend_keeps_the_message_longer(broker, queues, pass_time):
    keeps_lease(broker)
    delivery = await one(broker, queues.requests)
    await pass_time(SHORT_S - 1)

    answers = await broker.extend(queues.requests, [(delivery.receipt, 4.0)])
    await pass_time(SHORT_S - 1)
    during = await receive(broker, queues.requests)
    await pass_time(3.0)
    after = await receive(broker, queues.requests)

    assert answers == [None]
    assert during == []
    assert [d.receive_count for d in after] == [2]


async def test_extend_leaves_the_receipt_good_for_the_ack(broker, queues):
    delivery = await one(broker, queues.requests)

    await broker.extend(queues.requests, [(delivery.receipt, 30.0)])

    assert await broker.ack(queues.requests, [delivery.receipt]) == [None]


async def test_extend_is_refused_after_a_release(service, broker, queues):
    if not service.is_exact:
        pytest.skip("this broker can't tell")
    delivery = await one(broker, queues.requests)
    await broker.release(queues.requests, [(delivery.receipt, 0.0)])

    answers = await broker.extend(queues.requests, [(delivery.receipt, 30.0)])

    assert is_lost(answers[0])
    assert len(await receive(broker, queues.requests)) == 1


async def test_leases_and_delays_beyond_the_limit_are_refused_entry_by_entry(service, broker, queues):
    if not service.is_exact:
        pytest.skip("the limits of this broker are its server's")
    await broker.send(queues.requests, [Outgoing(b"1", {}), Outgoing(b"2", {})])
    first, second = await receive(broker, queues.requests)
    longest_lease, longest_delay = broker.features.max_lease_s, broker.features.max_delay_s

    extended = await broker.extend(
        queues.requests, [(first.receipt, longest_lease), (second.receipt, longest_lease + 1)]
    )
    released = await broker.release(
        queues.requests, [(first.receipt, longest_delay + 1), (second.receipt, longest_delay)]
    )

    assert extended[0] is None
    assert isinstance(extended[1], EntryFault)
    assert extended[1].fault is Fault.REFUSED
    assert isinstance(released[0], EntryFault)
    assert released[0].fault is Fault.REFUSED
    assert released[1] is None


async def test_receive_refuses_a_lease_beyond_the_limit(service, broker, queues):
    if not service.is_exact:
        pytest.skip("the limits of this broker are its server's")
    with pytest.raises(BrokerRefused, match="lease"):
        await receive(broker, queues.requests, lease_s=broker.features.max_lease_s + 1)


async def test_receipt_of_nobody_is_refused_with_its_text(service, broker, queues):
    if not service.is_exact:
        pytest.skip("the receipts of this broker are its server's")
    with pytest.raises(BrokerRefused, match="'rubbish'"):
        await broker.ack(queues.requests, ["rubbish"])
