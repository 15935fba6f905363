"""ReceiveMessage: which messages a client gets, which go to the dead-letter queue instead, and how they are told."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mulligan.servers.sqs.actions import message_format as content
from mulligan.servers.sqs.actions import queue_attributes as attribute
from mulligan.servers.sqs.actions import receipt
from mulligan.servers.sqs.actions.context import Scope
from mulligan.servers.sqs.store.protocol import Draft, Queue, Record, sequence_number
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
"""How often one receive looks for messages in the place of those that went elsewhere: one step must not take long."""


def receive_message(scope: Scope, request: ReceiveMessage) -> dict[str, Any]:
    """Up to ten messages, leased; {} when there is none now."""
    queue = scope.queue(request.queue_url)
    count, lease_s, system_names = _checked(scope, queue, request)
    attempt = request.receive_request_attempt_id
    if attempt is not None and (again := _given_before(scope, queue, attempt, lease_s)):
        return _told(scope, queue, again, request, system_names)
    if scope.call.twist.is_empty:
        return {}
    records = _leased(scope, queue, _room(scope, queue, count), lease_s)
    given = list(zip(records, receipt.encode(queue, records, scope.now), strict=True))
    if attempt is not None and given:
        handles = tuple(handle for _, handle in given)
        scope.store.remember_attempt(queue, attempt, handles, scope.now, scope.now + scope.limits.dedup_s)
    return _told(scope, queue, given, request, system_names)


def wait_s(scope: Scope, request: ReceiveMessage) -> float:
    """How long the request waits for a first message."""
    if scope.call.twist.is_empty:
        return 0.0
    if request.wait_time_seconds is not None:
        return request.wait_time_seconds
    return attribute.number(scope.queue(request.queue_url), "ReceiveMessageWaitTimeSeconds")


def _checked(scope: Scope, queue: Queue, request: ReceiveMessage) -> tuple[int, float, frozenset[str]]:
    count = 1 if request.max_number_of_messages is None else request.max_number_of_messages
    if not 1 <= count <= scope.limits.batch_max:
        raise invalid_parameter_for(
            "MaxNumberOfMessages", count, f"Must be between 1 and {scope.limits.batch_max}, if provided."
        )
    wait = request.wait_time_seconds
    if wait is not None and not 0 <= wait <= scope.limits.wait_max_s:
        raise invalid_parameter_for(
            "WaitTimeSeconds", wait, f"Must be >= 0 and <= {scope.limits.wait_max_s}, if provided."
        )
    visibility = request.visibility_timeout
    if visibility is None:
        visibility = attribute.number(queue, "VisibilityTimeout")
    elif not 0 <= visibility <= scope.limits.visibility_max_s:
        raise invalid_parameter_for(
            "VisibilityTimeout", visibility, f"Must be between 0 and {scope.limits.visibility_max_s}, if provided."
        )
    attempt = request.receive_request_attempt_id
    if attempt is not None:
        if not queue.is_fifo:
            raise invalid_parameter_for(
                "ReceiveRequestAttemptId", attempt, "ReceiveRequestAttemptId can be used only with FIFO queues."
            )
        content.check_fifo_id("ReceiveRequestAttemptId", attempt)
    names = frozenset(request.attribute_names or ()) | frozenset(request.message_system_attribute_names or ())
    if unknown := names - _SYSTEM_NAMES:
        raise invalid_attribute_name(min(unknown))
    lease_s = scope.call.twist.lease_s
    return count, float(visibility) if lease_s is None else lease_s, names


def _room(scope: Scope, queue: Queue, count: int) -> int:
    room = scope.limits.in_flight_max - scope.store.in_flight(queue, scope.now)
    if room <= 0 and not queue.is_fifo:
        raise SqsError(
            "OverLimit", f"Too many messages in flight: {scope.limits.in_flight_max} is the limit of a queue."
        )
    return min(count, max(room, 0))


def _leased(scope: Scope, queue: Queue, count: int, lease_s: float) -> list[Record]:
    redrive = attribute.redrive(queue.attributes.get("RedrivePolicy", ""))
    # a file of an older version may hold a queue that is its own dead-letter queue, whose messages would never be given
    target = scope.store.queue(redrive.target) if redrive and redrive.target != queue.name else None
    too_old = scope.now - attribute.number(queue, "MessageRetentionPeriod")
    leased: list[Record] = []
    for _ in range(_PASSES_MAX):
        wanted = count - len(leased)
        candidates = _candidates(scope, queue, wanted)
        old = [item for item in candidates if not queue.is_adopted and item.draft.sent_at < too_old]
        fresh = candidates if not old else [item for item in candidates if item.draft.sent_at >= too_old]
        dead = [item for item in fresh if redrive and target and item.receive_count >= redrive.max_receives]
        fit = fresh if not dead else [item for item in fresh if redrive and item.receive_count < redrive.max_receives]
        if old:
            scope.store.remove(queue, [item.id for item in old])
        if dead and target:
            _bury(scope, queue, target, dead)
        if fit:
            leased += scope.store.lease(queue, fit, scope.now, scope.now + lease_s)
        if len(candidates) < wanted or len(fit) == wanted:
            break
    else:
        scope.has_more = True
    if leased:
        _duplicate(scope, queue, leased)
        scope.woken[queue.name] = None
    return leased


def _candidates(scope: Scope, queue: Queue, count: int) -> list[Record]:
    twist = scope.call.twist
    if not twist.is_reordered or queue.is_fifo:
        return scope.store.take(queue, count, scope.now)
    pool = scope.store.take(queue, max(count, _REORDER_FROM), scope.now)
    twist.random.shuffle(pool)
    scope.store.set_due(queue, [item.id for item in pool[count:]], scope.now, is_leased=False)
    return pool[:count]


def _bury(scope: Scope, queue: Queue, target: Queue, dead: Sequence[Record]) -> None:
    """Move messages that were received too often. A standard queue's keep the time at which they were sent."""
    drafts = [
        replace(
            item.draft,
            sent_at=scope.now if queue.is_fifo else item.draft.sent_at,
            due_at=scope.now,
            source=queue.name,
            receive_count=item.receive_count,
            first_received_at=item.first_received_at,
        )
        for item in dead
    ]
    scope.store.add(target, drafts)
    scope.store.remove(queue, [item.id for item in dead])
    scope.woken[target.name] = None


def _duplicate(scope: Scope, queue: Queue, leased: Sequence[Record]) -> None:
    twist = scope.call.twist
    if not twist.duplicate_share or queue.is_fifo:
        return
    twins: list[Draft] = [
        replace(item.draft, due_at=scope.now, is_copy=True)
        for item in leased
        if not item.draft.is_copy and twist.random.random() < twist.duplicate_share
    ]
    if twins:
        scope.store.add(queue, twins)


def _given_before(scope: Scope, queue: Queue, attempt: str, lease_s: float) -> list[tuple[Record, str]]:
    """What the same attempt was given, with the lease begun anew; [] when any of it has changed hands since."""
    handles = scope.store.recall_attempt(queue, attempt, scope.now)
    receipts = [receipt.decode(queue, handle) for handle in handles]
    found = scope.store.find(queue, [item.id for item in receipts])
    for item in receipts:
        record = found.get(item.id)
        if record is None or record.receive_count != item.count or not record.is_in_flight(scope.now):
            return []
    scope.store.set_due(queue, list(found), scope.now + lease_s, is_leased=True)
    return [(found[item.id], handle) for item, handle in zip(receipts, handles, strict=True)]


def _told(
    scope: Scope,
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
        draft = record.draft
        # the embedded queue may hold bytes that are no text: told as far as they are, with the checksum of what is told
        body = draft.body.decode("utf-8", "replace")
        told: dict[str, Any] = {
            "MessageId": draft.message_id,
            "ReceiptHandle": handle,
            "MD5OfBody": content.md5(draft.body if draft.body.isascii() else body.encode()),
            "Body": body,
        }
        if system_names:
            told["Attributes"] = _system_attributes(scope, queue, record, system_names)
        if names and draft.attributes and (chosen := content.select(draft.attributes, names)):
            told["MD5OfMessageAttributes"] = content.attributes_md5(chosen)
            told["MessageAttributes"] = {name: _wire(item) for name, item in chosen.items()}
        messages.append(told)
    return {"Messages": messages}


def _wire(item: Any) -> dict[str, Any]:
    kind, value = content.wire(item)
    return {"DataType": kind, "StringValue" if isinstance(value, str) else "BinaryValue": value}


def _system_attributes(scope: Scope, queue: Queue, record: Record, names: frozenset[str]) -> dict[str, str]:
    draft = record.draft
    known: dict[str, str | None] = {
        "SenderId": draft.sender,
        "SentTimestamp": str(int(draft.sent_at * 1000)),
        "ApproximateReceiveCount": str(record.receive_count),
        "ApproximateFirstReceiveTimestamp": str(int((record.first_received_at or scope.now) * 1000)),
        "SequenceNumber": sequence_number(record.id) if queue.is_fifo else None,
        "MessageDeduplicationId": draft.dedup_id,
        "MessageGroupId": draft.group,
        "AWSTraceHeader": draft.trace,
        "DeadLetterQueueSourceArn": draft.source and attribute.arn(draft.source, queue.region, scope.call.account),
    }
    return {name: text for name, text in known.items() if text and (name in names or "All" in names)}
