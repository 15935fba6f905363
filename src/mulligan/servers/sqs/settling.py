"""DeleteMessage and ChangeMessageVisibility, one by one and in batches: what a receipt handle is still good for.

On a standard queue a late handle works as long as nobody else received the message; after that a delete succeeds and
does nothing. On a FIFO queue a handle whose lease has ended is an error.
"""

from collections.abc import Mapping
from typing import Any

from mulligan.servers.sqs import batch, receipt
from mulligan.servers.sqs.error import SqsError, invalid_parameter_for, missing_parameter
from mulligan.servers.sqs.receipt import Receipt
from mulligan.servers.sqs.record import Queue, Record
from mulligan.servers.sqs.scope import Scope
from mulligan.servers.sqs.shape import (
    ChangeEntry,
    ChangeMessageVisibility,
    ChangeMessageVisibilityBatch,
    DeleteEntry,
    DeleteMessage,
    DeleteMessageBatch,
)

__all__ = ["change_visibility", "change_visibility_batch", "delete_message", "delete_message_batch"]


def delete_message(scope: Scope, request: DeleteMessage) -> dict[str, Any]:
    """Remove one message."""
    queue = scope.queue(request.queue_url)
    _delete(scope, queue, request.receipt_handle)
    return {}


def delete_message_batch(scope: Scope, request: DeleteMessageBatch) -> dict[str, Any]:
    """Remove up to ten messages; each succeeds or fails alone."""
    queue = scope.queue(request.queue_url)
    entries = batch.checked(request.entries, "DeleteMessageBatchRequestEntry", scope.limits)

    def act(entry: DeleteEntry) -> dict[str, Any]:
        _delete(scope, queue, entry.receipt_handle)
        return {}

    return batch.answered(entries, scope.call.twist, act)


def change_visibility(scope: Scope, request: ChangeMessageVisibility) -> dict[str, Any]:
    """Let one lease end at another time."""
    queue = scope.queue(request.queue_url)
    _change(scope, queue, request.receipt_handle, request.visibility_timeout)
    return {}


def change_visibility_batch(scope: Scope, request: ChangeMessageVisibilityBatch) -> dict[str, Any]:
    """Let up to ten leases end at other times; each succeeds or fails alone."""
    queue = scope.queue(request.queue_url)
    entries = batch.checked(request.entries, "ChangeMessageVisibilityBatchRequestEntry", scope.limits)

    def act(entry: ChangeEntry) -> dict[str, Any]:
        _change(scope, queue, entry.receipt_handle, entry.visibility_timeout)
        return {}

    return batch.answered(entries, scope.call.twist, act)


def _delete(scope: Scope, queue: Queue, handle: str | None) -> None:
    if not handle:
        raise missing_parameter("ReceiptHandle")
    given = receipt.decode(queue, handle)
    record = _find(scope, queue, given)
    if record is None:
        return
    is_stale = record.receive_count != given.count
    if queue.is_fifo and (is_stale or not record.is_in_flight(scope.now)):
        raise _expired(handle)
    if not is_stale:
        scope.store.remove(queue, (given.id,))
        if queue.is_fifo:
            scope.woken[queue.name] = None  # the group's next message may be received


def _change(scope: Scope, queue: Queue, handle: str | None, timeout_s: int | None) -> None:
    if not handle:
        raise missing_parameter("ReceiptHandle")
    if timeout_s is None:
        raise missing_parameter("VisibilityTimeout")
    limit_s = scope.limits.visibility_max_s
    if not 0 <= timeout_s <= limit_s:
        raise invalid_parameter_for("VisibilityTimeout", timeout_s, f"Must be between 0 and {limit_s}, if provided.")
    given = receipt.decode(queue, handle)
    record = _find(scope, queue, given)
    if queue.is_fifo and record is not None:
        if record.receive_count != given.count or not record.is_in_flight(scope.now):
            raise _expired(handle)
    elif record is None or record.receive_count != given.count:
        raise invalid_parameter_for(
            "ReceiptHandle", handle, "Message does not exist or is not available for visibility timeout change."
        )
    if int(scope.now - given.received_at) + timeout_s > limit_s:
        raise invalid_parameter_for(
            "VisibilityTimeout",
            timeout_s,
            f"Total VisibilityTimeout for the message is beyond the limit [{limit_s} seconds]",
        )
    scope.store.set_due(queue, (given.id,), scope.now + timeout_s, is_leased=timeout_s > 0)
    scope.woken[queue.name] = None


def _find(scope: Scope, queue: Queue, given: Receipt) -> Record | None:
    found: Mapping[int, Record] = scope.store.find(queue, (given.id,))
    return found.get(given.id)


def _expired(handle: str) -> SqsError:
    return invalid_parameter_for("ReceiptHandle", handle, "The receipt handle has expired.")
