"""Queues that are named with their account: where they have to be, and what is said of them."""

import pytest

from mulligan.brokers.sqs.foreign import accounts_of, locator_problems, notes
from mulligan.core.delivery import Queues
from mulligan.core.locator import locator_of
from mulligan.core.message import QueueName

REQUESTS, REJECTS, DEAD = QueueName("orders"), QueueName("app-rejects-q"), QueueName("app-dead-q")
OTHER, OURS = "123456789012", "999999999999"
BY_ARN = Queues("app", REQUESTS, REJECTS, DEAD, (locator_of(f"arn:aws:sqs:eu-west-1:{OTHER}:orders"),))
PLAIN = Queues("app", REQUESTS, REJECTS, DEAD)


def arn_of(account, name):
    return {"QueueArn": f"arn:aws:sqs:eu-west-1:{account}:{name}"}


def test_account_of_an_arn_counts_for_its_queue_and_that_of_the_url_for_the_others():
    assert accounts_of(BY_ARN, None) == {REQUESTS: OTHER}
    assert accounts_of(BY_ARN, OURS) == {REQUESTS: OTHER, REJECTS: OURS, DEAD: OURS}
    assert accounts_of(PLAIN, None) == {}


def test_queue_of_another_region_is_refused_with_a_sentence():
    (told,) = locator_problems(BY_ARN, region="us-east-1", authority="sqs.us-east-1.amazonaws.com")

    assert told == (
        "Queue orders: its URL or ARN is of region 'eu-west-1', and BROKER_URL asks 'us-east-1': all three queues "
        "must be in one region. Name a queue of us-east-1, or set BROKER_URL to sqs://eu-west-1."
    )


def test_queue_of_another_server_is_refused_with_a_sentence():
    queues = Queues("app", REQUESTS, REJECTS, DEAD, (locator_of(f"http://localhost:4566/{OTHER}/orders"),))

    (told,) = locator_problems(queues, region="eu-west-1", authority="sqs.eu-west-1.amazonaws.com")

    assert "its URL is of the server 'localhost:4566', and BROKER_URL asks 'sqs.eu-west-1.amazonaws.com'" in told
    assert locator_problems(queues, region="eu-west-1", authority="localhost:4566") == []


@pytest.mark.parametrize(
    ("url", "authority", "is_taken"),
    [
        ("http://localhost:4566", "127.0.0.1:4566", True),
        ("http://127.0.0.1:4566", "localhost:4566", True),
        ("http://[::1]:4566", "localhost:4566", True),
        ("http://localhost", "127.0.0.1", True),
        ("http://localhost:4567", "127.0.0.1:4566", False),
        ("http://localhost:4566", "127.0.0.1", False),
        ("http://queues:4566", "127.0.0.1:4566", False),
        ("http://localhost:4566", "localhost.shop.example:4566", False),
    ],
)
def test_queue_is_taken_by_another_name_of_this_machine_when_the_port_is_the_endpoints(url, authority, is_taken):
    queues = Queues("app", REQUESTS, REJECTS, DEAD, (locator_of(f"{url}/{OTHER}/orders"),))

    told = locator_problems(queues, region="eu-west-1", authority=authority)

    assert (told == []) is is_taken


def test_note_says_what_the_owner_of_a_foreign_queue_has_to_allow():
    found = {REQUESTS: arn_of(OTHER, "orders"), DEAD: arn_of(OURS, "app-dead-q")}

    (told,) = notes(BY_ARN, found, accounts_of(BY_ARN, None))

    assert told == (
        f"Queue orders: it is account {OTHER}'s, and nothing is changed there. Its owner's queue policy has "
        f"to allow these credentials sqs:GetQueueUrl, sqs:GetQueueAttributes, sqs:ReceiveMessage, sqs:DeleteMessage, "
        f"sqs:ChangeMessageVisibility and sqs:SendMessage. What SQS itself moves away from it (its redrive) stays in "
        f"that account: it can't lead to a queue of another one."
    )


def test_queue_whose_arn_names_our_own_account_needs_no_note():
    found = {REQUESTS: arn_of(OTHER, "orders"), DEAD: arn_of(OTHER, "app-dead-q")}

    assert notes(BY_ARN, found, accounts_of(BY_ARN, None)) == []
