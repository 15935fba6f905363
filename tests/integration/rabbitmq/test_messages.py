"""Messages of other people's clients, and what becomes of them on their way through rejects."""

import datetime
import decimal
import shutil
import subprocess
import time

import aio_pika
import kombu
import pika
import pytest

from mulligan.brokers.rabbitmq.header import plain
from mulligan.core import retry_state
from mulligan.core.delivery import Outgoing
from mulligan.core.message import Typed
from mulligan.core.progress import Progress
from mulligan.core.retry_state import RetryState
from tests.support import rabbitmq as rabbit

EXCHANGE, KEY = "msgparser-requests-xchange", "msgparser-requests"


async def receive_one(broker, queue):
    (found,) = await broker.receive(queue, 1, wait_s=5.0, lease_s=30.0)
    return found


def publish(url, body, properties=None):
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish(EXCHANGE, KEY, body, properties, mandatory=True)


HEADERS = {
    "text": "ünï",
    "number": 5,
    "small": -3,
    "big": 2**40,
    "decimal": decimal.Decimal("-1.5"),
    "yes": True,
    "nothing": None,
    "bytes": b"\0\xff",
    "when": datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC),
    "list": [1, "two", {"three": 3}],
    "table": {"a": {"b": "c"}},
}


async def test_headers_of_every_type_and_properties_come_out_of_rejects_as_they_went_in(broker, queues, url):
    properties = pika.BasicProperties(
        content_type="application/json", content_encoding="utf-8", headers=dict(HEADERS), delivery_mode=1, priority=3,
        correlation_id="c-1", reply_to="answers", message_id="m-1", timestamp=1_700_000_000, type="order",
        app_id="shop",
    )  # fmt: skip
    publish(url, b"\0\xffbinary", properties)
    first = await receive_one(broker, queues.requests)
    message, _, _ = retry_state.read(first, "msgparser", is_trusted=False)
    told = retry_state.encode(RetryState(message.uid, 0, 1, 1.0, Progress({})))

    # as the settler does it
    attributes = {**message.attributes, retry_state.ATTRIBUTE: told}
    attributes.pop("mulligan-uid")
    await broker.send(queues.rejects, [Outgoing(first.body, attributes, delay_s=1.0)])
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.process_data_events(1.5)
        seen = connection.channel().basic_get(queues.rejects)  # as any other client sees the copy
    second = await receive_one(broker, queues.rejects)

    assert first.body == second.body == seen[2] == b"\0\xffbinary"
    assert {name: plain(item) for name, item in first.attributes.items() if name in HEADERS} == {
        **HEADERS,
        "when": 1_704_153_600,
        "decimal": -1.5,
    }
    assert first.attributes["number"] == Typed("I", "5")
    assert second.attributes == attributes
    assert second.attributes["amqp-content-type"] == "application/json"
    assert second.attributes["amqp-message-id"] == "m-1"
    assert {name: item for name, item in seen[1].headers.items() if name in HEADERS} == HEADERS
    assert (seen[1].content_type, seen[1].content_encoding, seen[1].priority) == ("application/json", "utf-8", 3)
    assert (seen[1].message_id, seen[1].timestamp, seen[1].type) == ("m-1", 1_700_000_000, "order")
    assert seen[1].delivery_mode == 2


async def test_expiration_user_and_extra_routes_of_the_producer_do_not_act_on_copies(broker, queues, url):
    properties = pika.BasicProperties(expiration="60000", user_id="guest", headers={"CC": [KEY], "BCC": ["nobody"]})
    publish(url, b"1", properties)
    first = await receive_one(broker, queues.requests)

    await broker.send(queues.rejects, [Outgoing(first.body, first.attributes)])
    second = await receive_one(broker, queues.rejects)

    assert first.attributes["amqp-expiration"] == "60000"
    assert first.attributes["CC"].kind == "A"
    assert second.attributes == first.attributes
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        _, given, _ = connection.channel().basic_get(queues.rejects) or (None, None, None)
        assert given is None  # the one copy is held by us, and CC made no other


async def test_redelivered_message_with_an_id_has_the_same_uid_and_one_more_receipt(broker, make, queues, url):
    publish(url, b"1", pika.BasicProperties(message_id="order-7", headers={"a": 1}))
    first = await receive_one(broker, queues.requests)
    await broker.release(queues.requests, [(first.receipt, 0.0)])
    second = await receive_one(broker, queues.requests)
    await broker.release(queues.requests, [(second.receipt, 1.0)])
    third = await receive_one(broker, queues.requests)

    uids = {retry_state.identify(one, "msgparser") for one in (first, second, third)}
    assert len(uids) == 1
    assert (first.receive_count, second.receive_count) == (1, 2)
    assert first.attributes == third.attributes
    assert first.receipt != second.receipt


async def test_message_without_a_timestamp_has_the_time_of_its_receipt_and_keeps_it_in_its_copies(broker, queues, url):
    began_at = time.time()
    publish(url, b"1", pika.BasicProperties(message_id="order-8"))

    first = await receive_one(broker, queues.requests)
    message, _, _ = retry_state.read(first, "msgparser", is_trusted=False)
    told = retry_state.encode(RetryState(message.uid, 0, 1, message.sent_at, Progress({})))
    await broker.send(queues.rejects, [Outgoing(first.body, {**message.attributes, retry_state.ATTRIBUTE: told})])
    second = await receive_one(broker, queues.rejects)
    copied, _, _ = retry_state.read(second, "msgparser", is_trusted=True)

    assert not first.is_dated
    assert message.uid.startswith("000000000000-")
    assert began_at - 1 < message.sent_at < began_at + 60  # and not 1970
    assert copied.sent_at == pytest.approx(message.sent_at, abs=0.001)


async def test_two_messages_of_one_id_are_told_apart_by_the_copies_that_are_held(broker, queues, url):
    for body in (b"1", b"2"):
        publish(url, body, pika.BasicProperties(message_id="reused"))

    found = [await receive_one(broker, queues.requests) for _ in range(2)]

    assert len({one.id for one in found}) == 2
    assert len({retry_state.identify(one, "msgparser") for one in found}) == 2


async def test_headers_beyond_one_frame_travel_to_rejects_in_an_envelope(broker, queues):
    attributes = {retry_state.ATTRIBUTE: "x" * 200_000, "other": Typed("I", "5")}

    refused = await broker.send(queues.requests, [Outgoing(b"body", attributes)])
    sent = await broker.send(queues.rejects, [Outgoing(b"body", attributes)])
    found = await receive_one(broker, queues.rejects)

    assert "frame" in refused[0].reason
    assert sent == [None]
    assert (found.body, found.attributes) == (b"body", attributes)


async def test_message_of_aio_pika_is_consumed(broker, queues, url):
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(EXCHANGE)
        await exchange.publish(aio_pika.Message(b"hello", headers={"n": 1}, message_id="a"), KEY)

    found = await receive_one(broker, queues.requests)

    assert (found.body, plain(found.attributes["n"]), found.attributes["mulligan-uid"]) == (b"hello", 1, "a")


async def test_message_of_kombu_is_consumed_with_its_content_type(broker, queues, url):
    with kombu.Connection(url) as connection:
        producer = connection.Producer()
        producer.publish({"a": 1}, exchange=kombu.Exchange(EXCHANGE, "direct"), routing_key=KEY, declare=[])

    found = await receive_one(broker, queues.requests)

    assert found.body == b'{"a": 1}'
    assert found.attributes["amqp-content-type"] == "application/json"
    assert found.attributes["amqp-content-encoding"] == "utf-8"


async def test_message_of_the_command_line_is_consumed(broker, queues, url):
    if shutil.which("amqp-publish") is None:
        pytest.skip("no amqp-publish is installed: apt-get install amqp-tools")
    subprocess.run(
        ["amqp-publish", "-u", url, "-e", EXCHANGE, "-r", KEY, "-p", "-C", "text/plain", "-b", "s1"], check=True
    )

    found = await receive_one(broker, queues.requests)

    assert found.body == b"s1"
    assert found.attributes == {"amqp-content-type": "text/plain"}


@pytest.fixture(scope="module")
def managed():
    """A server with the management plugin, to which rabbitmqadmin talks."""
    if shutil.which("rabbitmqadmin") is None:
        pytest.skip("no rabbitmqadmin is installed: it comes with RabbitMQ's management plugin")
    with rabbit.running(plugins=["rabbitmq_management"]) as server:
        yield server


async def test_message_of_rabbitmqadmin_is_consumed_with_its_properties(managed, make, queues):
    broker = make(managed.url("%2F"))
    await broker.declare(queues, create=True)
    properties = '{"content_type": "text/plain", "message_id": "m-2", "headers": {"n": 1}}'
    subprocess.run(
        [
            "rabbitmqadmin", "-H", "127.0.0.1", "-P", str(managed.management_port), "publish", f"exchange={EXCHANGE}",
            f"routing_key={KEY}", "payload=s1", f"properties={properties}",
        ],
        check=True,
    )  # fmt: skip

    found = await receive_one(broker, queues.requests)

    assert found.body == b"s1"
    assert found.attributes["amqp-content-type"] == "text/plain"
    assert found.attributes["mulligan-uid"] == "m-2"
    assert plain(found.attributes["n"]) == 1
