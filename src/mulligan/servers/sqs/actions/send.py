"""SendMessage and SendMessageBatch: from what a client sent to messages in a queue."""

import hashlib
from typing import Any

from mulligan.servers.sqs.actions import batch
from mulligan.servers.sqs.actions import message_format as content
from mulligan.servers.sqs.actions import queue_attributes as attribute
from mulligan.servers.sqs.actions.context import Scope
from mulligan.servers.sqs.store.protocol import Draft, Queue, Seen, sequence_number
from mulligan.servers.sqs.wire.error import SqsError, invalid_parameter, invalid_parameter_for, missing_parameter
from mulligan.servers.sqs.wire.schema import SendEntry, SendMessage, SendMessageBatch

__all__ = ["send_message", "send_message_batch"]

_NO_DEDUP_ID = (
    "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
)
# two texts for the same thing, as the service has them
_NO_DELAY = "The request include parameter that is not valid for this queue type."
_NO_DEDUP = "The request includes a parameter that is not valid for this queue type."


def send_message(scope: Scope, request: SendMessage) -> dict[str, Any]:
    """Put one message in."""
    queue = scope.queue(request.queue_url)
    return _send(scope, queue, request)


def send_message_batch(scope: Scope, request: SendMessageBatch) -> dict[str, Any]:
    """Put up to ten messages in; each succeeds or fails alone."""
    queue = scope.queue(request.queue_url)
    entries = batch.checked(request.entries, "SendMessageBatchRequestEntry", scope.limits)
    total = sum(_rough_bytes(entry) for entry in entries)
    if total > scope.limits.batch_bytes:
        raise SqsError(
            "BatchRequestTooLong",
            f"Batch requests cannot be longer than {scope.limits.batch_bytes} bytes. You have sent {total} bytes.",
        )
    if queue.is_fifo:
        # the service refuses the whole batch for these two, and names the first differently than for one message
        for entry in entries:
            if not entry.message_group_id:
                raise invalid_parameter(missing_parameter("MessageGroupId").message)
            if not entry.message_deduplication_id and not attribute.flag(queue, "ContentBasedDeduplication"):
                raise invalid_parameter(_NO_DEDUP_ID)
    return batch.answered(entries, scope.call.twist, lambda entry: _send(scope, queue, entry))


def _rough_bytes(entry: SendEntry) -> int:
    size = len((entry.message_body or "").encode("utf-8", "surrogatepass"))
    for name, item in (entry.message_attributes or {}).items():
        texts = (name, item.data_type or "", item.string_value or "")
        size += sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) + len(item.binary_value or b"")
    return size


def _send(scope: Scope, queue: Queue, entry: SendEntry) -> dict[str, Any]:
    draft = _draft(scope, queue, entry)
    told: dict[str, Any] = {"MD5OfMessageBody": content.md5(draft.body)}
    if draft.attributes:
        told["MD5OfMessageAttributes"] = content.attributes_md5(draft.attributes)
    if draft.trace is not None and entry.message_system_attributes:  # not for one that came in the request's header
        told["MD5OfMessageSystemAttributes"] = content.attributes_md5({"AWSTraceHeader": draft.trace})
    if not queue.is_fifo:
        record = scope.store.add(queue, (draft,))[0]
        scope.woken[queue.name] = None
        return told | {"MessageId": record.draft.message_id}
    seen = _send_once(scope, queue, draft)
    return told | {"MessageId": seen.message_id, "SequenceNumber": seen.sequence}


def _send_once(scope: Scope, queue: Queue, draft: Draft) -> Seen:
    in_groups = queue.attributes.get("DeduplicationScope") == "messageGroup"
    key = f"{draft.group if in_groups else ''} {draft.dedup_id}"
    known = scope.store.recall(queue, key, scope.now)
    if known is None and in_groups:  # sent when the ids counted for the whole queue
        known = scope.store.recall(queue, f" {draft.dedup_id}", scope.now)
    if known is not None:
        return known
    record = scope.store.add(queue, (draft,))[0]
    seen = Seen(record.draft.message_id, sequence_number(record.id))
    scope.store.remember(queue, key, seen, scope.now, scope.now + scope.limits.dedup_s)
    scope.woken[queue.name] = None
    return seen


def _draft(scope: Scope, queue: Queue, entry: SendEntry) -> Draft:
    content.check_body(entry.message_body)
    attributes = content.checked_attributes(entry.message_attributes)
    trace = content.checked_trace(entry.message_system_attributes)
    body = (entry.message_body or "").encode()
    size_max = attribute.number(queue, "MaximumMessageSize")
    if content.size_bytes(body, attributes) > size_max:
        raise invalid_parameter(
            f"One or more parameters are invalid. Reason: Message must be shorter than {size_max} bytes."
        )
    group, dedup_id = _fifo_ids(queue, entry, body)
    return Draft(
        message_id="",
        body=body,
        attributes=attributes,
        sent_at=scope.now,
        due_at=scope.now + _delay_s(scope, queue, entry),
        sender=scope.call.sender,
        group=group,
        dedup_id=dedup_id,
        trace=trace or scope.call.trace,
    )


def _delay_s(scope: Scope, queue: Queue, entry: SendEntry) -> int:
    delay_s = entry.delay_seconds
    if delay_s is None or (queue.is_fifo and delay_s == 0):
        return attribute.number(queue, "DelaySeconds")
    if queue.is_fifo:
        raise invalid_parameter_for("DelaySeconds", delay_s, _NO_DELAY)
    if not 0 <= delay_s <= scope.limits.delay_max_s:
        raise invalid_parameter_for(
            "DelaySeconds", delay_s, f"DelaySeconds must be >= 0 and <= {scope.limits.delay_max_s}."
        )
    return delay_s


def _fifo_ids(queue: Queue, entry: SendEntry, body: bytes) -> tuple[str | None, str | None]:
    """Group and deduplication id. A standard queue takes a group (fair queues), but no deduplication id."""
    group, dedup_id = entry.message_group_id, entry.message_deduplication_id
    if group is not None:
        content.check_fifo_id("MessageGroupId", group)
    if not queue.is_fifo:
        if dedup_id is not None:
            raise invalid_parameter_for("MessageDeduplicationId", dedup_id, _NO_DEDUP)
        return group, None
    if group is None:
        raise missing_parameter("MessageGroupId")
    if dedup_id is not None:
        content.check_fifo_id("MessageDeduplicationId", dedup_id)
        return group, dedup_id
    if not attribute.flag(queue, "ContentBasedDeduplication"):
        raise invalid_parameter(_NO_DEDUP_ID)
    return group, hashlib.sha256(body).hexdigest()
