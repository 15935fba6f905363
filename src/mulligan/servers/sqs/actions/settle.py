"""DeleteMessage and ChangeMessageVisibility, singly and in batches: what a receipt handle still allows.

On a standard queue a handle can change the lease of its message as long as the message exists, even when another client
has received it since; a delete with such a handle succeeds without effect. On a FIFO queue a handle whose lease has
ended is an error.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mulligan.servers.sqs.actions.context import RequestContext, batch_answer, checked_entries
from mulligan.servers.sqs.actions.message_format import Receipt, parse_receipt
from mulligan.servers.sqs.store.protocol import Queue, Record
from mulligan.servers.sqs.wire.error import SqsError, invalid_parameter_for, missing_parameter
from mulligan.servers.sqs.wire.schema import (
    ChangeEntry,
    ChangeMessageVisibility,
    ChangeMessageVisibilityBatch,
    DeleteEntry,
    DeleteMessage,
    DeleteMessageBatch,
)

__all__ = ["change_visibility", "change_visibility_batch", "delete_message", "delete_message_batch"]


def delete_message(context: RequestContext, request: DeleteMessage) -> dict[str, Any]:
    """Delete one message."""
    queue = context.queue(request.queue_url)
    held = _Held(context, queue, [request.receipt_handle])
    _remove(context, queue, [_deletable(held, request.receipt_handle)])
    return {}


def delete_message_batch(context: RequestContext, request: DeleteMessageBatch) -> dict[str, Any]:
    """Delete up to ten messages; each succeeds or fails independently."""
    queue = context.queue(request.queue_url)
    entries = checked_entries(request.entries, "DeleteMessageBatchRequestEntry", context.limits)
    held = _Held(context, queue, [entry.receipt_handle for entry in entries])
    done: list[int | None] = []

    def act(entry: DeleteEntry) -> dict[str, Any]:
        done.append(_deletable(held, entry.receipt_handle))
        return {}

    answer = batch_answer(entries, context.call.effect, act)
    _remove(context, queue, done)
    return answer


def change_visibility(context: RequestContext, request: ChangeMessageVisibility) -> dict[str, Any]:
    """Change the end of one lease."""
    queue = context.queue(request.queue_url)
    held = _Held(context, queue, [request.receipt_handle])
    timeout_s = _checked_timeout(context, request.visibility_timeout)
    _set_due(context, queue, {timeout_s: [_changeable(held, request.receipt_handle, timeout_s)]})
    return {}


def change_visibility_batch(context: RequestContext, request: ChangeMessageVisibilityBatch) -> dict[str, Any]:
    """Change the ends of up to ten leases; each succeeds or fails independently."""
    queue = context.queue(request.queue_url)
    entries = checked_entries(request.entries, "ChangeMessageVisibilityBatchRequestEntry", context.limits)
    held = _Held(context, queue, [entry.receipt_handle for entry in entries])
    done: dict[int, list[int]] = {}

    def act(entry: ChangeEntry) -> dict[str, Any]:
        timeout_s = _checked_timeout(context, entry.visibility_timeout)
        done.setdefault(timeout_s, []).append(_changeable(held, entry.receipt_handle, timeout_s))
        return {}

    answer = batch_answer(entries, context.call.effect, act)
    _set_due(context, queue, done)
    return answer


class _Held:
    """The messages of some receipt handles, looked up together."""

    def __init__(self, context: RequestContext, queue: Queue, handles: Iterable[str | None]) -> None:
        self.queue = queue
        self.now = context.now
        self.limit_s = context.limits.visibility_max_s
        self._receipts: dict[str, Receipt | SqsError] = {}
        for handle in handles:
            if handle:
                try:
                    self._receipts[handle] = parse_receipt(queue, handle)
                except SqsError as error:
                    self._receipts[handle] = error
        ids = [given.id for given in self._receipts.values() if isinstance(given, Receipt)]
        self._found = context.store.find(queue, ids) if ids else {}

    def get(self, handle: str | None) -> tuple[Receipt, Record | None]:
        """The receipt, and its message if that still exists. Raises SqsError for an invalid handle."""
        if not handle:
            raise missing_parameter("ReceiptHandle")
        given = self._receipts[handle]
        if isinstance(given, SqsError):
            raise given
        return given, self._found.get(given.id)


def _deletable(held: _Held, handle: str | None) -> int | None:
    """The id of the message to delete; None when the handle is stale or the message gone, which is not an error."""
    given, record = held.get(handle)
    if record is None:
        return None
    is_stale = record.receive_count != given.count
    if held.queue.is_fifo and (is_stale or not record.is_in_flight(held.now)):
        raise _expired(handle)
    return None if is_stale else given.id


def _changeable(held: _Held, handle: str | None, timeout_s: int) -> int:
    """The id of the message whose lease may be changed."""
    given, record = held.get(handle)
    if held.queue.is_fifo and record is not None:
        if record.receive_count != given.count or not record.is_in_flight(held.now):
            raise _expired(handle)
    elif record is None:
        raise invalid_parameter_for(
            "ReceiptHandle", handle, "Message does not exist or is not available for visibility timeout change."
        )
    if int(held.now - given.received_at) + timeout_s > held.limit_s:
        raise invalid_parameter_for(
            "VisibilityTimeout",
            timeout_s,
            f"Total VisibilityTimeout for the message is beyond the limit [{held.limit_s} seconds]",
        )
    return given.id


def _checked_timeout(context: RequestContext, timeout_s: int | None) -> int:
    limit_s = context.limits.visibility_max_s
    if timeout_s is None:
        raise missing_parameter("VisibilityTimeout")
    if not 0 <= timeout_s <= limit_s:
        raise invalid_parameter_for("VisibilityTimeout", timeout_s, f"Must be between 0 and {limit_s}, if provided.")
    return timeout_s


def _remove(context: RequestContext, queue: Queue, ids: Iterable[int | None]) -> None:
    found = [number for number in ids if number is not None]
    if not found:
        return
    context.store.remove(queue, found)
    if queue.is_fifo:
        context.woken[queue.name] = None  # the group's next message can be received


def _set_due(context: RequestContext, queue: Queue, ids_by_timeout: Mapping[int, Sequence[int]]) -> None:
    for timeout_s, ids in ids_by_timeout.items():
        context.store.set_due(queue, ids, context.now + timeout_s, is_leased=timeout_s > 0)
        context.woken[queue.name] = None


def _expired(handle: str | None) -> SqsError:
    return invalid_parameter_for("ReceiptHandle", handle, "The receipt handle has expired.")
