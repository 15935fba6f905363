"""What the service does wrong, and what becomes of it: each fault by name, provoked by the server's fault script."""

import pytest

from mulligan.brokers.sqs import client
from mulligan.brokers.sqs.credentials import find_keys
from mulligan.brokers.sqs.environment import Address
from mulligan.brokers.sqs.sign import Keys
from mulligan.core.delivery import EntryFault, Fault, Outgoing
from mulligan.core.error import BrokerRefused, BrokerUnavailable
from mulligan.servers.sqs.auth.key import Key
from mulligan.servers.sqs.faults.script import BlackHole, Cut, Empty, Fail, FailEntries, Html, Skew, Throttle
from mulligan.servers.sqs.server import DEFAULT_KEY

CALLS = ["ReceiveMessage", "SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"]


async def receive(broker, queue, max_count=10):
    return await broker.receive(queue, max_count, wait_s=0.0, lease_s=30.0)


async def work(broker, queue):
    """One of each call; True when all did what they should."""
    sent = await broker.send(queue, [Outgoing(b"1", {}), Outgoing(b"2", {})])
    found = await receive(broker, queue)
    extended = await broker.extend(queue, [(item.receipt, 60.0) for item in found])
    acked = await broker.ack(queue, [item.receipt for item in found])
    return [*sent, *extended, *acked] == [None] * 6


# -- passing faults ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", CALLS)
@pytest.mark.parametrize(
    "fault",
    [
        Throttle(),
        Throttle("ThrottlingException"),
        Throttle("KmsThrottled"),
        Fail(),
        Fail("InternalFailure", status=500),
        Html(),
        Html(200),
        Html(403),
        Cut("before"),
        Cut("after", 40),
    ],
    ids=[
        "throttle",
        "old throttle",
        "kms throttle",
        "503",
        "500",
        "html 503",
        "html 200",
        "html 403",
        "cut before",
        "cut after",
    ],
)
async def test_call_succeeds_at_its_second_try_after(broker, queues, play, action, fault):
    play(action, fault, calls=(1,))

    done = await work(broker, queues.requests)

    if action == "ReceiveMessage" and isinstance(fault, Cut) and fault.when == "after":
        # what the lost answer brought is invisible until its lease ends, so there was nothing to settle
        assert not done
    elif action == "SendMessageBatch" and isinstance(fault, Cut) and fault.when == "after":
        assert not done  # the send was carried out twice: four messages, folded by their uid later
    else:
        assert done
    assert broker.requests[action] == 2


@pytest.mark.parametrize("fault", [Throttle(), Fail(), Html(200), Html(503), Cut("before")], ids=repr)
async def test_receive_that_fails_for_good_is_never_an_empty_queue(broker, queues, play, fault):
    play("ReceiveMessage", fault)

    with pytest.raises(BrokerUnavailable, match=r"app-requests-q: ReceiveMessage failed: .*tried 3x"):
        await receive(broker, queues.requests)


async def test_receive_that_is_swallowed_ends_and_is_repeated(broker, queues, play, monkeypatch):
    monkeypatch.setattr(client, "READ_S", 0.2)
    await broker.send(queues.requests, [Outgoing(b"1", {})])
    play("ReceiveMessage", BlackHole(), calls=(1,))

    assert len(await receive(broker, queues.requests)) == 1


async def test_receive_slows_down_when_too_much_is_in_flight(broker, queues, play):
    play("ReceiveMessage", Fail("OverLimit"))

    with pytest.raises(BrokerUnavailable, match="OverLimit"):
        await receive(broker, queues.requests)

    assert broker.requests["ReceiveMessage"] == 1
    assert broker.counts.throttled == {"ReceiveMessage": 1}


async def test_receive_that_finds_nothing_for_once_is_an_empty_answer_and_no_more(broker, queues, play):
    await broker.send(queues.requests, [Outgoing(b"1", {})])
    play("ReceiveMessage", Empty(), calls=(1,))

    assert await receive(broker, queues.requests) == []
    assert len(await receive(broker, queues.requests)) == 1


async def test_fifo_receive_whose_answer_was_cut_gets_the_same_messages_at_its_second_try(fifo, fifo_queues, play):
    queue = fifo_queues.requests
    await fifo.send(queue, [Outgoing(str(at).encode(), {}, 0.0, "g", str(at)) for at in range(3)])
    play("ReceiveMessage", Cut("after", 40), calls=(1,))

    found = await receive(fifo, queue)

    assert [item.body for item in found] == [b"0", b"1", b"2"]


async def test_requests_under_10_percent_throttling_are_at_most_1_3_times_as_many(broker, queues, play):
    play("*", Throttle(), chance=0.1)

    for _ in range(50):
        assert await work(broker, queues.requests)

    sent = sum(broker.requests.get(action, 0) for action in CALLS)
    assert 200 < sent <= 260
    assert sum(broker.counts.throttled.values()) == sent - 200


# -- entries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", CALLS[1:])
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (FailEntries(1.0), Fault.RETRY),
        (FailEntries(1.0, "InvalidMessageContents", "no", is_sender_fault=True), Fault.REFUSED),
        (FailEntries(1.0, "ReceiptHandleIsInvalid", "no", is_sender_fault=True), Fault.LEASE_LOST),
        (FailEntries(1.0, "MessageNotInflight", "no", is_sender_fault=True), Fault.LEASE_LOST),
        (FailEntries(1.0, "KmsThrottled", "no", is_sender_fault=True), Fault.RETRY),
        (FailEntries(1.0, "RequestThrottled", "no", is_sender_fault=True), Fault.RETRY),
    ],
    ids=lambda item: item.code if isinstance(item, FailEntries) else item.name,
)
async def test_entries_that_fail_are_told_one_by_one(broker, queues, play, action, fault, expected):
    await broker.send(queues.requests, [Outgoing(b"0", {})])
    (found,) = await receive(broker, queues.requests)
    play(action, fault)

    answers = {
        "SendMessageBatch": lambda: broker.send(queues.requests, [Outgoing(b"1", {})]),
        "DeleteMessageBatch": lambda: broker.ack(queues.requests, [found.receipt]),
        "ChangeMessageVisibilityBatch": lambda: broker.extend(queues.requests, [(found.receipt, 60)]),
    }
    (answer,) = await answers[action]()

    assert isinstance(answer, EntryFault)
    assert answer.fault is expected
    assert broker.requests[action] == (2 if action == "SendMessageBatch" else 1)


async def test_send_tells_which_half_of_a_batch_failed(broker, queues, play):
    play("SendMessageBatch", FailEntries(0.5))

    answers = await broker.send(queues.requests, [Outgoing(str(at).encode(), {}) for at in range(10)])
    there = {int(item.body) for item in await receive(broker, queues.requests)}

    assert 0 < len(there) < 10
    assert {at for at, answer in enumerate(answers) if answer is None} == there


async def test_send_in_several_calls_tells_what_is_there_when_a_later_one_fails(broker, queues, play):
    big = [Outgoing(str(at).encode() * 600_000, {}) for at in range(3)]
    play("SendMessageBatch", Fail(), calls=(2, 3, 4))

    answers = await broker.send(queues.requests, big)

    assert answers[0] is answers[2] is None
    assert answers[1] is not None
    assert answers[1].fault is Fault.RETRY
    assert {item.body[:1] for item in await receive(broker, queues.requests)} == {b"0", b"2"}


async def test_send_in_several_calls_is_unavailable_when_the_first_fails(broker, queues, play):
    play("SendMessageBatch", Fail(), calls=(1, 2, 3))

    with pytest.raises(BrokerUnavailable):
        await broker.send(queues.requests, [Outgoing(b"x" * 600_000, {}) for _ in range(2)])


# -- faults that last -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("AccessDeniedException", "mulligan iam-policy"),
        ("QueueDoesNotExist", "`mulligan setup` makes the queues"),
        ("InvalidAddress", "region"),
        ("InvalidSecurity", "https"),
        ("KmsDisabled", "KMS key"),
        ("KmsAccessDenied", "kms:Decrypt"),
        ("KmsInvalidState", "KMS key"),
    ],
)
@pytest.mark.parametrize("action", CALLS)
async def test_call_is_refused_at_once_and_says_what_to_do_about(broker, queues, play, action, code, hint):
    await broker.send(queues.requests, [Outgoing(b"0", {})])
    (found,) = await receive(broker, queues.requests)
    before = broker.requests.get(action, 0)
    play(action, Fail(code))
    calls = {
        "ReceiveMessage": lambda: receive(broker, queues.requests),
        "SendMessageBatch": lambda: broker.send(queues.requests, [Outgoing(b"1", {})]),
        "DeleteMessageBatch": lambda: broker.ack(queues.requests, [found.receipt]),
        "ChangeMessageVisibilityBatch": lambda: broker.extend(queues.requests, [(found.receipt, 60)]),
    }

    with pytest.raises(BrokerRefused, match=hint):
        await calls[action]()

    assert broker.requests[action] == before + 1


async def test_batch_that_is_refused_as_a_whole_for_one_entry_is_split_until_it_is_found(broker, queues, play):
    await broker.send(queues.requests, [Outgoing(str(at).encode(), {}) for at in range(4)])
    found = await receive(broker, queues.requests)
    play("DeleteMessageBatch", Fail("ReceiptHandleIsInvalid"), calls=(1, 2, 3))

    answers = await broker.ack(queues.requests, [item.receipt for item in found])

    # 4 refused, its first half refused, the first of that refused; the others pass
    assert answers[0] is not None
    assert answers[0].fault is Fault.LEASE_LOST
    assert answers[1:] == [None, None, None]


# -- keys and clocks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew_s", [1200.0, -1200.0])
async def test_clock_that_is_off_is_corrected_once_and_told(broker, queues, play, events, skew_s):
    play("*", Skew(skew_s))

    for _ in range(3):
        assert await work(broker, queues.requests)

    assert len(events) == 1
    assert "clock is off" in events[0].text
    assert broker.counts.errors["SendMessageBatch"] == 1
    assert not broker.counts.errors.keys() & {"ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"}


@pytest.mark.parametrize("shift_s", [60.0, -60.0])
async def test_clock_that_is_off_by_less_than_the_service_minds_is_told_by_its_first_answer(
    start, broker_of, queues, clock, events, shift_s
):
    """Retries came a minute late on all other hosts, and nothing said why."""
    off = type(clock)()
    off.shift_s = shift_s
    broker = broker_of(await start(), clock=off)

    await broker.declare(queues, create=True)

    assert broker.lead.ahead_s == pytest.approx(shift_s, abs=2.0)
    assert broker.lead.matters
    assert events == []


async def test_clock_that_is_right_is_not_told_of(broker, queues):
    assert not broker.lead.matters


async def test_keys_that_expire_are_renewed_and_the_call_signed_again(start, broker_of, queues, clock):
    ending = Key("old", "old", "token", clock.now() + 60)
    server = await start(keys=[ending, Key("new", "new", "token2"), DEFAULT_KEY])
    broker = broker_of(server, Keys("old", "old", "token"), Keys("new", "new", "token2"))
    await broker.declare(queues, create=True)
    clock.shift_s += 120

    assert await work(broker, queues.requests)
    assert broker.requests["SendMessageBatch"] == 2
    assert broker.requests["ReceiveMessage"] == 1


async def test_keys_that_stay_expired_are_refused_with_what_to_do(start, broker_of, queues, clock):
    ending = Key("old", "old", "token", clock.now() + 60)
    server = await start(keys=[ending])
    broker = broker_of(server, Keys("old", "old", "token"))
    await broker.declare(queues, create=True)
    clock.shift_s += 120

    with pytest.raises(BrokerRefused, match="Renew them"):
        await receive(broker, queues.requests)


async def test_key_that_nobody_knows_is_refused_with_what_to_do(server, broker_of, queues):
    broker = broker_of(server, Keys("stranger", "x"))

    with pytest.raises(BrokerRefused, match="AWS_ACCESS_KEY_ID"):
        await broker.declare(queues, create=True)


async def test_keys_that_were_rotated_are_read_again_from_the_file_without_a_restart(
    start, broker_of, queues, monkeypatch, tmp_path
):
    path = tmp_path / "credentials"
    path.write_text("[ops]\naws_access_key_id = OLD\naws_secret_access_key = old\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    server = await start(keys=[Key("OLD", "old"), Key("NEW", "new")])
    broker = broker_of(server, source=lambda config: find_keys(Address(config.region, profile="ops"), config))
    await broker.declare(queues, create=True)
    path.write_text("[ops]\naws_access_key_id = NEW\naws_secret_access_key = new\n")
    await server.close()
    again = await start(port=server.port, keys=[Key("NEW", "new")])
    await broker_of(again, Keys("NEW", "new")).declare(queues, create=True)

    assert await work(broker, queues.requests)
    assert broker.counts.errors["SendMessageBatch"] >= 1


# -- outages ----------------------------------------------------------------------------------------------------------


async def test_broker_goes_on_after_the_server_was_away(start, broker_of, queues):
    server = await start()
    broker = broker_of(server)
    await broker.declare(queues, create=True)
    await work(broker, queues.requests)
    await server.close()

    with pytest.raises(BrokerUnavailable, match="no connection to"):
        await receive(broker, queues.requests)

    again = await start(port=server.port)
    helper = broker_of(again)
    await helper.declare(queues, create=True)
    assert await work(broker, queues.requests)


async def test_broker_that_finds_nobody_is_unavailable(start, broker_of, queues):
    server = await start()
    await server.close()

    with pytest.raises(BrokerUnavailable, match="no connection to"):
        await broker_of(server).declare(queues, create=False)
