"""What the queues should be, and what is said of those that are not."""

import json

import pytest

from mulligan.brokers.sqs import setup
from mulligan.core.delivery import Queues
from mulligan.core.message import QueueName

QUEUES = Queues("app", QueueName("app-requests-q"), QueueName("app-rejects-q"), QueueName("app-dead-q"))
FIFO = Queues("app", QueueName("app-r.fifo"), QueueName("app-j.fifo"), QueueName("app-d.fifo"))
DEAD_ARN = "arn:aws:sqs:eu-west-1:000000000000:app-dead-q"


def good(name):
    attributes = {
        "QueueArn": f"arn:aws:sqs:eu-west-1:000000000000:{name}",
        "MessageRetentionPeriod": "1209600",
        "MaximumMessageSize": "1048576",
        "SqsManagedSseEnabled": "true",
    }
    if name != QUEUES.dead:
        attributes["RedrivePolicy"] = json.dumps({"deadLetterTargetArn": DEAD_ARN, "maxReceiveCount": "1000"})
    return attributes


def told(queue, **changes):
    found = {name: good(name) for name in QUEUES.all}
    found[queue] = {name: text for name, text in (found[queue] | changes).items() if text is not None}
    return setup.notes(QUEUES, found)


def test_creation_of_a_reject_queue_has_all_that_is_needed():
    assert setup.creation(QUEUES, QUEUES.rejects, DEAD_ARN) == {
        "QueueName": "app-rejects-q",
        "Attributes": {
            "MessageRetentionPeriod": "1209600",
            "ReceiveMessageWaitTimeSeconds": "20",
            "SqsManagedSseEnabled": "true",
            "RedrivePolicy": f'{{"deadLetterTargetArn": "{DEAD_ARN}", "maxReceiveCount": 1000}}',
        },
        "tags": {"mulligan-prefix": "app", "mulligan-queue": "rejects"},
    }


def test_creation_of_the_dead_queue_has_no_redrive():
    assert "RedrivePolicy" not in setup.creation(QUEUES, QUEUES.dead, None)["Attributes"]


def test_creation_of_a_fifo_queue_limits_throughput_by_group():
    attributes = setup.creation(FIFO, FIFO.requests, DEAD_ARN)["Attributes"]

    assert attributes["FifoQueue"] == "true"
    assert attributes["DeduplicationScope"] == "messageGroup"
    assert attributes["FifoThroughputLimit"] == "perMessageGroupId"


def test_order_makes_the_dead_queue_first_because_the_others_name_it():
    assert setup.order(QUEUES) == ("app-dead-q", "app-rejects-q", "app-requests-q")


def test_nothing_is_said_when_all_is_as_it_is_created():
    found = {name: good(name) for name in QUEUES.all}

    assert setup.problems(QUEUES, found) == setup.notes(QUEUES, found) == []


@pytest.mark.parametrize(
    ("queue", "changes", "words"),
    [
        (QUEUES.rejects, {"MessageRetentionPeriod": "345600"}, "for 4 days"),
        (QUEUES.dead, {"MessageRetentionPeriod": "60"}, "MessageRetentionPeriod to 1209600"),
        (QUEUES.requests, {"RedrivePolicy": None}, "no redrive"),
        (QUEUES.requests, {"RedrivePolicy": "not json"}, "no redrive"),
        (QUEUES.rejects, {"RedrivePolicy": '{"deadLetterTargetArn":"arn:x","maxReceiveCount":1000}'}, "goes to arn:x"),
        (QUEUES.requests, {"SqsManagedSseEnabled": "false"}, "not encrypted"),
        (QUEUES.dead, {"MaximumMessageSize": "262144"}, "accepts messages of 262144 bytes"),
    ],
)
def test_notes_name_the_queue_and_what_differs(queue, changes, words):
    (note,) = told(queue, **changes)

    assert note.startswith(f"Queue {queue}: ")
    assert words in note


def redriven(queues, count):
    """Attributes of queues whose requests queue is redriven after so many receives."""
    found = {name: good(name) for name in queues.all}
    found[queues.requests] |= {
        "QueueArn": f"arn:aws:sqs:eu-west-1:000000000000:{queues.requests}",
        "RedrivePolicy": json.dumps({"deadLetterTargetArn": DEAD_ARN, "maxReceiveCount": count}),
    }
    return found


MENDED = (
    "To correct it: aws sqs set-queue-attributes --queue-url "
    '"$(aws sqs get-queue-url --queue-name app-requests-q --query QueueUrl --output text)" --attributes '
    '\'{"RedrivePolicy":"{\\"deadLetterTargetArn\\":\\"DEAD\\",\\"maxReceiveCount\\":1000}"}\''
).replace("DEAD", DEAD_ARN)


def test_problems_are_redrives_after_one_receive_with_the_command_that_mends_them():
    (problem,) = setup.problems(QUEUES, redriven(QUEUES, 1))

    assert problem.startswith("Queue app-requests-q: its maxReceiveCount is 1: a receive whose answer is lost counts")
    assert problem.endswith(f"Expected 2 or more, best 1000. {MENDED}")
    assert setup.notes(QUEUES, redriven(QUEUES, 1)) == []


@pytest.mark.parametrize("count", [2, 5, 49])
def test_notes_tell_of_a_redrive_after_few_receives_and_of_the_command_that_mends_it(count):
    (note,) = setup.notes(QUEUES, redriven(QUEUES, count))

    assert note.startswith(f"Queue app-requests-q: its maxReceiveCount is {count}, and releases and early wake-ups")
    assert note.endswith(f"puts it on rejects as a copy, counted from 0. {MENDED}")
    assert setup.problems(QUEUES, redriven(QUEUES, count)) == []


@pytest.mark.parametrize(
    "policy", [None, '{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:000000000000:orders-dlq","maxReceiveCount":50}']
)
def test_notes_name_the_command_that_mends_a_redrive_that_goes_elsewhere_or_nowhere(policy):
    """Whoever ran the command for a short redrive had it go to the queue of before, and read of that next."""
    found = redriven(QUEUES, 1000)
    found[QUEUES.requests] |= {"RedrivePolicy": policy}

    (note,) = setup.notes(QUEUES, found)

    assert note.endswith(MENDED)


@pytest.mark.parametrize("count", [50, 1000])
def test_nothing_is_said_of_a_redrive_after_many_receives(count):
    assert setup.notes(QUEUES, redriven(QUEUES, count)) == setup.problems(QUEUES, redriven(QUEUES, count)) == []


def test_notes_say_that_a_group_does_not_wait_where_a_fifo_queue_has_a_redrive_after_few_receives():
    (note,) = (one for one in setup.notes(FIFO, redriven(FIFO, 3)) if "maxReceiveCount is 3" in one)

    assert "On a FIFO queue it no longer keeps its group waiting then." in note


def test_notes_tell_of_a_dead_queue_whose_letters_go_away_when_they_are_looked_at():
    policy = json.dumps({"deadLetterTargetArn": "arn:of:another", "maxReceiveCount": 3})

    (note,) = told(QUEUES.dead, RedrivePolicy=policy)

    assert note.startswith("Queue app-dead-q: it has a redrive of its own, to arn:of:another after 3 receives")


def test_receives_are_told_of_queues_that_have_a_redrive():
    found = redriven(QUEUES, 5)
    del found[QUEUES.rejects]["RedrivePolicy"]

    assert setup.receives(QUEUES, found) == {"app-requests-q": 5}


def test_notes_are_none_when_the_requests_queue_keeps_messages_for_less_time():
    assert told(QUEUES.requests, MessageRetentionPeriod="345600") == []


def test_notes_take_a_key_of_kms_for_encryption():
    assert told(QUEUES.dead, SqsManagedSseEnabled="false", KmsMasterKeyId="alias/mine") == []


def test_nothing_is_said_of_queues_that_are_not_there():
    assert setup.problems(QUEUES, {}) == setup.notes(QUEUES, {}) == []


@pytest.mark.parametrize("name", ["a b", "a" * 81, "ünï", ".fifo", "a.b"])
def test_name_problems_tell_of_names_that_can_not_be(name):
    (problem,) = setup.name_problems(Queues("x", QueueName(name), QueueName("b"), QueueName("c")))[:1]

    assert repr(name) in problem


def test_name_problems_tell_of_kinds_that_are_mixed():
    mixed = Queues("x", QueueName("a.fifo"), QueueName("b"), QueueName("c"))

    assert "End all three names with .fifo" in setup.name_problems(mixed)[0]
    assert setup.name_problems(FIFO) == setup.name_problems(QUEUES) == []


@pytest.mark.parametrize(("attributes", "limit"), [({"MaximumMessageSize": "1024"}, 1024), ({}, 262144)])
def test_size_limit_is_that_of_the_queue(attributes, limit):
    assert setup.size_limit(attributes) == limit
