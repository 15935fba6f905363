"""What is said of queues by their tags, redrive and messages."""

import json

import pytest

from mulligan.brokers.base import Owners
from mulligan.brokers.sqs.owner import Sample, has_unknown_messages, owners
from mulligan.core.delivery import Queues
from mulligan.core.message import QueueName

REQUESTS, REJECTS, DEAD = QueueName("orders"), QueueName("orders-dlq"), QueueName("shop-dead-q")
QUEUES = Queues("shop", REQUESTS, REJECTS, DEAD)
ARN = "arn:aws:sqs:eu-west-1:1:"
URL = "https://sqs.eu-west-1.amazonaws.com/1/orders-dlq"
OURS = {"mulligan-prefix": "shop"}


def attributes(*, rejects: int = 0, hidden: int = 0, kind: str = "Delayed", target: str = "shop-dead-q"):
    redrive = json.dumps({"deadLetterTargetArn": ARN + target, "maxReceiveCount": 1000})
    return {
        REQUESTS: {"QueueArn": ARN + REQUESTS, "RedrivePolicy": redrive},
        REJECTS: {
            "QueueArn": ARN + REJECTS,
            "ApproximateNumberOfMessages": str(rejects),
            f"ApproximateNumberOfMessages{kind}": str(hidden),
        },
        DEAD: {"QueueArn": ARN + DEAD},
    }


def told(found, tags, sample=None) -> Owners:
    return owners(QUEUES, found, {REQUESTS: OURS, REJECTS: tags, DEAD: OURS}, sample, {REJECTS: URL})


def test_rejects_queue_is_refused_when_it_is_where_sqs_moves_the_dead_messages_of_requests():
    (problem,) = told(attributes(rejects=1, target="orders-dlq"), OURS).problems

    assert problem == (
        "Queue orders-dlq: REJECTS_QUEUE names it, and it is where SQS moves the dead messages of orders (its "
        "redrive): they would be treated as retries, and removed. REJECTS_QUEUE is the queue of retries: choose a "
        "name that is free, or remove the setting; a queue of dead letters is DEAD_QUEUE. If it is meant as it is, set "
        "ADOPT_REJECTS=true."
    )


def test_rejects_queue_is_refused_when_nothing_on_it_is_ours_and_no_tag_says_it_is():
    (problem,) = told(attributes(rejects=3), {}, Sample(3, 0)).problems

    assert "3 of about 3 messages on it were inspected, and none carries mulligan's state" in problem
    assert "set ADOPT_REJECTS=true" in problem
    assert problem.endswith(f"Or tag it: aws sqs tag-queue --queue-url {URL} --tags mulligan-prefix=shop")


def test_nobody_is_told_to_tag_the_queue_of_an_account_whose_tags_can_not_be_read():
    """Who did so was refused at the next start, with the same advice."""
    tags = {REQUESTS: OURS, REJECTS: {}, DEAD: OURS}

    (problem,) = owners(QUEUES, attributes(rejects=3), tags, Sample(3, 0), {REQUESTS: "URL", DEAD: "URL"}).problems
    (note,) = owners(QUEUES, attributes(hidden=3), tags, Sample(0, 0), {REQUESTS: "URL", DEAD: "URL"}).notes

    assert problem.endswith("set ADOPT_REJECTS=true.")
    assert note.endswith("its owner is unknown.")


def test_rejects_queue_without_a_tag_is_taken_when_a_message_on_it_carries_our_state():
    assert told(attributes(rejects=3), {}, Sample(3, 1)) == Owners()


def test_rejects_queue_with_our_tag_is_taken_whatever_lies_on_it():
    assert told(attributes(rejects=3), OURS) == Owners()


def test_rejects_queue_without_a_tag_is_taken_when_it_is_empty():
    assert told(attributes(), {}) == Owners()


def test_rejects_queue_of_another_prefix_is_refused_in_one_sentence_when_messages_are_on_it():
    said = told(attributes(rejects=3), {"mulligan-prefix": "till"})

    (problem,) = said.problems
    assert said.notes == ()

    assert "its tag mulligan-prefix says that it belongs to 'till', not to 'shop' (COMMON_PREFIX)" in problem
    assert f"own prefix before: aws sqs tag-queue --queue-url {URL} --tags mulligan-prefix=shop" in problem


@pytest.mark.parametrize("kind", ["Delayed", "NotVisible"])
def test_rejects_queue_of_another_prefix_is_refused_when_all_that_is_on_it_is_hidden(kind):
    (problem,) = told(attributes(hidden=3, kind=kind), {"mulligan-prefix": "till"}).problems

    assert "what is on it (about 3) would be treated as retries" in problem


def test_rejects_queue_of_another_prefix_is_told_when_it_is_empty():
    said = told(attributes(), {"mulligan-prefix": "till"})

    assert said.problems == ()
    assert said.notes == (
        "Queue orders-dlq: its tag mulligan-prefix says 'till', and COMMON_PREFIX is 'shop': is it another "
        "application's? Two on one queue take each other's messages.",
    )


def test_requests_queue_of_another_prefix_is_told():
    said = owners(QUEUES, attributes(), {REQUESTS: {"mulligan-prefix": "till"}, REJECTS: OURS, DEAD: OURS}, None, {})

    assert said.problems == ()
    assert "Queue orders: its tag mulligan-prefix says 'till'" in said.notes[0]


@pytest.mark.parametrize(
    ("tags", "sample", "text"),
    [
        (None, None, "its tags can't be read. Allow sqs:ListQueueTags"),
        ({}, Sample(0, 0), "what is on it (about 2) can't be seen now"),
        ({}, Sample(0, 0, "AccessDenied"), "what is on it (about 2) can't be inspected (AccessDenied)"),
    ],
    ids=["no right to the tags", "nothing visible", "no right to look"],
)
def test_rejects_queue_of_which_nothing_can_be_known_is_told_and_taken(tags, sample, text):
    said = told(attributes(hidden=2), tags, sample)

    assert said.problems == ()
    assert len(said.notes) == 1
    assert text in said.notes[0]


@pytest.mark.parametrize(
    ("found", "tags", "is_needed"),
    [
        (attributes(rejects=1), {}, True),
        (attributes(hidden=1), {"team": "till"}, True),
        (attributes(), {}, False),
        (attributes(rejects=1), OURS, False),
        (attributes(rejects=1), {"mulligan-prefix": "till"}, False),
        (attributes(rejects=1), None, False),
        (attributes(rejects=1, target="orders-dlq"), {}, False),
    ],
)
def test_messages_are_looked_at_only_when_nothing_else_tells_whose_they_are(found, tags, is_needed):
    assert has_unknown_messages(QUEUES, found, {REQUESTS: OURS, REJECTS: tags, DEAD: OURS}) is is_needed
