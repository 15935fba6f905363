"""The actions on queues themselves: create, find, list, delete, purge, attributes, tags, permissions."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mulligan.servers.sqs.actions import queue_attributes
from mulligan.servers.sqs.actions.context import RequestContext
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


def create_queue(context: RequestContext, request: CreateQueue) -> dict[str, Any]:
    """Create a queue, or return the URL of the existing one with the same attributes."""
    given = queue_attributes.normalized_flags(request.attributes or {})
    if not request.queue_name:
        raise missing_parameter("QueueName")
    name = queue_attributes.check_creation(request.queue_name, given)
    is_fifo = name.endswith(".fifo")
    attributes = queue_attributes.changed({}, given, is_fifo=is_fifo, is_new=True)
    tags = _checked_tags(context, {}, request.tags or {})
    present = context.store.queue(name)
    if present is not None:
        if differing := queue_attributes.difference(present, given):
            raise SqsError(
                "QueueNameExists",
                f"A queue already exists with the same name and a different value for attribute {differing}",
            )
        return {"QueueUrl": context.url(name)}
    dropped_at = context.store.dropped_at(name)
    if dropped_at is not None and context.now - dropped_at < context.limits.recreate_s:
        raise SqsError(
            "QueueDeletedRecently",
            "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
        )
    policy = attributes.pop("Policy", "")
    queue = Queue(name, context.call.region, attributes, tags, context.now, context.now, policy)
    _check_redrive(context, queue)
    context.store.save_queue(queue)
    return {"QueueUrl": context.url(name)}


def get_queue_url(context: RequestContext, request: GetQueueUrl) -> dict[str, Any]:
    """The URL of a queue."""
    if not request.queue_name:
        raise missing_parameter("QueueName")
    if request.queue_owner_account_id not in {None, context.call.account}:
        raise queue_missing()
    return {"QueueUrl": context.url(context.named(request.queue_name).name)}


def list_queues(context: RequestContext, request: ListQueues) -> dict[str, Any]:
    """URLs of all queues, or of those whose names begin with a prefix; {} when there is none."""
    prefix = request.queue_name_prefix or ""
    names = [queue.name for queue in context.store.queues() if queue.name.startswith(prefix)]
    return _page(context, names, request.max_results, request.next_token, "QueueUrls")


def list_dead_letter_source_queues(context: RequestContext, request: ListDeadLetterSourceQueues) -> dict[str, Any]:
    """URLs of the queues that have this one as their dead-letter queue."""
    target = context.queue(request.queue_url)
    names = [queue.name for queue in queue_attributes.sources(context.store.queues(), target)]
    # spelled in lower case in the service model
    return {"queueUrls": [], **_page(context, names, request.max_results, request.next_token, "queueUrls")}


def delete_queue(context: RequestContext, request: OnQueue) -> dict[str, Any]:
    """Remove a queue and its messages. Its waiting receives look again and fail, as the queue doesn't exist."""
    queue = context.queue(request.queue_url)
    context.store.drop_queue(queue.name, context.now)
    context.woken[queue.name] = None
    return {}


def purge_queue(context: RequestContext, request: OnQueue) -> dict[str, Any]:
    """Remove all messages, at most once in 60 seconds."""
    queue = context.queue(request.queue_url)
    if context.now - queue.purged_at < context.limits.purge_s:
        raise SqsError(
            "PurgeQueueInProgress", f"Only one PurgeQueue operation on {queue.name} is allowed every 60 seconds."
        )
    context.store.purge(queue)
    context.store.save_queue(replace(queue, purged_at=context.now))
    return {}


def get_queue_attributes(context: RequestContext, request: GetQueueAttributes) -> dict[str, Any]:
    """The requested attributes; {} when none was requested."""
    queue = context.queue(request.queue_url)
    if not queue.is_adopted:
        context.store.expire(queue, context.now - queue_attributes.number(queue, "MessageRetentionPeriod"))
    counts = context.store.counts(queue, context.now)
    found = queue_attributes.selected(queue, request.attribute_names or (), counts, context.call.account)
    return {"Attributes": found} if found else {}


def set_queue_attributes(context: RequestContext, request: SetQueueAttributes) -> dict[str, Any]:
    """Set some attributes, all or none."""
    queue = context.queue(request.queue_url)
    if not request.attributes:
        raise missing_parameter("Attribute.Name")
    given = queue_attributes.normalized_flags(request.attributes)
    attributes = queue_attributes.changed(queue.attributes, given, is_fifo=queue.is_fifo, is_new=False)
    policy = attributes.pop("Policy", "") if request.attributes.get("Policy") else queue.policy
    if request.attributes.get("Policy") == "":
        policy = ""
    new = replace(queue, attributes=attributes, policy=policy, modified_at=context.now)
    if "MessageRetentionPeriod" in request.attributes:
        new = replace(new, is_adopted=False)  # the client wants old messages to expire from now on
    if "RedrivePolicy" in request.attributes:
        _check_redrive(context, new)
    context.store.save_queue(new)
    return {}


def _check_redrive(context: RequestContext, queue: Queue) -> None:
    text = queue.attributes.get("RedrivePolicy", "")
    redrive = queue_attributes.redrive(text)
    if redrive is None:
        return
    target = context.by_arn(json.loads(text)["deadLetterTargetArn"])
    if target is None:
        raise invalid_parameter_for("RedrivePolicy", text, "Dead letter target does not exist.")
    if target.name == queue.name:
        raise invalid_parameter_for("RedrivePolicy", text, "A queue can't be its own dead-letter queue.")
    if target.is_fifo != queue.is_fifo:
        raise invalid_parameter_for(
            "RedrivePolicy", text, "Dead-letter queue must be same type of queue as the source."
        )
    if not queue_attributes.allows_source(target, context.arn(queue)):
        raise invalid_parameter_for(
            "RedrivePolicy", text, f"The redrive allow policy of {target.name} does not allow this source queue."
        )


def tag_queue(context: RequestContext, request: TagQueue) -> dict[str, Any]:
    """Add or replace tags."""
    queue = context.queue(request.queue_url)
    if not request.tags:
        raise missing_parameter("Tags")
    context.store.save_queue(replace(queue, tags=_checked_tags(context, dict(queue.tags), request.tags)))
    return {}


def untag_queue(context: RequestContext, request: UntagQueue) -> dict[str, Any]:
    """Remove tags; unknown keys are ignored."""
    queue = context.queue(request.queue_url)
    if not request.tag_keys:
        raise missing_parameter("TagKeys")
    kept = {key: text for key, text in queue.tags.items() if key not in request.tag_keys}
    context.store.save_queue(replace(queue, tags=kept))
    return {}


def list_queue_tags(context: RequestContext, request: OnQueue) -> dict[str, Any]:
    """All tags; {} when there is none."""
    tags = context.queue(request.queue_url).tags
    return {"Tags": dict(tags)} if tags else {}


def _checked_tags(context: RequestContext, old: dict[str, str], given: dict[str, str]) -> dict[str, str]:
    for key, text in given.items():
        if not 1 <= len(key) <= 128 or len(text) > 256 or key.lower().startswith("aws:"):
            raise invalid_parameter(
                f"Tag {key!r}: keys have 1 to 128 characters and don't begin with 'aws:', values have at most 256."
            )
    tags = old | given
    if len(tags) > context.limits.tags_max:
        raise invalid_parameter(f"Too many tags added for queue: {len(tags)}, the limit is {context.limits.tags_max}.")
    return tags


def add_permission(context: RequestContext, request: AddPermission) -> dict[str, Any]:
    """Add a statement to the queue's policy."""
    queue = context.queue(request.queue_url)
    if not request.label or not request.account_ids or not request.actions:
        missing = "Label" if not request.label else "AWSAccountIds" if not request.account_ids else "Actions"
        raise missing_parameter(missing)
    for action in request.actions:
        if action not in _PERMITTED:
            raise invalid_parameter_for(
                "ActionName", f"SQS:{action}", "Please refer to the appropriate WSDL for a list of valid actions. "
            )
    policy = json.loads(queue.policy) if queue.policy else None
    policy = policy or {"Version": "2008-10-17", "Id": f"{context.arn(queue)}/SQSDefaultPolicy", "Statement": []}
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
            "Resource": context.arn(queue),
        }
    )
    context.store.save_queue(replace(queue, policy=json.dumps(policy)))
    return {}


def remove_permission(context: RequestContext, request: RemovePermission) -> dict[str, Any]:
    """Remove a statement from the queue's policy, and the policy with its last statement."""
    queue = context.queue(request.queue_url)
    if not request.label:
        raise missing_parameter("Label")
    policy = json.loads(queue.policy) if queue.policy else {"Statement": []}
    kept = [statement for statement in policy["Statement"] if statement.get("Sid") != request.label]
    if len(kept) == len(policy["Statement"]):
        raise invalid_parameter_for("Label", request.label, "can't find label.")
    policy["Statement"] = kept
    context.store.save_queue(replace(queue, policy=json.dumps(policy) if kept else ""))
    return {}


def _one_or_many(items: Sequence[str]) -> str | Sequence[str]:
    return items[0] if len(items) == 1 else items


def _page(
    context: RequestContext, names: Sequence[str], size: int | None, token: str | None, key: str
) -> dict[str, Any]:
    """One page of names as URLs. The token for the next page is the last name of this one."""
    if size is not None and not 1 <= size <= _PAGE_MAX:
        raise invalid_parameter_for("MaxResults", size, f"MaxResults must be an integer between 1 and {_PAGE_MAX}.")
    if token is not None and size is None:
        raise invalid_parameter("MaxResults must be set when NextToken is used.")
    rest = [name for name in names if token is None or name > token]
    page = rest[: size or _PAGE_MAX]
    if not page:
        return {}
    answer: dict[str, Any] = {key: [context.url(name) for name in page]}
    if size is not None and len(rest) > len(page):
        answer["NextToken"] = page[-1]
    return answer
