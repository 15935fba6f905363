import asyncio
import itertools
import json
import time

import pytest

from mulligan.servers.sqs import dispatch
from mulligan.servers.sqs.actions.context import Call, Limits
from mulligan.servers.sqs.dispatch import MemoryBackend
from mulligan.servers.sqs.long_poll import LongPolls
from tests.unit.servers.sqs.world import ACCOUNT, BASE


class RealClock:
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


@pytest.fixture
async def ask():
    """Ask a backend in memory: the answer, or what will give it."""
    numbers = itertools.count(1)
    backend = MemoryBackend(Limits(), lambda: f"id-{next(numbers)}")
    polls = LongPolls(backend, RealClock(), asyncio.get_running_loop())
    await backend.open(polls.wake)

    def run(action, **body):
        call = Call(time.time(), ACCOUNT, "eu-west-1", BASE, "mulligan")
        return polls.run(dispatch.decode(action, json.dumps(body).encode()), call)

    yield run
    polls.close()
    await backend.close()


async def test_receive_gets_the_message_that_comes_in_the_moment_before_it_waits(ask):
    url = ask("CreateQueue", QueueName="q").data["QueueUrl"]

    receiving = ask("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20)
    ask("SendMessage", QueueUrl=url, MessageBody="x")
    answer = await asyncio.wait_for(receiving, 10)

    assert [message["Body"] for message in answer.data["Messages"]] == ["x"]


async def test_receive_that_nobody_waits_for_any_more_takes_no_message(ask):
    url = ask("CreateQueue", QueueName="q").data["QueueUrl"]
    abandoned = ask("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20)

    abandoned.cancel()
    ask("SendMessage", QueueUrl=url, MessageBody="x")
    answer = ask("ReceiveMessage", QueueUrl=url)

    assert [message["Body"] for message in answer.data["Messages"]] == ["x"]
