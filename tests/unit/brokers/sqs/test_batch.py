"""Batch calls against a server that says what a test tells it to."""

import json

import pytest

from mulligan.brokers.sqs import batch
from mulligan.brokers.sqs.batch import Queue
from mulligan.brokers.sqs.codec import SendEntry
from mulligan.core.delivery import EntryFault, Fault
from mulligan.core.message import QueueName

AT = Queue(QueueName("q"), "http://127.0.0.1/000000000000/q", False)
UNNAMED = EntryFault(Fault.RETRY, "the service's answer doesn't contain this entry")


def done(*places):
    body = json.dumps({"Successful": [{"Id": str(place)} for place in places], "Failed": []}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def sent(count):
    return [SendEntry("", "s1", 0, {}) for _ in range(count)]


CALLS = {
    "delete": lambda client: batch.delete(client, AT, [f"handle {place}" for place in range(10)]),
    "change": lambda client: batch.change(client, AT, [(f"handle {place}", 30) for place in range(10)]),
    "send": lambda client: batch.send(client, AT, sent(10)),
}


@pytest.mark.parametrize("call", CALLS)
async def test_entries_that_an_answer_leaves_out_have_failed_and_are_to_be_tried_again(speak, client_of, call):
    speaker = await speak(done(7, 0, 3))

    answers = await CALLS[call](client_of(speaker))

    assert [place for place, answer in enumerate(answers) if answer is None] == [0, 3, 7]
    assert [answer for answer in answers if answer is not None] == [UNNAMED] * 7
