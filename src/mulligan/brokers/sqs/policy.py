"""IAM policies: what each role may do, and no more. Pure; `mulligan iam-policy` prints them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, assert_never, get_args

from mulligan.core.delivery import Queues
from mulligan.core.message import QueueName

__all__ = ["ACTIONS", "Role", "iam_policy", "roles"]

Role = Literal["producer", "worker", "desk", "setup"]

_FIND = ("sqs:GetQueueUrl", "sqs:GetQueueAttributes")
_LOOK = (*_FIND, "sqs:ListQueueTags", "sqs:ListMessageMoveTasks")
_CONSUME = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility")
ACTIONS = (*_FIND, *_CONSUME, "sqs:SendMessage")
"""What all roles except setup do with a queue: the owner of a queue of another account has to allow it."""
_SETUP = (*_LOOK, "sqs:CreateQueue", "sqs:SetQueueAttributes", "sqs:TagQueue")


def roles() -> tuple[str, ...]:
    """The names of the roles."""
    return get_args(Role)


def iam_policy(
    role: Role,
    queues: Queues,
    *,
    region: str,
    account: str = "*",
    partition: str = "aws",
    accounts: Mapping[QueueName, str] | None = None,
) -> str:
    """The policy document as JSON.

    producer: sends to requests. worker: receives requests and rejects, sends to rejects and dead; queues exist.
    desk: looks at dead letters, releases, replays (to rejects) and removes them, and sees how full the queues are.
    setup: creates the queues. Batch calls need the rights of their single calls. A queue with a KMS key of its own
    needs kms:Decrypt and kms:GenerateDataKey on that key besides.

    account: of the queues that are not in `accounts`; those in it are not created or changed from here.
    """
    others = accounts or {}

    def arns(names: Sequence[QueueName]) -> list[str]:
        return [f"arn:{partition}:sqs:{region}:{others.get(name, account)}:{name}" for name in names]

    def allow(sid: str, actions: Sequence[str], names: Sequence[QueueName]) -> dict[str, Any]:
        return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": arns(names)}

    match role:
        case "producer":
            statements = [allow("Send", (*_FIND, "sqs:SendMessage"), [queues.requests])]
        case "worker":
            statements = [
                allow("Find", _LOOK, queues.all),
                allow("Consume", _CONSUME, [queues.requests, queues.rejects]),
                allow("Copy", ("sqs:SendMessage",), [queues.rejects, queues.dead]),
            ]
        case "desk":
            statements = [
                allow("Find", _FIND, queues.all),
                allow("ReadDeadLetters", _CONSUME, [queues.dead]),
                allow("Replay", ("sqs:SendMessage",), [queues.rejects]),
            ]
        case "setup":
            own = [name for name in queues.all if name not in others]
            statements = [allow("SetUp", _SETUP, own)] if own else []
            if others:
                statements.append(allow("Find", _FIND, [name for name in queues.all if name in others]))
        case _:
            assert_never(role)
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2)
