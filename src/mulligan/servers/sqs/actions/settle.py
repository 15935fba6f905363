"""DeleteMessage and ChangeMessageVisibility, one by one and in batches: what a receipt handle is still good for.

On a standard queue a handle changes the lease of its message as long as that is there, even when somebody else has
received it since; a delete by such a handle succeeds and does nothing. On a FIFO queue a handle whose lease has ended
is an error.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mulligan.servers.sqs.actions import batch, receipt
from mulligan.servers.sqs.actions.context import Scope
from mulligan.servers.sqs.actions.receipt import Receipt
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


def delete_message(scope: Scope, request: DeleteMessage) -> dict[str, Any]:
    """Remove one message."""
    queue = scope.queue(request.queue_url)
    held = _Held(scope, queue, [request.receipt_handle])
    _remove(scope, queue, [_deletable(held, request.receipt_handle)])
    return {}


def delete_message_batch(scope: Scope, request: DeleteMessageBatch) -> dict[str, Any]:
    """Remove up to ten messages; each succeeds or fails alone."""
    queue = scope.queue(request.queue_url)
    entries = batch.checked(request.entries, "DeleteMessageBatchRequestEntry", scope.limits)
    held = _Held(scope, queue, [entry.receipt_handle for entry in entries])
    done: list[int | None] = []

    def act(entry: DeleteEntry) -> dict[str, Any]:
        done.append(_deletable(held, entry.receipt_handle))
        return {}

    told = batch.answered(entries, scope.call.twist, act)
    _remove(scope, queue, done)
    return told


def change_visibility(scope: Scope, request: ChangeMessageVisibility) -> dict[str, Any]:
    """Let one lease end at another time."""
    queue = scope.queue(request.queue_url)
    held = _Held(scope, queue, [request.receipt_handle])
    timeout_s = _checked_timeout(scope, request.visibility_timeout)
    _set_due(scope, queue, {timeout_s: [_changeable(held, request.receipt_handle, timeout_s)]})
    return {}


def change_visibility_batch(scope: Scope, request: ChangeMessageVisibilityBatch) -> dict[str, Any]:
    """Let up to ten leases end at other times; each succeeds or fails alone."""
    queue = scope.queue(request.queue_url)
    entries = batch.checked(request.entries, "ChangeMessageVisibilityBatchRequestEntry", scope.limits)
    held = _Held(scope, queue, [entry.receipt_handle for entry in entries])
    done: dict[int, list[int]] = {}

    def act(entry: ChangeEntry) -> dict[str, Any]:
        timeout_s = _checked_timeout(scope, entry.visibility_timeout)
        done.setdefault(timeout_s, []).append(_changeable(held, entry.receipt_handle, timeout_s))
        return {}

    told = batch.answered(entries, scope.call.twist, act)
    _set_due(scope, queue, done)
    return told


class _Held:
    """The messages of some receipt handles, looked up together."""

    def __init__(self, scope: Scope, queue: Queue, handles: Iterable[str | None]) -> None:
        self.queue = queue
        self.now = scope.now
        self.limit_s = scope.limits.visibility_max_s
        self._receipts: dict[str, Receipt | SqsError] = {}
        for handle in handles:
            if handle:
                try:
                    self._receipts[handle] = receipt.decode(queue, handle)
                except SqsError as error:
                    self._receipts[handle] = error
        ids = [given.id for given in self._receipts.values() if isinstance(given, Receipt)]
        self._found = scope.store.find(queue, ids) if ids else {}

    def get(self, handle: str | None) -> tuple[Receipt, Record | None]:
        """The receipt, and its message if that is still there. Raises what is wrong with the handle."""
        if not handle:
            raise missing_parameter("ReceiptHandle")
        given = self._receipts[handle]
        if isinstance(given, SqsError):
            raise given
        return given, self._found.get(given.id)


def _deletable(held: _Held, handle: str | None) -> int | None:
    """The message to remove; None when the handle is too old to remove it, which is no error on a standard queue."""
    given, record = held.get(handle)
    if record is None:
        return None
    is_stale = record.receive_count != given.count
    if held.queue.is_fifo and (is_stale or not record.is_in_flight(held.now)):
        raise _expired(handle)
    return None if is_stale else given.id


def _changeable(held: _Held, handle: str | None, timeout_s: int) -> int:
    """The message whose lease may be changed so."""
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


def _checked_timeout(scope: Scope, timeout_s: int | None) -> int:
    limit_s = scope.limits.visibility_max_s
    if timeout_s is None:
        raise missing_parameter("VisibilityTimeout")
    if not 0 <= timeout_s <= limit_s:
        raise invalid_parameter_for("VisibilityTimeout", timeout_s, f"Must be between 0 and {limit_s}, if provided.")
    return timeout_s


def _remove(scope: Scope, queue: Queue, ids: Iterable[int | None]) -> None:
    found = [number for number in ids if number is not None]
    if not found:
        return
    scope.store.remove(queue, found)
    if queue.is_fifo:
        scope.woken[queue.name] = None  # the group's next message may be received


def _set_due(scope: Scope, queue: Queue, ids_by_timeout: Mapping[int, Sequence[int]]) -> None:
    for timeout_s, ids in ids_by_timeout.items():
        scope.store.set_due(queue, ids, scope.now + timeout_s, is_leased=timeout_s > 0)
        scope.woken[queue.name] = None


def _expired(handle: str | None) -> SqsError:
    return invalid_parameter_for("ReceiptHandle", handle, "The receipt handle has expired.")
