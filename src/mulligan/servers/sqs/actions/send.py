"""SendMessage and SendMessageBatch: check the parameters, and put the messages into a queue."""

import hashlib
from typing import Any

from mulligan.servers.sqs.actions import message_format, queue_attributes
from mulligan.servers.sqs.actions.context import RequestContext, batch_answer, checked_entries
from mulligan.servers.sqs.store.protocol import DedupEntry, NewMessage, Queue, sequence_number
from mulligan.servers.sqs.wire.error import SqsError, invalid_parameter, invalid_parameter_for, missing_parameter
from mulligan.servers.sqs.wire.schema import SendEntry, SendMessage, SendMessageBatch

__all__ = ["send_message", "send_message_batch"]

_NO_DEDUP_ID = (
    "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
)
# the service has these two texts for the same thing
_NO_DELAY = "The request include parameter that is not valid for this queue type."
_NO_DEDUP = "The request includes a parameter that is not valid for this queue type."


def send_message(context: RequestContext, request: SendMessage) -> dict[str, Any]:
    """Send one message."""
    queue = context.queue(request.queue_url)
    return _send(context, queue, request)


def send_message_batch(context: RequestContext, request: SendMessageBatch) -> dict[str, Any]:
    """Send up to ten messages; each succeeds or fails independently."""
    queue = context.queue(request.queue_url)
    entries = checked_entries(request.entries, "SendMessageBatchRequestEntry", context.limits)
    total = sum(_rough_bytes(entry) for entry in entries)
    if total > context.limits.batch_bytes:
        raise SqsError(
            "BatchRequestTooLong",
            f"Batch requests cannot be longer than {context.limits.batch_bytes} bytes. You have sent {total} bytes.",
        )
    if queue.is_fifo:
        # the service refuses the whole batch for these two, and words the first differently than for one message
        for entry in entries:
            if not entry.message_group_id:
                raise invalid_parameter(missing_parameter("MessageGroupId").message)
            if not entry.message_deduplication_id and not queue_attributes.flag(queue, "ContentBasedDeduplication"):
                raise invalid_parameter(_NO_DEDUP_ID)
    return batch_answer(entries, context.call.effect, lambda entry: _send(context, queue, entry))


def _rough_bytes(entry: SendEntry) -> int:
    size = len((entry.message_body or "").encode("utf-8", "surrogatepass"))
    for name, item in (entry.message_attributes or {}).items():
        texts = (name, item.data_type or "", item.string_value or "")
        size += sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) + len(item.binary_value or b"")
    return size


def _send(context: RequestContext, queue: Queue, entry: SendEntry) -> dict[str, Any]:
    message = _new_message(context, queue, entry)
    answer: dict[str, Any] = {"MD5OfMessageBody": message_format.md5(message.body)}
    if message.attributes:
        answer["MD5OfMessageAttributes"] = message_format.attributes_md5(message.attributes)
    if message.trace is not None and entry.message_system_attributes:  # not for one from the request's header
        answer["MD5OfMessageSystemAttributes"] = message_format.attributes_md5({"AWSTraceHeader": message.trace})
    if not queue.is_fifo:
        record = context.store.add(queue, (message,))[0]
        context.woken[queue.name] = None
        return answer | {"MessageId": record.message.message_id}
    sent = _send_once(context, queue, message)
    return answer | {"MessageId": sent.message_id, "SequenceNumber": sent.sequence}


def _send_once(context: RequestContext, queue: Queue, message: NewMessage) -> DedupEntry:
    in_groups = queue.attributes.get("DeduplicationScope") == "messageGroup"
    key = f"{message.group if in_groups else ''} {message.dedup_id}"
    known = context.store.recall(queue, key, context.now)
    if known is None and in_groups:  # sent while the ids were those of the whole queue
        known = context.store.recall(queue, f" {message.dedup_id}", context.now)
    if known is not None:
        return known
    record = context.store.add(queue, (message,))[0]
    sent = DedupEntry(record.message.message_id, sequence_number(record.id))
    context.store.remember(queue, key, sent, context.now, context.now + context.limits.dedup_s)
    context.woken[queue.name] = None
    return sent


def _new_message(context: RequestContext, queue: Queue, entry: SendEntry) -> NewMessage:
    message_format.check_body(entry.message_body)
    attributes = message_format.checked_attributes(entry.message_attributes)
    trace = message_format.checked_trace(entry.message_system_attributes)
    body = (entry.message_body or "").encode()
    size_max = queue_attributes.number(queue, "MaximumMessageSize")
    if message_format.size_bytes(body, attributes) > size_max:
        raise invalid_parameter(
            f"One or more parameters are invalid. Reason: Message must be shorter than {size_max} bytes."
        )
    group, dedup_id = _fifo_ids(queue, entry, body)
    return NewMessage(
        message_id="",
        body=body,
        attributes=attributes,
        sent_at=context.now,
        due_at=context.now + _delay_s(context, queue, entry),
        sender=context.call.sender,
        group=group,
        dedup_id=dedup_id,
        trace=trace or context.call.trace,
    )


def _delay_s(context: RequestContext, queue: Queue, entry: SendEntry) -> int:
    delay_s = entry.delay_seconds
    if delay_s is None or (queue.is_fifo and delay_s == 0):
        return queue_attributes.number(queue, "DelaySeconds")
    if queue.is_fifo:
        raise invalid_parameter_for("DelaySeconds", delay_s, _NO_DELAY)
    if not 0 <= delay_s <= context.limits.delay_max_s:
        raise invalid_parameter_for(
            "DelaySeconds", delay_s, f"DelaySeconds must be >= 0 and <= {context.limits.delay_max_s}."
        )
    return delay_s


def _fifo_ids(queue: Queue, entry: SendEntry, body: bytes) -> tuple[str | None, str | None]:
    """Group and deduplication id. A standard queue accepts a group (fair queues), but no deduplication id."""
    group, dedup_id = entry.message_group_id, entry.message_deduplication_id
    if group is not None:
        message_format.check_fifo_id("MessageGroupId", group)
    if not queue.is_fifo:
        if dedup_id is not None:
            raise invalid_parameter_for("MessageDeduplicationId", dedup_id, _NO_DEDUP)
        return group, None
    if group is None:
        raise missing_parameter("MessageGroupId")
    if dedup_id is not None:
        message_format.check_fifo_id("MessageDeduplicationId", dedup_id)
        return group, dedup_id
    if not queue_attributes.flag(queue, "ContentBasedDeduplication"):
        raise invalid_parameter(_NO_DEDUP_ID)
    return group, hashlib.sha256(body).hexdigest()
