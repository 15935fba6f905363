import json

import pytest

from mulligan.brokers.sqs.policy import iam_policy, roles
from mulligan.core.delivery import Queues
from mulligan.core.message import QueueName

QUEUES = Queues("app", QueueName("app-requests-q"), QueueName("app-rejects-q"), QueueName("app-dead-q"))


def allowed(role):
    """{(action, queue)} that the policy of a role allows."""
    document = json.loads(iam_policy(role, QUEUES, region="eu-west-1", account="000000000000"))
    pairs = set()
    for statement in document["Statement"]:
        assert statement["Effect"] == "Allow"
        for arn in statement["Resource"]:
            assert arn.startswith("arn:aws:sqs:eu-west-1:000000000000:app-")
            pairs |= {(action, arn.rpartition(":")[2]) for action in statement["Action"]}
    return pairs


@pytest.mark.parametrize("role", ["producer", "worker", "desk"])
def test_policy_names_the_account_of_a_queue_that_is_another_ones(role):
    document = json.loads(
        iam_policy(role, QUEUES, region="eu-west-1", account="*", accounts={QUEUES.requests: "123456789012"})
    )

    arns = {arn for statement in document["Statement"] for arn in statement["Resource"]}
    assert {arn.split(":")[4] for arn in arns if arn.endswith(QUEUES.requests)} <= {"123456789012"}
    assert {arn.split(":")[4] for arn in arns if not arn.endswith(QUEUES.requests)} <= {"*"}


def test_setup_may_find_a_queue_of_another_account_and_no_more():
    document = json.loads(
        iam_policy("setup", QUEUES, region="eu-west-1", account="*", accounts={QUEUES.requests: "123456789012"})
    )

    own, find = document["Statement"]
    assert own["Resource"] == ["arn:aws:sqs:eu-west-1:*:app-rejects-q", "arn:aws:sqs:eu-west-1:*:app-dead-q"]
    assert find["Resource"] == ["arn:aws:sqs:eu-west-1:123456789012:app-requests-q"]
    assert find["Action"] == ["sqs:GetQueueUrl", "sqs:GetQueueAttributes"]


def test_producer_may_only_find_and_send_to_requests():
    assert allowed("producer") == {
        ("sqs:GetQueueUrl", "app-requests-q"),
        ("sqs:GetQueueAttributes", "app-requests-q"),
        ("sqs:SendMessage", "app-requests-q"),
    }


def test_worker_may_neither_send_requests_nor_read_dead_letters_nor_change_queues():
    pairs = allowed("worker")

    assert ("sqs:SendMessage", "app-requests-q") not in pairs
    assert ("sqs:ReceiveMessage", "app-dead-q") not in pairs
    assert ("sqs:DeleteMessage", "app-dead-q") not in pairs
    assert ("sqs:SendMessage", "app-dead-q") in pairs
    assert {action for action, _ in pairs} == {
        "sqs:GetQueueUrl",
        "sqs:GetQueueAttributes",
        "sqs:ListQueueTags",
        "sqs:ListMessageMoveTasks",
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:ChangeMessageVisibility",
        "sqs:SendMessage",
    }


def test_desk_may_replay_to_rejects_and_nowhere_else():
    assert {queue for action, queue in allowed("desk") if action == "sqs:SendMessage"} == {"app-rejects-q"}


def test_setup_may_not_touch_messages():
    assert not {action for action, _ in allowed("setup")} & {
        "sqs:SendMessage",
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:PurgeQueue",
        "sqs:DeleteQueue",
    }


@pytest.mark.parametrize("role", roles())
def test_no_role_may_everything_or_everywhere(role):
    assert not {pair for pair in allowed(role) if "*" in pair[0] or "*" in pair[1]}


def test_policy_names_another_partition():
    assert "arn:aws-cn:sqs:cn-north-1:*:app-dead-q" in iam_policy(
        "desk", QUEUES, region="cn-north-1", partition="aws-cn"
    )
