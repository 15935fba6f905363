"""A message move task that somebody has started on our queues."""

import re

import pytest

from mulligan.brokers.base import Owners
from mulligan.brokers.sqs.sign import Keys
from mulligan.core.delivery import Outgoing, Queues
from mulligan.core.locator import locator_of
from mulligan.core.message import QueueName
from mulligan.servers.sqs.auth.key import Key
from mulligan.servers.sqs.faults.script import Fail
from mulligan.servers.sqs.server import DEFAULT_KEY

ARN = "arn:aws:sqs:eu-west-1:000000000000:"
NOTE = r"Queue app-dead-q: somebody's message move task moves its messages to app-rejects-q, \d+ of about 100 so far"


@pytest.fixture
async def moving(server, broker_of, broker, queues):
    """The broker, while somebody's task moves a hundred letters from dead to rejects, one a second."""
    for _ in range(10):
        await broker.send(queues.dead, [Outgoing(b"1", {"mulligan": "{}"}) for _ in range(10)])
    task = {
        "SourceArn": ARN + queues.dead,
        "DestinationArn": ARN + queues.rejects,
        "MaxNumberOfMessagesPerSecond": 1,
    }
    await (await broker._open()).call_object("StartMessageMoveTask", task, where=queues.dead)
    return broker


async def owners_of(broker, queues):
    await broker.declare(queues, create=False)
    return await broker.owners(queues)


async def test_owners_note_a_move_task_that_runs(moving, queues):
    """A redrive of the console ran for hours, and nothing said why letters came and went."""
    told = await owners_of(moving, queues)

    (note,) = told.notes
    assert told.problems == ()
    assert re.match(NOTE, note)


async def test_owners_say_nothing_of_a_move_task_that_was_cancelled(moving, queues):
    client = await moving._open()
    listed = await client.call_object("ListMessageMoveTasks", {"SourceArn": ARN + queues.dead}, where="test")
    handle = listed["Results"][0]["TaskHandle"]
    await client.call_object("CancelMessageMoveTask", {"TaskHandle": handle}, where="test")

    assert await owners_of(moving, queues) == Owners()


@pytest.mark.parametrize("error", ["AccessDenied", "UnsupportedOperation", "InternalError"])
async def test_owners_say_nothing_when_move_tasks_can_not_be_asked_for(moving, queues, play, error):
    """For want of a right, or because the server has no such tasks."""
    play("ListMessageMoveTasks", Fail(error))

    assert await owners_of(moving, queues) == Owners()


async def test_owners_ask_for_no_move_tasks_of_a_queue_of_another_account(start, broker_of):
    guest = Key("guest", "guest")
    server = await start(keys=[DEFAULT_KEY, guest])
    name = QueueName("letters")
    queues = Queues("app", QueueName("app-requests-q"), QueueName("app-rejects-q"), name)
    await broker_of(server).declare(queues, create=True)
    locator = locator_of(f"{ARN}letters")
    broker = broker_of(server, Keys("guest", "guest"))

    await owners_of(broker, Queues(queues.prefix, queues.requests, queues.rejects, name, (locator,)))

    assert broker.requests["ListMessageMoveTasks"] == 2


async def test_check_notes_a_move_task_that_runs(moving, mulligan, monkeypatch):
    monkeypatch.setenv("MULLIGAN_COMMON_PREFIX", "app")

    code, told = await mulligan("check")

    assert code == 0
    assert re.search(f"note     queues    {NOTE}", told)
