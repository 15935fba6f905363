"""Batch calls: one result per entry, in order, however the service answers."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from mulligan.brokers.sqs import codec
from mulligan.brokers.sqs.client import Client
from mulligan.brokers.sqs.codec import Answered, Failure, SendEntry
from mulligan.brokers.sqs.entry import entry_bytes
from mulligan.brokers.sqs.error import ServiceRefused, entry_fault
from mulligan.core.delivery import EntryFault, Fault
from mulligan.core.error import BrokerRefused, BrokerUnavailable
from mulligan.core.message import QueueName
from mulligan.core.value import value

__all__ = ["BATCH_MAX", "BATCH_MAX_BYTES", "Queue", "change", "delete", "send"]

T = TypeVar("T")
Results = list[EntryFault | None]

BATCH_MAX = 10
"""SQS refuses more entries in one call (TooManyEntriesInBatchRequest)."""
BATCH_MAX_BYTES = 1_048_576
"""Of all messages of one send together (BatchRequestTooLong)."""

# codes with which some servers refuse a whole batch because of one entry
_OF_ONE_ENTRY = frozenset(
    {
        "AWS.SimpleQueueService.BatchRequestTooLong",
        "AWS.SimpleQueueService.MessageNotInflight",
        "BatchRequestTooLong",
        "InvalidMessageContents",
        "InvalidParameterValue",
        "InvalidParameterValueException",
        "MessageNotInflight",
        "MissingParameter",
        "ReceiptHandleIsInvalid",
    }
)


@value
class Queue:
    """What calls need to know of a queue."""

    name: QueueName
    url: str
    is_fifo: bool


async def delete(client: Client, at: Queue, handles: Sequence[str]) -> Results:
    """DeleteMessageBatch of at most 10 receipt handles."""
    return await _batch(client, "DeleteMessageBatch", at, handles, partial(codec.delete_request, at.url))


async def change(client: Client, at: Queue, entries: Sequence[tuple[str, int]]) -> Results:
    """ChangeMessageVisibilityBatch of at most 10 (receipt handle, seconds)."""
    return await _batch(client, "ChangeMessageVisibilityBatch", at, entries, partial(codec.visibility_request, at.url))


async def send(client: Client, at: Queue, entries: Sequence[SendEntry]) -> Results:
    """SendMessageBatch of checked entries; their ids are set here. What arrived is compared by checksum.

    Big messages take several calls. Raises only if the first one fails; a later failure is the result of its entries.
    """

    def body(batch: Sequence[SendEntry]) -> bytes:
        for place, entry in enumerate(batch):
            entry.id = str(place)
        return codec.send_request(at.url, batch)

    results: Results = []
    for batch in _filled(entries):
        try:
            results += await _batch(client, "SendMessageBatch", at, batch, body, codec.sent_problem)
        except (BrokerUnavailable, BrokerRefused) as exc:
            if not results:
                raise
            fault = Fault.RETRY if isinstance(exc, BrokerUnavailable) else Fault.REFUSED
            results += [EntryFault(fault, str(exc))] * len(batch)
    return results


# -- inside -----------------------------------------------------------------------------------------------------------


async def _batch(
    client: Client,
    action: str,
    at: Queue,
    batch: Sequence[T],
    body: Callable[[Sequence[T]], bytes],
    check: Callable[[T, Answered], str | None] | None = None,
) -> Results:
    if not batch:
        return []
    count = len(batch)
    try:
        answers, bad_count = await client.call(
            action, body(batch), lambda data: codec.read_batch(data, count), where=at.name
        )
    except ServiceRefused as exc:
        if exc.code not in _OF_ONE_ENTRY:
            raise
        if count == 1:
            return [entry_fault(Failure("0", exc.code, str(exc), sender_fault=True))]
        half = count // 2
        first = await _batch(client, action, at, batch[:half], body, check)
        return first + await _batch(client, action, at, batch[half:], body, check)
    if bad_count == 0 and check is None:
        return [None] * count
    return [_fault(entry, answer, check) for entry, answer in zip(batch, answers, strict=True)]


def _fault(
    entry: T, answer: Answered | Failure | None, check: Callable[[T, Answered], str | None] | None
) -> EntryFault | None:
    if answer is None:
        return EntryFault(Fault.RETRY, "the service's answer doesn't contain this entry")
    if isinstance(answer, Failure):
        return entry_fault(answer)
    problem = None if check is None else check(entry, answer)
    return None if problem is None else EntryFault(Fault.RETRY, problem)


def _filled(entries: Sequence[SendEntry]) -> list[list[SendEntry]]:
    """Batches in order, each of at most 10 entries and 1 MiB."""
    batches: list[list[SendEntry]] = []
    room = 0
    for entry in entries:
        size = entry_bytes(entry)
        if not batches or len(batches[-1]) == BATCH_MAX or size > room:
            batches.append([])
            room = BATCH_MAX_BYTES
        batches[-1].append(entry)
        room -= size
    return batches
