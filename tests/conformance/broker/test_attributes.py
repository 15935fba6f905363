"""Looking at messages without receiving them, where a broker can."""

from mulligan.core.delivery import Outgoing


async def test_attributes_are_told_of_delayed_and_leased_messages_too_and_nothing_is_received(broker, queues):
    await broker.send(queues.rejects, [Outgoing(b"leased", {"n": "1"})])
    (leased,) = await broker.receive(queues.rejects, 1, wait_s=2, lease_s=30)
    await broker.send(queues.rejects, [Outgoing(b"delayed", {"n": "2"}, delay_s=600), Outgoing(b"ready", {"n": "3"})])

    told = await broker.attributes(queues.rejects, 10)
    cut = await broker.attributes(queues.rejects, 2)
    other = await broker.attributes(queues.dead, 10)

    if told is None:  # this broker shows messages to their receivers only
        assert cut is other is None
        return
    assert sorted(one["n"] for one in told) == ["1", "2", "3"]
    assert len(cut) == 2
    assert other == []
    (ready,) = await broker.receive(queues.rejects, 10, wait_s=2, lease_s=30)
    assert (ready.body, ready.receive_count) == (b"ready", 1)
    assert await broker.ack(queues.rejects, [leased.receipt]) == [None]
