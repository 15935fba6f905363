import pytest

from mulligan.cli.exit import UsageError
from mulligan.cli.input import Line
from mulligan.cli.retry import WAITS_S, confirmed
from mulligan.cli.send import Sender, SendOptions, attributes_of
from mulligan.core.delivery import EntryFault, Fault, Outgoing
from mulligan.core.error import BrokerRefused, BrokerUnavailable

DOWN = BrokerUnavailable("no route")
RETRY = EntryFault(Fault.RETRY, "throttled")
REFUSED = EntryFault(Fault.REFUSED, "too big")


def numbered(count: int) -> list[Line]:
    return [Line(number, f"body {number}".encode(), 0) for number in range(1, count + 1)]


@pytest.fixture
def sender(session, sleep):
    return Sender(session, session.queues.requests, SendOptions({"source": "shop"}), sleep=sleep)


async def test_sender_gives_each_message_an_id_of_its_own_and_the_attributes(session, sender, received):
    await sender.put(numbered(250))

    first, second, *_ = await received(session.queues.requests)
    assert sender.sent == 250
    assert first.body == b"body 1"
    assert first.attributes["source"] == "shop"
    assert first.attributes["mulligan-uid"] != second.attributes["mulligan-uid"]
    assert (await session.broker.depth(session.queues.requests)).total == 250


async def test_sender_keeps_an_id_that_was_given(session, sleep, received):
    sender = Sender(session, session.queues.requests, SendOptions({"mulligan-uid": "order-7"}), sleep=sleep)

    await sender.put(numbered(1))

    assert (await received(session.queues.requests))[0].attributes == {"mulligan-uid": "order-7"}


async def test_sender_repeats_a_batch_with_the_same_ids_when_the_broker_was_away(session, sender, received, waits):
    session.broker.plan = [DOWN, DOWN]
    session.broker.is_late = True

    await sender.put(numbered(2))

    ids = [delivery.attributes["mulligan-uid"] for delivery in await received(session.queues.requests)]
    assert sender.sent == 2
    assert len(ids) == 6
    assert len(set(ids)) == 2
    assert waits == [0.2, 0.5]


async def test_sender_gives_up_after_a_bounded_time_and_names_the_first_line(session, sender, waits):
    session.broker.plan = [DOWN] * 6

    with pytest.raises(BrokerUnavailable, match="line 1: no route"):
        await sender.put(numbered(2))

    assert sender.sent == 0
    assert waits == list(WAITS_S)


async def test_sender_counts_a_refused_message_and_sends_the_others(session, sender, received):
    session.broker.plan = [[None, REFUSED, None]]

    await sender.put(numbered(3))

    assert sender.sent == 2
    assert sender.refused == ["line 2: too big"]
    assert [delivery.body for delivery in await received(session.queues.requests)] == [b"body 1", b"body 3"]


async def test_confirmed_repeats_only_the_entries_that_failed_for_a_passing_reason(session, received, sleep):
    session.broker.plan = [[None, RETRY, REFUSED]]
    entries = [Outgoing(body, {}) for body in (b"a", b"b", b"c")]

    answers = await confirmed(session.broker, session.queues.requests, entries, sleep=sleep)

    assert answers == [None, None, REFUSED]
    assert [delivery.body for delivery in await received(session.queues.requests)] == [b"a", b"b"]


async def test_confirmed_does_not_repeat_what_the_broker_refuses_as_a_whole(session, sleep, waits):
    session.broker.plan = [BrokerRefused("no rights")]

    with pytest.raises(BrokerRefused):
        await confirmed(session.broker, session.queues.requests, [Outgoing(b"a", {})], sleep=sleep)

    assert waits == []


@pytest.mark.parametrize("pairs", [["novalue"], ["=x"], ["a=1", "a=2"], ["mulligan={}"]])
def test_attributes_of_refuses_what_is_no_attribute_of_a_producer(pairs):
    with pytest.raises(UsageError, match=r"--attribute"):
        attributes_of(pairs)


def test_attributes_of_takes_values_with_equals_signs_and_none():
    assert attributes_of(["a=b=c", "empty="]) == {"a": "b=c", "empty": ""}


def test_send_names_group_and_dedup_id_of_messages_for_a_fifo_queue(session):
    sender = Sender(session, session.queues.requests, SendOptions({}, group="customer-7"))

    entry = sender.outgoing(b"hi")

    assert entry.group == "customer-7"
    assert entry.dedup_id
