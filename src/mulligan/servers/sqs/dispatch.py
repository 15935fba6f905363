"""The actions by name: from the bytes of a request to the value of an answer. Knows no socket, loop or clock.

`decode` reads a request, `run` carries it out on a store in one step. Flow: http -> front -> engine -> (sending,
receiving, settling, directory, move) -> store.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from mulligan.core.value import value
from mulligan.servers.sqs.actions import move
from mulligan.servers.sqs.actions import queues as directory
from mulligan.servers.sqs.actions import receive as receiving
from mulligan.servers.sqs.actions import send as sending
from mulligan.servers.sqs.actions import settle as settling
from mulligan.servers.sqs.actions.context import Call, Scope
from mulligan.servers.sqs.actions.limit import Limits
from mulligan.servers.sqs.store.seam import Store
from mulligan.servers.sqs.wire.error import SqsError, serialization
from mulligan.servers.sqs.wire.schema import REQUESTS, ReceiveMessage

__all__ = ["Answer", "Request", "Wait", "advance", "decode", "place", "run"]


@value
class Request:
    """An action with its decoded parameters."""

    action: str
    body: Any


@value
class Wait:
    """Nothing was there, and the client would wait.

    queue: the queue's place, see `place`.
    for_s: how long, from the first try on.
    next_due: epoch seconds at which a hidden message of the queue comes back, None when none is hidden; `now` when the
        try ended before it had seen all.
    """

    queue: str
    for_s: float
    next_due: float | None


@value
class Answer:
    """What became of a request. error: then nothing was changed, and `data` is empty.

    woken: places of queues whose waiting receives must look again.
    wait: the answer may be replaced by a later try.
    """

    data: Mapping[str, Any]
    error: SqsError | None = None
    woken: tuple[str, ...] = ()
    wait: Wait | None = None


_DECODERS = {action: msgspec.json.Decoder(shape) for action, shape in REQUESTS.items()}

_ACTIONS: dict[str, Callable[[Scope, Any], dict[str, Any]]] = {
    "AddPermission": directory.add_permission,
    "CancelMessageMoveTask": move.cancel_message_move_task,
    "ChangeMessageVisibility": settling.change_visibility,
    "ChangeMessageVisibilityBatch": settling.change_visibility_batch,
    "CreateQueue": directory.create_queue,
    "DeleteMessage": settling.delete_message,
    "DeleteMessageBatch": settling.delete_message_batch,
    "DeleteQueue": directory.delete_queue,
    "GetQueueAttributes": directory.get_queue_attributes,
    "GetQueueUrl": directory.get_queue_url,
    "ListDeadLetterSourceQueues": directory.list_dead_letter_source_queues,
    "ListMessageMoveTasks": move.list_message_move_tasks,
    "ListQueueTags": directory.list_queue_tags,
    "ListQueues": directory.list_queues,
    "PurgeQueue": directory.purge_queue,
    "ReceiveMessage": receiving.receive_message,
    "RemovePermission": directory.remove_permission,
    "SendMessage": sending.send_message,
    "SendMessageBatch": sending.send_message_batch,
    "SetQueueAttributes": directory.set_queue_attributes,
    "StartMessageMoveTask": move.start_message_move_task,
    "TagQueue": directory.tag_queue,
    "UntagQueue": directory.untag_queue,
}


def decode(action: str, body: bytes) -> Request:
    """The request. Raises SqsError when there is no such action, or the body is not what it takes."""
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
    """Whether half a character, escaped, is what is wrong: JSON allows it, the service doesn't."""
    try:
        text = json.dumps(json.loads(body), ensure_ascii=False)
    except (ValueError, RecursionError):
        return False
    return any("\ud800" <= char <= "\udfff" for char in text)


def run(request: Request, store: Store, limits: Limits, call: Call, new_id: Callable[[], str]) -> Answer:
    """Carry a request out. Never raises SqsError: an error is an answer."""
    scope = Scope(store, limits, call, new_id)
    try:
        data = _ACTIONS[request.action](scope, request.body)
        wait = None
        if not data and isinstance(request.body, ReceiveMessage):
            wait = _wait(scope, request.body)
    except SqsError as error:
        return Answer({}, error)
    return Answer(data, None, _woken(scope), wait)


def place(region: str, name: str) -> str:
    """One text for a queue of a region: queues of two regions may have the same name."""
    return f"{region}/{name}"


def _woken(scope: Scope) -> tuple[str, ...]:
    return tuple(place(scope.call.region, name) for name in scope.woken)


def _wait(scope: Scope, body: ReceiveMessage) -> Wait | None:
    for_s = receiving.wait_s(scope, body)
    if for_s <= 0:
        return None
    queue = scope.queue(body.queue_url)
    return Wait(
        place(scope.call.region, queue.name),
        for_s,
        scope.now if scope.has_more else scope.store.next_due(queue, scope.now),
    )


def advance(store: Store, limits: Limits, call: Call, new_id: Callable[[], str]) -> tuple[bool, tuple[str, ...]]:
    """Carry the move tasks of the call's region on. Whether any is still running, and places as in `Answer.woken`."""
    scope = Scope(store, limits, call, new_id)
    is_running = move.advance(scope)
    return is_running, _woken(scope)
