"""Which code carries out which action, on which store: from the bytes of a request to the value of an answer.

`decode` reads a request, `run` carries it out on a store in one step. A backend decides where that step happens:
`MemoryBackend` directly in this process, `embedded` in a transaction of the embedded queue's database. `decode` and
`run` use no socket, loop or clock.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import msgspec

from mulligan.core.value import value
from mulligan.servers.sqs.actions import move, queues, receive, send, settle
from mulligan.servers.sqs.actions.context import Call, Limits, RequestContext
from mulligan.servers.sqs.store.memory import MemoryStore
from mulligan.servers.sqs.store.protocol import Store
from mulligan.servers.sqs.wire.error import SqsError, serialization
from mulligan.servers.sqs.wire.schema import REQUESTS, ReceiveMessage

__all__ = [
    "Advanced",
    "Answer",
    "Backend",
    "MemoryBackend",
    "Request",
    "Runner",
    "Wait",
    "advance",
    "decode",
    "place",
    "run",
]


@value
class Request:
    """An action with its decoded parameters."""

    action: str
    body: Any


@value
class Wait:
    """There was no message, and the client is willing to wait.

    queue: the queue's place, see `place`.
    for_s: how long, counted from the first try.
    next_due: epoch seconds at which the queue's next hidden message becomes visible, None when none is hidden; `now`
        when the try stopped before it had seen all messages.
    """

    queue: str
    for_s: float
    next_due: float | None


@value
class Answer:
    """The outcome of a request. error: nothing was changed, and `data` is empty.

    woken: places of queues whose waiting receives must look again.
    wait: a later try may replace the answer.
    """

    data: Mapping[str, Any]
    error: SqsError | None = None
    woken: tuple[str, ...] = ()
    wait: Wait | None = None


Runner = Callable[[Request, Call], Answer | Awaitable[Answer]]
"""Carries an action out; immediately if that needs no waiting."""

Advanced = tuple[bool, tuple[str, ...]]
"""Whether move tasks are still running, and places as in `Answer.woken`."""

_DECODERS = {action: msgspec.json.Decoder(schema) for action, schema in REQUESTS.items()}

_ACTIONS: dict[str, Callable[[RequestContext, Any], dict[str, Any]]] = {
    "AddPermission": queues.add_permission,
    "CancelMessageMoveTask": move.cancel_message_move_task,
    "ChangeMessageVisibility": settle.change_visibility,
    "ChangeMessageVisibilityBatch": settle.change_visibility_batch,
    "CreateQueue": queues.create_queue,
    "DeleteMessage": settle.delete_message,
    "DeleteMessageBatch": settle.delete_message_batch,
    "DeleteQueue": queues.delete_queue,
    "GetQueueAttributes": queues.get_queue_attributes,
    "GetQueueUrl": queues.get_queue_url,
    "ListDeadLetterSourceQueues": queues.list_dead_letter_source_queues,
    "ListMessageMoveTasks": move.list_message_move_tasks,
    "ListQueueTags": queues.list_queue_tags,
    "ListQueues": queues.list_queues,
    "PurgeQueue": queues.purge_queue,
    "ReceiveMessage": receive.receive_message,
    "RemovePermission": queues.remove_permission,
    "SendMessage": send.send_message,
    "SendMessageBatch": send.send_message_batch,
    "SetQueueAttributes": queues.set_queue_attributes,
    "StartMessageMoveTask": move.start_message_move_task,
    "TagQueue": queues.tag_queue,
    "UntagQueue": queues.untag_queue,
}


def decode(action: str, body: bytes) -> Request:
    """The request. Raises SqsError when the action doesn't exist, or the body doesn't fit its schema."""
    decoder = _DECODERS.get(action)
    if decoder is None:
        raise SqsError("UnknownOperationException", f"The action {action!r} does not exist.")
    try:
        return Request(action, decoder.decode(body or b"{}"))
    except msgspec.ValidationError as exc:
        raise serialization(str(exc)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        if action.startswith("SendMessage") and _has_surrogates(body):
            raise SqsError("InvalidMessageContents", "The message contains a lone surrogate.") from None
        raise serialization(f"The request is not valid JSON: {exc}") from None


def _has_surrogates(body: bytes) -> bool:
    """Whether the problem is an escaped lone surrogate: JSON allows it, the service doesn't."""
    try:
        text = json.dumps(json.loads(body), ensure_ascii=False)
    except (ValueError, RecursionError):
        return False
    return any("\ud800" <= char <= "\udfff" for char in text)


def run(request: Request, store: Store, limits: Limits, call: Call, new_id: Callable[[], str]) -> Answer:
    """Carry a request out. Never raises SqsError: an error is an answer."""
    context = RequestContext(store, limits, call, new_id)
    try:
        data = _ACTIONS[request.action](context, request.body)
        wait = None
        if not data and isinstance(request.body, ReceiveMessage):
            wait = _wait(context, request.body)
    except SqsError as error:
        return Answer({}, error)
    return Answer(data, None, _woken(context), wait)


def place(region: str, name: str) -> str:
    """One text for a queue of a region: queues of two regions may have the same name."""
    return f"{region}/{name}"


def _woken(context: RequestContext) -> tuple[str, ...]:
    return tuple(place(context.call.region, name) for name in context.woken)


def _wait(context: RequestContext, body: ReceiveMessage) -> Wait | None:
    for_s = receive.wait_s(context, body)
    if for_s <= 0:
        return None
    queue = context.queue(body.queue_url)
    return Wait(
        place(context.call.region, queue.name),
        for_s,
        context.now if context.has_more else context.store.next_due(queue, context.now),
    )


def advance(store: Store, limits: Limits, call: Call, new_id: Callable[[], str]) -> Advanced:
    """Continue the move tasks of the call's region."""
    context = RequestContext(store, limits, call, new_id)
    is_running = move.advance(context)
    return is_running, _woken(context)


class Backend(Protocol):
    """Runs one action at a time, completely or not at all, on the queues of the call's region."""

    async def open(self, wake: Callable[[str], None]) -> None:
        """Start. `wake` is called in the loop with a queue's place when another process has changed the queue."""

    def run(self, request: Request, call: Call) -> Answer | Awaitable[Answer]:
        """Carry an action out; immediately if that needs no waiting."""

    def advance(self, call: Call) -> Advanced | Awaitable[Advanced]:
        """Continue the move tasks of all regions."""

    def watch(self, queue: str, *, is_waiting: bool) -> None:
        """Receives have started, or stopped, to wait for messages of the queue of that place."""

    async def close(self) -> None:
        """Stop. A second call does nothing."""


class MemoryBackend:
    """All queues in this process, one store per region."""

    def __init__(self, limits: Limits, new_id: Callable[[], str]) -> None:
        self._stores: dict[str, MemoryStore] = {}
        self._limits = limits
        self._new_id = new_id

    async def open(self, wake: Callable[[str], None]) -> None:
        """Nothing to open: no other process can change these queues."""

    def run(self, request: Request, call: Call) -> Answer:
        """Carry an action out."""
        store = self._stores.get(call.region)
        if store is None:
            # a region gets its store with its first queue: clients may name any number of regions
            store = MemoryStore(self._new_id)
            if request.action == "CreateQueue":
                self._stores[call.region] = store
        return run(request, store, self._limits, call, self._new_id)

    def advance(self, call: Call) -> Advanced:
        """Continue the move tasks of all regions."""
        advanced = [
            advance(store, self._limits, replace(call, region=region), self._new_id)
            for region, store in self._stores.items()
        ]
        return any(is_running for is_running, _ in advanced), tuple(name for _, woken in advanced for name in woken)

    def watch(self, queue: str, *, is_waiting: bool) -> None:
        """Nothing to watch: no other process can send a message."""

    async def close(self) -> None:
        """Nothing to close."""
