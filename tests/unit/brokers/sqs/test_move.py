"""What is said of message move tasks that run."""

import pytest

from mulligan.brokers.sqs.move import note, sources
from mulligan.core.delivery import Queues
from mulligan.core.message import QueueName

REQUESTS, REJECTS, DEAD = QueueName("orders"), QueueName("shop-rejects-q"), QueueName("shop-dead-q")
QUEUES = Queues("shop", REQUESTS, REJECTS, DEAD)
ARN = "arn:aws:sqs:eu-west-1:123456789012:"
FOUND = {
    REQUESTS: {
        "QueueArn": ARN + REQUESTS,
        "RedrivePolicy": f'{{"deadLetterTargetArn":"{ARN}orders-dlq","maxReceiveCount":5}}',
    },
    REJECTS: {
        "QueueArn": ARN + REJECTS,
        "RedrivePolicy": f'{{"deadLetterTargetArn":"{ARN + DEAD}","maxReceiveCount":1000}}',
    },
    DEAD: {"QueueArn": ARN + DEAD},
}
RUNNING = {
    "TaskHandle": "AQEB6nR4",
    "Status": "RUNNING",
    "SourceArn": ARN + DEAD,
    "DestinationArn": ARN + REQUESTS,
    "ApproximateNumberOfMessagesMoved": 1200,
    "ApproximateNumberOfMessagesToMove": 85000,
    "StartedTimestamp": 1_700_000_000_123,
}


def said(source, **fields):
    return note(ARN + source, {"Results": [RUNNING | fields]}, FOUND)


def test_task_that_runs_is_told_with_where_to_how_far_since_when_and_how_to_end_it():
    assert said(DEAD) == (
        "Queue shop-dead-q: somebody's message move task moves its messages to orders, 1200 of about 85000 so far, "
        "since 2023-11-14 22:13:20 UTC. What becomes of them is in docs/moves.md. To end it: "
        "aws sqs list-message-move-tasks --source-arn arn:aws:sqs:eu-west-1:123456789012:shop-dead-q shows the handle "
        "for aws sqs cancel-message-move-task."
    )


def test_task_is_told_when_the_service_has_not_begun_and_names_no_destination():
    task = {"Status": "RUNNING", "SourceArn": ARN + DEAD, "ApproximateNumberOfMessagesMoved": 0}

    told = note(ARN + DEAD, {"Results": [task]}, FOUND)

    assert told is not None
    assert "moves its messages back to where they came from, 0 so far. What" in told


@pytest.mark.parametrize("status", ["COMPLETED", "CANCELLED", "FAILED"])
def test_task_that_has_ended_is_not_told(status):
    assert said(DEAD, Status=status) is None


def test_queue_without_a_task_is_not_told_of():
    assert note(ARN + DEAD, {}, FOUND) is None
    assert note(ARN + DEAD, {"Results": []}, FOUND) is None


@pytest.mark.parametrize(("destination", "is_told"), [(ARN + REQUESTS, True), (None, True), (ARN + "archive", False)])
def test_task_of_a_dead_letter_queue_of_old_is_told_when_it_may_move_to_our_queues(destination, is_told):
    told = said("orders-dlq", DestinationArn=destination)

    assert (told is not None) is is_told


def test_tasks_are_asked_for_of_our_queues_and_of_where_sqs_moves_our_dead_messages():
    assert sources(QUEUES, FOUND, {}) == [ARN + REQUESTS, ARN + REJECTS, ARN + DEAD, ARN + "orders-dlq"]


def test_tasks_are_not_asked_for_of_a_queue_of_another_account():
    assert sources(QUEUES, FOUND, {REQUESTS: "123456789012"}) == [ARN + REJECTS, ARN + DEAD]
    assert sources(QUEUES, FOUND, {DEAD: "123456789012"}) == [ARN + REQUESTS, ARN + REJECTS, ARN + "orders-dlq"]


@pytest.mark.parametrize("started", [None, "2023-11-14", 10**30])
def test_time_that_can_not_be_read_is_left_out(started):
    assert "85000 so far. What" in said(DEAD, StartedTimestamp=started)
