import base64
import json
from dataclasses import replace

import pytest

from mulligan.servers.sqs.wire.error import SqsError


@pytest.fixture
def dead(world):
    """A dead-letter queue with three letters of the queue `q`."""
    url = world.queue("dead")
    source = world.queue("q", RedrivePolicy=world.redrive("dead", 1), VisibilityTimeout="1")
    for body in "abc":
        world.send(source, body)
    world.receive(source)
    world.pass_time(1)
    assert world.bodies(source) == []
    return url


def refused(world, shape, action, **body):
    with pytest.raises(SqsError) as error:
        world.do(action, **body)
    assert error.value.shape == shape
    return error.value.message


def start(world, **fields):
    return world.do("StartMessageMoveTask", SourceArn=world.arn("dead"), **fields)["TaskHandle"]


def tasks(world, count=10):
    return world.do("ListMessageMoveTasks", SourceArn=world.arn("dead"), MaxResults=count).get("Results", [])


def test_move_task_brings_dead_letters_back_to_where_they_came_from(world, dead):
    before = [message["MessageId"] for message in world.receive(dead, VisibilityTimeout=0)]

    start(world)
    world.pass_time(1)
    is_running, woken = world.move()

    messages = world.receive(f"{dead.removesuffix('dead')}q", AttributeNames=["All"])
    assert (is_running, woken) == (False, ("eu-west-1/q",))
    assert sorted(message["Body"] for message in messages) == ["a", "b", "c"]
    assert not {message["MessageId"] for message in messages} & set(before)  # a moved message is a new one
    assert {message["Attributes"]["ApproximateReceiveCount"] for message in messages} == {"1"}
    assert world.bodies(dead) == []
    assert tasks(world) == [
        {
            "Status": "COMPLETED",
            "SourceArn": world.arn("dead"),
            "ApproximateNumberOfMessagesMoved": 3,
            "ApproximateNumberOfMessagesToMove": 3,
            "StartedTimestamp": 1_800_000_001_000,
        }
    ]


def test_move_task_keeps_its_rate_and_can_be_cancelled(world, dead):
    other = world.queue("other")
    handle = start(world, DestinationArn=world.arn("other"), MaxNumberOfMessagesPerSecond=1)

    world.pass_time(1.5)
    assert world.move() == (True, ("eu-west-1/other",))
    running = tasks(world)[0]
    cancelled = world.do("CancelMessageMoveTask", TaskHandle=handle)
    world.pass_time(10)

    assert (running["Status"], running["ApproximateNumberOfMessagesMoved"]) == ("RUNNING", 1)
    assert (running["TaskHandle"], running["MaxNumberOfMessagesPerSecond"]) == (handle, 1)
    assert cancelled == {"ApproximateNumberOfMessagesMoved": 1}
    assert world.move() == (False, ())
    assert tasks(world)[0]["Status"] == "CANCELLED"
    assert len(world.bodies(other)) == 1
    assert len(world.bodies(dead)) == 2
    refused(world, "UnsupportedOperation", "CancelMessageMoveTask", TaskHandle=handle)


def test_only_one_move_task_a_queue(world, dead):
    start(world)

    message = refused(world, "InvalidParameterValueException", "StartMessageMoveTask", SourceArn=world.arn("dead"))

    assert "Only one active task is allowed" in message


def test_move_task_fails_when_its_destination_is_gone_and_loses_nothing(world, dead):
    other = world.queue("other")
    start(world, DestinationArn=world.arn("other"))
    world.do("DeleteQueue", QueueUrl=other)
    world.pass_time(1)

    world.move()

    assert tasks(world)[0]["Status"] == "FAILED"
    assert tasks(world)[0]["FailureReason"] == "AWS.SimpleQueueService.NonExistentQueue"
    assert len(world.bodies(dead)) == 3


def test_move_task_fails_for_a_message_that_came_from_nowhere(world, dead):
    world.do("PurgeQueue", QueueUrl=dead)
    world.send(dead, "stray")
    start(world)
    world.pass_time(1)

    world.move()

    assert tasks(world)[0]["FailureReason"] == "CouldNotDetermineMessageSource"
    assert world.bodies(dead) == ["stray"]


def test_newest_move_task_is_told_first_and_alone_unless_asked(world, dead):
    world.queue("other")
    start(world)
    world.pass_time(1)
    world.move()
    start(world, DestinationArn=world.arn("other"))

    assert [task["Status"] for task in tasks(world)] == ["RUNNING", "COMPLETED"]
    assert len(world.do("ListMessageMoveTasks", SourceArn=world.arn("dead"))["Results"]) == 1


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ({}, "MissingRequiredParameterException"),
        ({"SourceArn": "dead"}, "InvalidParameterValueException"),
        ({"SourceArn": "arn:aws:sqs:eu-west-1:000000000000:no"}, "ResourceNotFoundException"),
        ({"SourceArn": "arn:aws:sqs:eu-west-1:000000000000:q"}, "InvalidParameterValueException"),
        (
            {
                "SourceArn": "arn:aws:sqs:eu-west-1:000000000000:dead",
                "DestinationArn": "arn:aws:sqs:eu-west-1:000000000000:no",
            },
            "ResourceNotFoundException",
        ),
        (
            {"SourceArn": "arn:aws:sqs:eu-west-1:000000000000:dead", "MaxNumberOfMessagesPerSecond": 501},
            "InvalidParameterValueException",
        ),
    ],
)
def test_wrong_move_task_is_refused(world, dead, fields, shape):
    refused(world, shape, "StartMessageMoveTask", **fields)


def test_wrong_handle_of_a_move_task_is_refused(world, dead):
    def handle(**data):
        return base64.b64encode(json.dumps(data).encode()).decode()

    cancel = "CancelMessageMoveTask"
    refused(world, "InvalidParameterValueException", cancel, TaskHandle="nonsense")
    refused(world, "ResourceNotFoundException", cancel, TaskHandle=handle(taskId="t", sourceArn=world.arn("no")))
    message = refused(
        world, "ResourceNotFoundException", cancel, TaskHandle=handle(taskId="t", sourceArn=world.arn("dead"))
    )
    assert message == "Task does not exist."


def test_default_rate_is_the_services_limit(world, dead):
    world.limits = replace(world.limits, move_rate=1)
    start(world)
    world.pass_time(1)

    world.move()

    assert tasks(world)[0]["ApproximateNumberOfMessagesMoved"] == 1
