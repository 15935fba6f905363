"""What actions share: the call (who asks, when), the store, the limits of the service, and the frame of a batch."""

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Protocol, TypeVar

from mulligan.core.value import value
from mulligan.servers.sqs.store.protocol import Queue, Store
from mulligan.servers.sqs.wire import schema
from mulligan.servers.sqs.wire.error import SqsError, missing_parameter, query_code, queue_missing

__all__ = [
    "NO_EFFECT",
    "Call",
    "Entry",
    "FaultEffect",
    "Limits",
    "RequestContext",
    "batch_answer",
    "checked_entries",
]

_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


@value
class Limits:
    """The service's limits: maximum sizes and counts, and how long things are remembered. Tests may shorten the times.

    in_flight_max: leased messages of one queue; beyond it a standard queue answers OverLimit, a FIFO queue nothing.
    dedup_s: how long a FIFO queue remembers a deduplication id, or the id of a receive attempt.
    purge_s: a queue is purged at most once in that time.
    recreate_s: after its deletion, a queue's name can't be used again for that time.
    batch_bytes: all messages of one SendMessageBatch together.
    move_rate: messages per second of a move task, its maximum and default.
    """

    batch_max: int = 10
    batch_bytes: int = 1_048_576
    visibility_max_s: int = 43_200
    delay_max_s: int = 900
    wait_max_s: int = 20
    in_flight_max: int = 120_000
    dedup_s: float = 300.0
    purge_s: float = 60.0
    recreate_s: float = 60.0
    move_rate: int = 500
    tags_max: int = 50


@value
class FaultEffect:
    """What a receive or a batch does wrong on purpose.

    random: of the fault script, for the shares.
    duplicate_share, failing_share: of the messages or entries that are hit, 0 to 1.
    lease_s: replaces the lease that was requested.
    """

    random: Random
    is_empty: bool = False
    is_reordered: bool = False
    duplicate_share: float = 0.0
    lease_s: float | None = None
    failing_share: float = 0.0
    failing_code: str = ""
    failing_text: str = ""
    is_sender_fault: bool = False


NO_EFFECT = FaultEffect(Random(0))  # noqa: S311 - never used


@value
class Call:
    """The circumstances of one action.

    now: epoch seconds.
    base_url: how the client reached the server, e.g. "http://127.0.0.1:9324"; queue URLs begin with it.
    sender: reported to receivers as SenderId.
    trace: the request's X-Amzn-Trace-Id, which becomes the AWSTraceHeader of messages that have none.
    """

    now: float
    account: str
    region: str
    base_url: str
    sender: str
    effect: FaultEffect = NO_EFFECT
    trace: str | None = None


class RequestContext:
    """A call with the store that it works on. One context lives for one action.

    `woken` collects the queues whose waiting receives must look again: a message can be received, or one becomes
    visible at another time than they know. `has_more`: a receive stopped before it had seen all the messages that it
    may return.
    """

    __slots__ = ("call", "has_more", "limits", "new_id", "now", "store", "woken")

    def __init__(self, store: Store, limits: Limits, call: Call, new_id: Callable[[], str]) -> None:
        self.store = store
        self.limits = limits
        self.call = call
        self.now = call.now
        self.new_id = new_id
        self.woken: dict[str, None] = {}
        self.has_more = False

    def queue(self, url: str | None) -> Queue:
        """The queue of a URL, or of a bare name. Raises MissingParameter or QueueDoesNotExist."""
        if not url:
            raise missing_parameter("QueueUrl")
        name = schema.queue_name(url, self.call.account)
        if name is None:
            raise queue_missing()
        return self.named(name)

    def named(self, name: str) -> Queue:
        """The queue of a name. Raises QueueDoesNotExist."""
        queue = self.store.queue(name)
        if queue is None:
            raise queue_missing()
        return queue

    def by_arn(self, arn: str) -> Queue | None:
        """The queue of an ARN; None when there is none."""
        parsed = schema.parse_arn(arn)
        if parsed is None or parsed[:2] != (self.call.region, self.call.account):
            return None
        return self.store.queue(parsed[2])

    def url(self, name: str) -> str:
        """A queue's URL, as this client reaches it."""
        return f"{self.call.base_url}/{self.call.account}/{name}"

    def arn(self, queue: Queue) -> str:
        """A queue's ARN."""
        return schema.arn(queue.name, queue.region, self.call.account)


class Entry(Protocol):
    """An entry of a batch."""

    @property
    def id(self) -> str | None:
        """Chosen by the client; the entry's result carries it."""


E = TypeVar("E", bound=Entry)


def checked_entries(entries: Sequence[E] | None, kind: str, limits: Limits) -> Sequence[E]:
    """The entries. kind: their name in the service model.

    Raises SqsError unless there are 1 to 10 entries with distinct, well-formed ids.
    """
    if not entries:
        raise SqsError("EmptyBatchRequest", f"There should be at least one {kind} in the request.")
    if len(entries) > limits.batch_max:
        raise SqsError(
            "TooManyEntriesInBatchRequest",
            f"Maximum number of entries per request are {limits.batch_max}. You have sent {len(entries)}.",
        )
    seen: set[str] = set()
    for entry in entries:
        if not entry.id or not _ENTRY_ID.fullmatch(entry.id):
            raise SqsError(
                "InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most "
                "80 letters long.",
            )
        if entry.id in seen:
            raise SqsError("BatchEntryIdsNotDistinct", f"Id {entry.id} repeated.")
        seen.add(entry.id)
    return entries


def batch_answer(entries: Sequence[E], effect: FaultEffect, act: Callable[[E], dict[str, Any]]) -> dict[str, Any]:
    """Call `act` for every entry, and collect the results; an entry for which it raises SqsError is reported as failed.

    An empty list of results is left out, as the service does.
    """
    successful: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for entry in entries:
        if effect.failing_share and effect.random.random() < effect.failing_share:
            code = query_code(effect.failing_code)
            failed.append(_failure(entry.id, code, effect.failing_text, is_sender_fault=effect.is_sender_fault))
            continue
        try:
            successful.append({"Id": entry.id, **act(entry)})
        except SqsError as error:
            failed.append(_failure(entry.id, error.code, error.message, is_sender_fault=error.is_sender_fault))
    answer = {"Successful": successful, "Failed": failed}
    return {name: results for name, results in answer.items() if results}


def _failure(entry_id: str | None, code: str, text: str, *, is_sender_fault: bool) -> dict[str, Any]:
    return {"Id": entry_id, "SenderFault": is_sender_fault, "Code": code, "Message": text}
