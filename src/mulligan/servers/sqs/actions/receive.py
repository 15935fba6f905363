"""ReceiveMessage: which messages a client gets, which go to the dead-letter queue, and the fields of the answer."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mulligan.servers.sqs.actions import message_format, queue_attributes
from mulligan.servers.sqs.actions.context import RequestContext
from mulligan.servers.sqs.store.protocol import NewMessage, Queue, Record, sequence_number
from mulligan.servers.sqs.wire import schema
from mulligan.servers.sqs.wire.error import SqsError, invalid_attribute_name, invalid_parameter_for
from mulligan.servers.sqs.wire.schema import ReceiveMessage

__all__ = ["receive_message", "wait_s"]

_SYSTEM_NAMES = frozenset(
    {
        "All",
        "ApproximateFirstReceiveTimestamp",
        "ApproximateReceiveCount",
        "AWSTraceHeader",
        "DeadLetterQueueSourceArn",
        "MessageDeduplicationId",
        "MessageGroupId",
        "SenderId",
        "SentTimestamp",
        "SequenceNumber",
    }
)
_REORDER_FROM = 100
_PASSES_MAX = 20
"""How often one receive replaces messages that expired or became dead letters: one step must not take long."""


def receive_message(context: RequestContext, request: ReceiveMessage) -> dict[str, Any]:
    """Up to ten messages, leased; {} when none can be received now."""
    queue = context.queue(request.queue_url)
    count, lease_s, system_names = _checked(context, queue, request)
    attempt = request.receive_request_attempt_id
    if attempt is not None and (again := _repeated(context, queue, attempt, lease_s)):
        return _answer(context, queue, again, request, system_names)
    if context.call.effect.is_empty:
        return {}
    records = _leased(context, queue, _room(context, queue, count), lease_s)
    given = list(zip(records, message_format.receipt_handles(queue, records, context.now), strict=True))
    if attempt is not None and given:
        handles = tuple(handle for _, handle in given)
        context.store.remember_attempt(queue, attempt, handles, context.now, context.now + context.limits.dedup_s)
    return _answer(context, queue, given, request, system_names)


def wait_s(context: RequestContext, request: ReceiveMessage) -> float:
    """How long the request waits for a first message."""
    if context.call.effect.is_empty:
        return 0.0
    if request.wait_time_seconds is not None:
        return request.wait_time_seconds
    return queue_attributes.number(context.queue(request.queue_url), "ReceiveMessageWaitTimeSeconds")


def _checked(context: RequestContext, queue: Queue, request: ReceiveMessage) -> tuple[int, float, frozenset[str]]:
    count = 1 if request.max_number_of_messages is None else request.max_number_of_messages
    if not 1 <= count <= context.limits.batch_max:
        raise invalid_parameter_for(
            "MaxNumberOfMessages", count, f"Must be between 1 and {context.limits.batch_max}, if provided."
        )
    wait = request.wait_time_seconds
    if wait is not None and not 0 <= wait <= context.limits.wait_max_s:
        raise invalid_parameter_for(
            "WaitTimeSeconds", wait, f"Must be >= 0 and <= {context.limits.wait_max_s}, if provided."
        )
    visibility = request.visibility_timeout
    if visibility is None:
        visibility = queue_attributes.number(queue, "VisibilityTimeout")
    elif not 0 <= visibility <= context.limits.visibility_max_s:
        raise invalid_parameter_for(
            "VisibilityTimeout", visibility, f"Must be between 0 and {context.limits.visibility_max_s}, if provided."
        )
    attempt = request.receive_request_attempt_id
    if attempt is not None:
        if not queue.is_fifo:
            raise invalid_parameter_for(
                "ReceiveRequestAttemptId", attempt, "ReceiveRequestAttemptId can be used only with FIFO queues."
            )
        message_format.check_fifo_id("ReceiveRequestAttemptId", attempt)
    names = frozenset(request.attribute_names or ()) | frozenset(request.message_system_attribute_names or ())
    if unknown := names - _SYSTEM_NAMES:
        raise invalid_attribute_name(min(unknown))
    lease_s = context.call.effect.lease_s
    return count, float(visibility) if lease_s is None else lease_s, names


def _room(context: RequestContext, queue: Queue, count: int) -> int:
    room = context.limits.in_flight_max - context.store.in_flight(queue, context.now)
    if room <= 0 and not queue.is_fifo:
        raise SqsError(
            "OverLimit", f"Too many messages in flight: {context.limits.in_flight_max} is the limit of a queue."
        )
    return min(count, max(room, 0))


def _leased(context: RequestContext, queue: Queue, count: int, lease_s: float) -> list[Record]:
    redrive = queue_attributes.redrive(queue.attributes.get("RedrivePolicy", ""))
    # a file of an older version may have a queue that is its own dead-letter queue: nothing would ever be received
    target = context.store.queue(redrive.target) if redrive and redrive.target != queue.name else None
    too_old = context.now - queue_attributes.number(queue, "MessageRetentionPeriod")
    leased: list[Record] = []
    for _ in range(_PASSES_MAX):
        wanted = count - len(leased)
        candidates = _candidates(context, queue, wanted)
        old = [item for item in candidates if not queue.is_adopted and item.message.sent_at < too_old]
        fresh = candidates if not old else [item for item in candidates if item.message.sent_at >= too_old]
        dead = [item for item in fresh if redrive and target and item.receive_count >= redrive.max_receives]
        fit = fresh if not dead else [item for item in fresh if redrive and item.receive_count < redrive.max_receives]
        if old:
            context.store.remove(queue, [item.id for item in old])
        if dead and target:
            _dead_letter(context, queue, target, dead)
        if fit:
            leased += context.store.lease(queue, fit, context.now, context.now + lease_s)
        if len(candidates) < wanted or len(fit) == wanted:
            break
    else:
        context.has_more = True
    if leased:
        _duplicate(context, queue, leased)
        context.woken[queue.name] = None
    return leased


def _candidates(context: RequestContext, queue: Queue, count: int) -> list[Record]:
    effect = context.call.effect
    if not effect.is_reordered or queue.is_fifo:
        return context.store.take(queue, count, context.now)
    pool = context.store.take(queue, max(count, _REORDER_FROM), context.now)
    effect.random.shuffle(pool)
    context.store.set_due(queue, [item.id for item in pool[count:]], context.now, is_leased=False)
    return pool[:count]


def _dead_letter(context: RequestContext, queue: Queue, target: Queue, dead: Sequence[Record]) -> None:
    """Move messages that were received too often. Those of a standard queue keep the time at which they were sent."""
    messages = [
        replace(
            item.message,
            sent_at=context.now if queue.is_fifo else item.message.sent_at,
            due_at=context.now,
            source=queue.name,
            receive_count=item.receive_count,
            first_received_at=item.first_received_at,
        )
        for item in dead
    ]
    context.store.add(target, messages)
    context.store.remove(queue, [item.id for item in dead])
    context.woken[target.name] = None


def _duplicate(context: RequestContext, queue: Queue, leased: Sequence[Record]) -> None:
    effect = context.call.effect
    if not effect.duplicate_share or queue.is_fifo:
        return
    duplicates: list[NewMessage] = [
        replace(item.message, due_at=context.now, is_copy=True)
        for item in leased
        if not item.message.is_copy and effect.random.random() < effect.duplicate_share
    ]
    if duplicates:
        context.store.add(queue, duplicates)


def _repeated(context: RequestContext, queue: Queue, attempt: str, lease_s: float) -> list[tuple[Record, str]]:
    """What the same attempt returned, with the lease renewed; [] when any of it was received or deleted since."""
    handles = context.store.recall_attempt(queue, attempt, context.now)
    receipts = [message_format.parse_receipt(queue, handle) for handle in handles]
    found = context.store.find(queue, [item.id for item in receipts])
    for item in receipts:
        record = found.get(item.id)
        if record is None or record.receive_count != item.count or not record.is_in_flight(context.now):
            return []
    context.store.set_due(queue, list(found), context.now + lease_s, is_leased=True)
    return [(found[item.id], handle) for item, handle in zip(receipts, handles, strict=True)]


def _answer(
    context: RequestContext,
    queue: Queue,
    given: Sequence[tuple[Record, str]],
    request: ReceiveMessage,
    system_names: frozenset[str],
) -> dict[str, Any]:
    if not given:
        return {}
    names = request.message_attribute_names
    messages = []
    for record, handle in given:
        message = record.message
        # the embedded queue may hold bytes that are not UTF-8: replaced, and the checksum is of the replacement
        body = message.body.decode("utf-8", "replace")
        fields: dict[str, Any] = {
            "MessageId": message.message_id,
            "ReceiptHandle": handle,
            "MD5OfBody": message_format.md5(message.body if message.body.isascii() else body.encode()),
            "Body": body,
        }
        if system_names:
            fields["Attributes"] = _system_attributes(context, queue, record, system_names)
        if names and message.attributes and (chosen := message_format.select(message.attributes, names)):
            fields["MD5OfMessageAttributes"] = message_format.attributes_md5(chosen)
            fields["MessageAttributes"] = {name: _attribute(item) for name, item in chosen.items()}
        messages.append(fields)
    return {"Messages": messages}


def _attribute(item: Any) -> dict[str, Any]:
    kind, value = message_format.typed(item)
    return {"DataType": kind, "StringValue" if isinstance(value, str) else "BinaryValue": value}


def _system_attributes(context: RequestContext, queue: Queue, record: Record, names: frozenset[str]) -> dict[str, str]:
    message = record.message
    known: dict[str, str | None] = {
        "SenderId": message.sender,
        "SentTimestamp": str(int(message.sent_at * 1000)),
        "ApproximateReceiveCount": str(record.receive_count),
        "ApproximateFirstReceiveTimestamp": str(int((record.first_received_at or context.now) * 1000)),
        "SequenceNumber": sequence_number(record.id) if queue.is_fifo else None,
        "MessageDeduplicationId": message.dedup_id,
        "MessageGroupId": message.group,
        "AWSTraceHeader": message.trace,
        "DeadLetterQueueSourceArn": message.source and schema.arn(message.source, queue.region, context.call.account),
    }
    return {name: text for name, text in known.items() if text and (name in names or "All" in names)}
