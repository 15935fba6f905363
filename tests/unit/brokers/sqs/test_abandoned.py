"""Answers to receives whose caller was cancelled, against a server that says what a test tells it to."""

import asyncio
import json
from hashlib import md5

from mulligan.brokers.sqs.abandoned import AbandonedReceives
from mulligan.brokers.sqs.batch import Queue
from mulligan.brokers.sqs.http import Response, Unreachable
from mulligan.core.message import QueueName

AT = Queue(QueueName("q"), "http://127.0.0.1/000000000000/q", False)


def http(body):
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


CHANGED = http(b'{"Successful": [{"Id": "0"}], "Failed": []}')
REFUSED = http(
    b'{"Successful": [], "Failed": [{"Id": "0", "Code": "InternalError", "Message": "no", "SenderFault": false}]}'
)


def received(handle):
    """The answer to a receive, with one message."""
    message = {
        "MessageId": "m",
        "ReceiptHandle": handle,
        "MD5OfBody": md5(b"s1", usedforsecurity=False).hexdigest(),
        "Body": "s1",
        "Attributes": {"SentTimestamp": "1700000000000", "ApproximateReceiveCount": "1"},
    }
    return Response(200, {}, json.dumps({"Messages": [message]}).encode())


def answer_of(result):
    answer = asyncio.get_running_loop().create_future()
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)
    return answer


async def taken(abandoned, client, result):
    """Hand the answer over, and wait until it is dealt with."""
    abandoned.take(client, AT, answer_of(result))
    await asyncio.gather(*abandoned.tasks)


async def test_message_of_a_cancelled_receive_is_released_at_once(speak, client_of):
    speaker = await speak(CHANGED)
    events = []
    abandoned = AbandonedReceives(events.append)

    await taken(abandoned, client_of(speaker), received("handle 1"))

    (request,) = speaker.requests
    assert b"ChangeMessageVisibilityBatch" in request
    assert json.loads(request.split(b"\r\n\r\n")[1])["Entries"] == [
        {"Id": "0", "ReceiptHandle": "handle 1", "VisibilityTimeout": 0}
    ]
    assert events == []
    assert abandoned.tasks == set()


async def test_message_of_a_cancelled_receive_that_can_not_be_released_is_reported(speak, client_of):
    speaker = await speak(REFUSED)
    events = []

    await taken(AbandonedReceives(events.append), client_of(speaker), received("handle 1"))

    (event,) = events
    assert event.text.startswith("messages of a receive that was cancelled come back when their lease ends: ")


async def test_cancelled_receive_that_fails_or_is_refused_asks_the_service_for_nothing(speak, client_of):
    speaker = await speak(CHANGED)
    client = client_of(speaker)
    events = []
    abandoned = AbandonedReceives(events.append)

    await taken(abandoned, client, Unreachable("cut"))
    await taken(abandoned, client, Response(500, {}, b"oops"))

    assert speaker.requests == []
    assert events == []
