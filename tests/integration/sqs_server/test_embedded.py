"""The server on the embedded queue: its messages are the main job's messages, and the other way round."""

import asyncio
import hashlib
import json
import sqlite3
import subprocess
import sys
import threading
import time

import boto3
import pytest

from mulligan.brokers.base import Queues
from mulligan.brokers.sqlite import SqliteBroker
from mulligan.core.delivery import Outgoing
from mulligan.core.error import BrokerError
from mulligan.core.message import QueueName, Typed
from mulligan.servers.sqs.actions.context import Limits
from mulligan.servers.sqs.embedded import EmbeddedBackend
from mulligan.servers.sqs.wire.schema import new_id

QUEUES = Queues("p", QueueName("p-requests-q"), QueueName("p-rejects-q"), QueueName("p-dead-q"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "queue.db"


@pytest.fixture
def embedded(start, path):
    """Starts a server on the embedded queue of `path`."""

    def start_one(clock):
        return start(clock=clock, backend=EmbeddedBackend(path, clock, Limits(), new_id))

    return start_one


@pytest.fixture
async def broker(path, clock):
    broker = SqliteBroker(path, clock)
    await broker.declare(QUEUES, create=True)
    yield broker
    await broker.close()


def in_thread(call, **fields):
    return asyncio.get_running_loop().run_in_executor(None, lambda: call(**fields))


async def test_message_sent_through_the_server_is_the_main_jobs_message(embedded, broker, clock):
    sqs = embedded(clock).client()
    url = (await in_thread(sqs.get_queue_url, QueueName=QUEUES.requests))["QueueUrl"]
    attributes = {
        "text": {"DataType": "String", "StringValue": "höhe"},
        "number": {"DataType": "Number", "StringValue": "1.50"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }

    await in_thread(sqs.send_message, QueueUrl=url, MessageBody="hällo", MessageAttributes=attributes)
    got = (await broker.receive(QUEUES.requests, 10, wait_s=0, lease_s=30))[0]

    assert got.body == "hällo".encode()
    assert got.attributes == {"text": "höhe", "number": Typed("Number", "1.50"), "bytes": b"\x00\xff"}
    assert abs(got.sent_at - clock.now()) < 5
    assert await broker.ack(QUEUES.requests, [got.receipt]) == [None]
    assert "Messages" not in await in_thread(sqs.receive_message, QueueUrl=url)


async def test_rejects_and_dead_letters_of_the_main_job_are_seen_through_the_server(embedded, broker, clock):
    sqs = embedded(clock).client()
    await broker.send(QUEUES.dead, [Outgoing(b"letter", {"mulligan": '{"v":1}', "n": Typed("Number", "3")})])
    await broker.send(QUEUES.rejects, [Outgoing(b"later", {}, delay_s=60.0)])
    urls = (await in_thread(sqs.list_queues))["QueueUrls"]

    dead, rejects = (next(url for url in urls if url.endswith(name)) for name in (QUEUES.dead, QUEUES.rejects))
    got = await in_thread(sqs.receive_message, QueueUrl=dead, MessageAttributeNames=["All"], AttributeNames=["All"])
    told = (await in_thread(sqs.get_queue_attributes, QueueUrl=rejects, AttributeNames=["All"]))["Attributes"]

    message = got["Messages"][0]
    assert (message["Body"], message["Attributes"]["ApproximateReceiveCount"]) == ("letter", "1")
    assert message["MessageAttributes"] == {
        "mulligan": {"DataType": "String", "StringValue": '{"v":1}'},
        "n": {"DataType": "Number", "StringValue": "3"},
    }
    assert told["ApproximateNumberOfMessagesDelayed"] == "1"
    await in_thread(sqs.delete_message, QueueUrl=dead, ReceiptHandle=message["ReceiptHandle"])
    assert (await broker.depth(QUEUES.dead)).total == 0


async def test_lease_of_one_side_counts_for_the_other(embedded, broker, clock):
    sqs = embedded(clock).client()
    await broker.send(QUEUES.requests, [Outgoing(b"x", {})])
    url = (await in_thread(sqs.get_queue_url, QueueName=QUEUES.requests))["QueueUrl"]

    message = (await in_thread(sqs.receive_message, QueueUrl=url, VisibilityTimeout=100))["Messages"][0]
    assert await broker.receive(QUEUES.requests, 10, wait_s=0, lease_s=30) == []
    handle = message["ReceiptHandle"]
    await in_thread(sqs.change_message_visibility, QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
    got = await broker.receive(QUEUES.requests, 10, wait_s=0, lease_s=30)

    assert [delivery.receive_count for delivery in got] == [2]
    await in_thread(sqs.delete_message, QueueUrl=url, ReceiptHandle=handle)  # stale: does nothing
    assert (await broker.depth(QUEUES.requests)).in_flight == 1


async def test_waiting_main_job_hears_of_a_send_at_once(embedded, broker, clock):
    sqs = embedded(clock).client()
    url = (await in_thread(sqs.get_queue_url, QueueName=QUEUES.requests))["QueueUrl"]
    waiting = asyncio.create_task(broker.receive(QUEUES.requests, 1, wait_s=20, lease_s=30))
    await until(lambda: broker._bell._waiting)

    sent_at = time.monotonic()
    await in_thread(sqs.send_message, QueueUrl=url, MessageBody="x")
    got = await waiting

    assert got[0].body == b"x"
    assert time.monotonic() - sent_at < 0.9  # by the bell: looking by itself takes a second


async def test_waiting_client_hears_of_the_main_jobs_send_at_once(embedded, broker, clock):
    one = embedded(clock)
    sqs = one.client()
    url = (await in_thread(sqs.get_queue_url, QueueName=QUEUES.rejects))["QueueUrl"]
    waiting = asyncio.ensure_future(in_thread(sqs.receive_message, QueueUrl=url, WaitTimeSeconds=20))
    await until(lambda: one.server._backend._bell._waiting)

    sent_at = time.monotonic()
    await broker.send(QUEUES.rejects, [Outgoing(b"x", {})])
    got = await waiting

    assert got["Messages"][0]["Body"] == "x"
    assert time.monotonic() - sent_at < 0.9


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_main_jobs_messages_never_grow_too_old(start, broker, clock, path):
    one = start(clock=clock, backend=EmbeddedBackend(path, clock, Limits(), new_id), verifies=False)
    sqs = one.client()
    await broker.send(QUEUES.dead, [Outgoing(b"old", {})])
    clock.shift_s += 100 * 86_400

    url = (await in_thread(sqs.get_queue_url, QueueName=QUEUES.dead))["QueueUrl"]
    told = await in_thread(sqs.get_queue_attributes, QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])

    assert told["Attributes"] == {"ApproximateNumberOfMessages": "1"}
    assert (await in_thread(sqs.receive_message, QueueUrl=url))["Messages"][0]["Body"] == "old"


async def test_messages_survive_a_restart_of_the_server(embedded, broker, clock, start, path):
    first = embedded(clock)
    url = first.client().create_queue(QueueName="own.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    fields = {"MessageGroupId": "g", "MessageDeduplicationId": "d"}
    sent = first.client().send_message(QueueUrl=url, MessageBody="x", **fields)
    first.run(first.server.close())

    second = embedded(clock)
    sqs = second.client()
    url = sqs.get_queue_url(QueueName="own.fifo")["QueueUrl"]
    again = sqs.send_message(QueueUrl=url, MessageBody="x", **fields)
    got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"])["Messages"]

    assert again["MessageId"] == sent["MessageId"]
    assert [(message["MessageId"], message["Attributes"]["MessageGroupId"]) for message in got] == [
        (sent["MessageId"], "g")
    ]


async def test_two_servers_on_one_file_hand_out_each_message_once(embedded, broker, clock):
    clients = [embedded(clock).client() for _ in range(2)]
    await broker.send(QUEUES.requests, [Outgoing(str(number).encode(), {}) for number in range(100)])
    got = [[], []]

    def drain(index):
        url = clients[index].get_queue_url(QueueName=QUEUES.requests)["QueueUrl"]
        while messages := clients[index].receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            got[index] += [message["Body"] for message in messages]

    threads = [threading.Thread(target=drain, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)

    assert sorted(got[0] + got[1], key=int) == [str(number) for number in range(100)]


async def test_deleted_queue_is_told_to_a_process_that_still_sends_to_it(embedded, broker, clock):
    sqs = embedded(clock).client()
    await broker.send(QUEUES.dead, [Outgoing(b"x", {})])
    url = (await in_thread(sqs.get_queue_url, QueueName=QUEUES.dead))["QueueUrl"]

    await in_thread(sqs.delete_queue, QueueUrl=url)

    with pytest.raises(BrokerError, match="deleted"):
        await broker.send(QUEUES.dead, [Outgoing(b"x", {})])
    await in_thread(sqs.create_queue, QueueName="other")
    with pytest.raises(BrokerError, match="deleted"):
        await broker.send(QUEUES.dead, [Outgoing(b"x", {})])


async def test_what_is_kept_for_gone_messages_is_swept(embedded, broker, clock, path):
    one = embedded(clock)
    url = one.client().get_queue_url(QueueName=QUEUES.requests)["QueueUrl"]
    one.client().send_message(QueueUrl=url, MessageBody="x", MessageGroupId="g")
    got = await broker.receive(QUEUES.requests, 1, wait_s=0, lease_s=30)
    await broker.ack(QUEUES.requests, [got[0].receipt])
    one.run(one.server.close())

    embedded(clock)

    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM sqs_message").fetchone() == (0,)
    connection.close()


@pytest.fixture
def process(path):
    """The server as a process of its own on the same file."""
    started = subprocess.Popen(
        [sys.executable, "-m", "mulligan.servers.sqs", "--port", "0", "--db", f"sqlite:///{path}"],
        stderr=subprocess.PIPE,
        text=True,
    )
    yield started
    started.kill()
    started.wait()
    started.stderr.close()


async def test_confirmed_messages_are_there_after_the_server_was_killed(process, broker):
    sqs = boto3.client(
        "sqs",
        endpoint_url=process.stderr.readline().split()[2],
        region_name="eu-west-1",
        aws_access_key_id="mulligan",
        aws_secret_access_key="mulligan",
    )
    queue = sqs.get_queue_url(QueueName=QUEUES.requests)["QueueUrl"]
    entries = [{"Id": str(number), "MessageBody": str(number)} for number in range(10)]

    for _ in range(5):
        assert not sqs.send_message_batch(QueueUrl=queue, Entries=entries).get("Failed")
    process.kill()
    process.wait()

    got = await broker.receive(QUEUES.requests, 100, wait_s=0, lease_s=30)
    assert sorted(int(delivery.body) for delivery in got) == sorted(list(range(10)) * 5)


async def test_redrive_and_move_work_on_the_embedded_queue(embedded, broker, clock):
    sqs = embedded(clock).client()
    dead = sqs.get_queue_url(QueueName=QUEUES.dead)["QueueUrl"]
    url = sqs.get_queue_url(QueueName=QUEUES.requests)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": redrive})
    await broker.send(QUEUES.requests, [Outgoing(b"x", {"a": "b"})])
    await in_thread(sqs.receive_message, QueueUrl=url, VisibilityTimeout=0)
    assert "Messages" not in await in_thread(sqs.receive_message, QueueUrl=url)
    assert (await broker.depth(QUEUES.dead)).ready == 1

    await in_thread(sqs.start_message_move_task, SourceArn=arn)
    got = await broker.receive(QUEUES.requests, 1, wait_s=10, lease_s=30)

    assert (got[0].body, got[0].attributes) == (b"x", {"a": "b"})


async def test_what_is_no_text_is_told_as_far_as_it_is(embedded, broker, clock):
    sqs = embedded(clock).client()
    half = "a\ud800b"
    await broker.send(QUEUES.requests, [Outgoing(b"ok \xff", {"half": half, "typed": Typed("String.x", half)})])
    url = (await in_thread(sqs.get_queue_url, QueueName=QUEUES.requests))["QueueUrl"]

    told = await in_thread(sqs.receive_message, QueueUrl=url, MessageAttributeNames=["All"])

    message = told["Messages"][0]
    assert message["Body"] == "ok \ufffd"
    assert message["MD5OfBody"] == hashlib.md5("ok \ufffd".encode()).hexdigest()
    assert message["MessageAttributes"]["half"]["StringValue"] == "a?b"
    assert message["MessageAttributes"]["typed"] == {"DataType": "String.x", "StringValue": "a?b"}
