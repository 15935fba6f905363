"""The actions on queues themselves: create, find, list, delete, purge, attributes, tags, permissions."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mulligan.servers.sqs.actions import queue_attributes as attribute
from mulligan.servers.sqs.actions.context import Scope
from mulligan.servers.sqs.store.protocol import Queue
from mulligan.servers.sqs.wire.error import (
    SqsError,
    invalid_parameter,
    invalid_parameter_for,
    missing_parameter,
    queue_missing,
)
from mulligan.servers.sqs.wire.schema import (
    AddPermission,
    CreateQueue,
    GetQueueAttributes,
    GetQueueUrl,
    ListDeadLetterSourceQueues,
    ListQueues,
    OnQueue,
    RemovePermission,
    SetQueueAttributes,
    TagQueue,
    UntagQueue,
)

__all__ = [
    "add_permission",
    "create_queue",
    "delete_queue",
    "get_queue_attributes",
    "get_queue_url",
    "list_dead_letter_source_queues",
    "list_queue_tags",
    "list_queues",
    "purge_queue",
    "remove_permission",
    "set_queue_attributes",
    "tag_queue",
    "untag_queue",
]

_PAGE_MAX = 1_000
_STATEMENTS_MAX = 20
_PERMITTED = frozenset(
    {
        "*",
        "ChangeMessageVisibility",
        "DeleteMessage",
        "GetQueueAttributes",
        "GetQueueUrl",
        "ListDeadLetterSourceQueues",
        "PurgeQueue",
        "ReceiveMessage",
        "SendMessage",
    }
)


def create_queue(scope: Scope, request: CreateQueue) -> dict[str, Any]:
    """A new queue, or the URL of the one that is there with the same attributes."""
    given = attribute.settled_flags(request.attributes or {})
    if not request.queue_name:
        raise missing_parameter("QueueName")
    name = attribute.check_creation(request.queue_name, given)
    is_fifo = name.endswith(".fifo")
    attributes = attribute.changed({}, given, is_fifo=is_fifo, is_new=True)
    tags = _checked_tags(scope, {}, request.tags or {})
    present = scope.store.queue(name)
    if present is not None:
        if differing := attribute.difference(present, given):
            raise SqsError(
                "QueueNameExists",
                f"A queue already exists with the same name and a different value for attribute {differing}",
            )
        return {"QueueUrl": scope.url(name)}
    dropped_at = scope.store.dropped_at(name)
    if dropped_at is not None and scope.now - dropped_at < scope.limits.recreate_s:
        raise SqsError(
            "QueueDeletedRecently",
            "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
        )
    policy = attributes.pop("Policy", "")
    queue = Queue(name, scope.call.region, attributes, tags, scope.now, scope.now, policy)
    _check_redrive(scope, queue)
    scope.store.save_queue(queue)
    return {"QueueUrl": scope.url(name)}


def get_queue_url(scope: Scope, request: GetQueueUrl) -> dict[str, Any]:
    """Where a queue is."""
    if not request.queue_name:
        raise missing_parameter("QueueName")
    if request.queue_owner_account_id not in {None, scope.call.account}:
        raise queue_missing()
    return {"QueueUrl": scope.url(scope.named(request.queue_name).name)}


def list_queues(scope: Scope, request: ListQueues) -> dict[str, Any]:
    """URLs of all queues, or of those whose names begin so; {} when there is none."""
    prefix = request.queue_name_prefix or ""
    names = [queue.name for queue in scope.store.queues() if queue.name.startswith(prefix)]
    return _page(scope, names, request.max_results, request.next_token, "QueueUrls")


def list_dead_letter_source_queues(scope: Scope, request: ListDeadLetterSourceQueues) -> dict[str, Any]:
    """URLs of the queues whose messages come here after too many receives."""
    target = scope.queue(request.queue_url)
    names = [queue.name for queue in sources(scope, target)]
    # spelled in lower case in the service model
    return {"queueUrls": [], **_page(scope, names, request.max_results, request.next_token, "queueUrls")}


def sources(scope: Scope, target: Queue) -> list[Queue]:
    """The queues that have `target` as their dead-letter queue."""
    found = []
    for queue in scope.store.queues():
        redrive = attribute.redrive(queue.attributes.get("RedrivePolicy", ""))
        if redrive is not None and redrive.target == target.name:
            found.append(queue)
    return found


def delete_queue(scope: Scope, request: OnQueue) -> dict[str, Any]:
    """Remove a queue and its messages. Its waiting receives look again, and learn that it is gone."""
    queue = scope.queue(request.queue_url)
    scope.store.drop_queue(queue.name, scope.now)
    scope.woken[queue.name] = None
    return {}


def purge_queue(scope: Scope, request: OnQueue) -> dict[str, Any]:
    """Remove all messages, at most once in 60 seconds."""
    queue = scope.queue(request.queue_url)
    if scope.now - queue.purged_at < scope.limits.purge_s:
        raise SqsError(
            "PurgeQueueInProgress", f"Only one PurgeQueue operation on {queue.name} is allowed every 60 seconds."
        )
    scope.store.purge(queue)
    scope.store.save_queue(replace(queue, purged_at=scope.now))
    return {}


def get_queue_attributes(scope: Scope, request: GetQueueAttributes) -> dict[str, Any]:
    """The attributes that were asked for; {} when none was."""
    queue = scope.queue(request.queue_url)
    if not queue.is_adopted:
        scope.store.expire(queue, scope.now - attribute.number(queue, "MessageRetentionPeriod"))
    counts = scope.store.counts(queue, scope.now)
    told = attribute.told(queue, request.attribute_names or (), counts, scope.call.account)
    return {"Attributes": told} if told else {}


def set_queue_attributes(scope: Scope, request: SetQueueAttributes) -> dict[str, Any]:
    """Set some attributes, all or none."""
    queue = scope.queue(request.queue_url)
    if not request.attributes:
        raise missing_parameter("Attribute.Name")
    given = attribute.settled_flags(request.attributes)
    attributes = attribute.changed(queue.attributes, given, is_fifo=queue.is_fifo, is_new=False)
    policy = attributes.pop("Policy", "") if request.attributes.get("Policy") else queue.policy
    if request.attributes.get("Policy") == "":
        policy = ""
    new = replace(queue, attributes=attributes, policy=policy, modified_at=scope.now)
    if "MessageRetentionPeriod" in request.attributes:
        new = replace(new, is_adopted=False)  # from now on somebody wants old messages to go
    if "RedrivePolicy" in request.attributes:
        _check_redrive(scope, new)
    scope.store.save_queue(new)
    return {}


def _check_redrive(scope: Scope, queue: Queue) -> None:
    text = queue.attributes.get("RedrivePolicy", "")
    redrive = attribute.redrive(text)
    if redrive is None:
        return
    target = scope.by_arn(json.loads(text)["deadLetterTargetArn"])
    if target is None:
        raise invalid_parameter_for("RedrivePolicy", text, "Dead letter target does not exist.")
    if target.name == queue.name:
        raise invalid_parameter_for("RedrivePolicy", text, "A queue can't be its own dead-letter queue.")
    if target.is_fifo != queue.is_fifo:
        raise invalid_parameter_for(
            "RedrivePolicy", text, "Dead-letter queue must be same type of queue as the source."
        )
    if not attribute.allows_source(target, scope.arn(queue)):
        raise invalid_parameter_for(
            "RedrivePolicy", text, f"The redrive allow policy of {target.name} does not allow this source queue."
        )


def tag_queue(scope: Scope, request: TagQueue) -> dict[str, Any]:
    """Add labels, or put new ones in their places."""
    queue = scope.queue(request.queue_url)
    if not request.tags:
        raise missing_parameter("Tags")
    scope.store.save_queue(replace(queue, tags=_checked_tags(scope, dict(queue.tags), request.tags)))
    return {}


def untag_queue(scope: Scope, request: UntagQueue) -> dict[str, Any]:
    """Take labels away; those that aren't there are passed over."""
    queue = scope.queue(request.queue_url)
    if not request.tag_keys:
        raise missing_parameter("TagKeys")
    kept = {key: text for key, text in queue.tags.items() if key not in request.tag_keys}
    scope.store.save_queue(replace(queue, tags=kept))
    return {}


def list_queue_tags(scope: Scope, request: OnQueue) -> dict[str, Any]:
    """All labels; {} when there is none."""
    tags = scope.queue(request.queue_url).tags
    return {"Tags": dict(tags)} if tags else {}


def _checked_tags(scope: Scope, old: dict[str, str], given: dict[str, str]) -> dict[str, str]:
    for key, text in given.items():
        if not 1 <= len(key) <= 128 or len(text) > 256 or key.lower().startswith("aws:"):
            raise invalid_parameter(
                f"Tag {key!r}: keys have 1 to 128 characters and don't begin with 'aws:', values have at most 256."
            )
    tags = old | given
    if len(tags) > scope.limits.tags_max:
        raise invalid_parameter(f"Too many tags added for queue: {len(tags)}, the limit is {scope.limits.tags_max}.")
    return tags


def add_permission(scope: Scope, request: AddPermission) -> dict[str, Any]:
    """Add a statement to the queue's policy."""
    queue = scope.queue(request.queue_url)
    if not request.label or not request.account_ids or not request.actions:
        missing = "Label" if not request.label else "AWSAccountIds" if not request.account_ids else "Actions"
        raise missing_parameter(missing)
    for action in request.actions:
        if action not in _PERMITTED:
            raise invalid_parameter_for(
                "ActionName", f"SQS:{action}", "Please refer to the appropriate WSDL for a list of valid actions. "
            )
    policy = json.loads(queue.policy) if queue.policy else None
    policy = policy or {"Version": "2008-10-17", "Id": f"{scope.arn(queue)}/SQSDefaultPolicy", "Statement": []}
    if any(statement.get("Sid") == request.label for statement in policy["Statement"]):
        raise invalid_parameter_for("Label", request.label, "Already exists.")
    if len(policy["Statement"]) >= _STATEMENTS_MAX:
        raise SqsError("OverLimit", f"{_STATEMENTS_MAX} statements are the most a queue's policy can have.")
    policy["Statement"].append(
        {
            "Sid": request.label,
            "Effect": "Allow",
            "Principal": {"AWS": _one_or_many([f"arn:aws:iam::{account}:root" for account in request.account_ids])},
            "Action": _one_or_many([f"SQS:{action}" for action in request.actions]),
            "Resource": scope.arn(queue),
        }
    )
    scope.store.save_queue(replace(queue, policy=json.dumps(policy)))
    return {}


def remove_permission(scope: Scope, request: RemovePermission) -> dict[str, Any]:
    """Take a statement out of the queue's policy, and the policy with its last statement."""
    queue = scope.queue(request.queue_url)
    if not request.label:
        raise missing_parameter("Label")
    policy = json.loads(queue.policy) if queue.policy else {"Statement": []}
    kept = [statement for statement in policy["Statement"] if statement.get("Sid") != request.label]
    if len(kept) == len(policy["Statement"]):
        raise invalid_parameter_for("Label", request.label, "can't find label.")
    policy["Statement"] = kept
    scope.store.save_queue(replace(queue, policy=json.dumps(policy) if kept else ""))
    return {}


def _one_or_many(items: Sequence[str]) -> str | Sequence[str]:
    return items[0] if len(items) == 1 else items


def _page(scope: Scope, names: Sequence[str], size: int | None, token: str | None, key: str) -> dict[str, Any]:
    """One page of names as URLs. The token of the next page is the last name of this one."""
    if size is not None and not 1 <= size <= _PAGE_MAX:
        raise invalid_parameter_for("MaxResults", size, f"MaxResults must be an integer between 1 and {_PAGE_MAX}.")
    if token is not None and size is None:
        raise invalid_parameter("MaxResults must be set when NextToken is used.")
    rest = [name for name in names if token is None or name > token]
    page = rest[: size or _PAGE_MAX]
    if not page:
        return {}
    told: dict[str, Any] = {key: [scope.url(name) for name in page]}
    if size is not None and len(rest) > len(page):
        told["NextToken"] = page[-1]
    return told
