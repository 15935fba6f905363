"""Move tasks: a dead-letter queue's messages back to where they came from, or to another queue, at a given rate."""

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mulligan.servers.sqs.actions import queue_attributes as attribute
from mulligan.servers.sqs.actions.context import Scope
from mulligan.servers.sqs.actions.queues import sources
from mulligan.servers.sqs.store.protocol import MoveTask, Queue, Record
from mulligan.servers.sqs.wire.error import SqsError, invalid_parameter, invalid_parameter_for, missing_parameter
from mulligan.servers.sqs.wire.schema import CancelMessageMoveTask, ListMessageMoveTasks, StartMessageMoveTask

__all__ = ["advance", "cancel_message_move_task", "list_message_move_tasks", "start_message_move_task"]

_STEP_MAX = 100
_TOLD_MAX = 10


def start_message_move_task(scope: Scope, request: StartMessageMoveTask) -> dict[str, Any]:
    """Begin to move all messages of a dead-letter queue; at most one task a queue at a time."""
    source = _by_arn(scope, request.source_arn, "SourceArn")
    if not sources(scope, source):
        raise invalid_parameter("Source queue must be configured as a Dead Letter Queue.")
    destination = None
    if request.destination_arn is not None:
        destination = _by_arn(scope, request.destination_arn, "DestinationArn")
        if destination.name == source.name or destination.is_fifo != source.is_fifo:
            raise invalid_parameter("The destination must be another queue of the same type as the source.")
    rate = request.max_number_of_messages_per_second
    if rate is not None and not 1 <= rate <= scope.limits.move_rate:
        raise invalid_parameter_for(
            "MaxNumberOfMessagesPerSecond", rate, f"Must be between 1 and {scope.limits.move_rate}, if provided."
        )
    if any(task.source == source.name and task.status == "RUNNING" for task in scope.store.tasks()):
        raise invalid_parameter(
            "There is already a task running. Only one active task is allowed for a source queue arn at a given time."
        )
    task = MoveTask(
        id=scope.new_id(),
        source=source.name,
        destination=destination.name if destination else None,
        region=source.region,
        status="RUNNING",
        rate=rate or scope.limits.move_rate,
        asked_rate=rate,
        to_move=scope.store.counts(source, scope.now).visible,
        moved=0,
        started_at=scope.now,
    )
    scope.store.save_task(task)
    return {"TaskHandle": _handle(scope, task)}


def list_message_move_tasks(scope: Scope, request: ListMessageMoveTasks) -> dict[str, Any]:
    """The last tasks of a queue, the newest first; only one that is asked for more tells more."""
    source = _by_arn(scope, request.source_arn, "SourceArn")
    count = 1 if request.max_results is None else request.max_results
    if not 1 <= count <= _TOLD_MAX:
        raise invalid_parameter_for("MaxResults", count, f"Must be between 1 and {_TOLD_MAX}, if provided.")
    found = [task for task in scope.store.tasks() if task.source == source.name][:count]
    return {"Results": [_told(scope, task) for task in found]} if found else {}


def cancel_message_move_task(scope: Scope, request: CancelMessageMoveTask) -> dict[str, Any]:
    """End a running task; what was moved stays moved."""
    if not request.task_handle:
        raise missing_parameter("TaskHandle")
    try:
        data = json.loads(b64decode(request.task_handle, validate=True))
        task_id, source_arn = str(data["taskId"]), str(data["sourceArn"])
    except (ValueError, KeyError, TypeError):
        raise invalid_parameter("Value for parameter TaskHandle is invalid.") from None
    _by_arn(scope, source_arn, "SourceArn")
    task = next((task for task in scope.store.tasks() if task.id == task_id), None)
    if task is None:
        raise SqsError("ResourceNotFoundException", "Task does not exist.")
    if task.status != "RUNNING":
        raise SqsError("UnsupportedOperation", f"Only active tasks can be cancelled, this one is {task.status}.")
    scope.store.save_task(replace(task, status="CANCELLED"))
    return {"ApproximateNumberOfMessagesMoved": task.moved}


def advance(scope: Scope) -> bool:
    """Carry every running task on as far as its rate allows by now. False: none is running any more."""
    running = [task for task in scope.store.tasks() if task.status == "RUNNING"]
    for task in running:
        _advance(scope, task)
    return any(task.status == "RUNNING" for task in scope.store.tasks())


def _advance(scope: Scope, task: MoveTask) -> None:
    source = scope.store.queue(task.source)
    if source is None:
        scope.store.save_task(replace(task, status="FAILED", failure=_NO_QUEUE))
        return
    allowed = min(int((scope.now - task.started_at) * task.rate) - task.moved, _STEP_MAX)
    if allowed <= 0:
        return
    records = scope.store.take(source, allowed, scope.now)
    moved, failure = _move(scope, task, source, records)
    left = [item.id for item in records[moved:]]
    scope.store.set_due(source, left, scope.now, is_leased=False)
    status = "FAILED" if failure else "COMPLETED" if len(records) < allowed else "RUNNING"
    scope.store.save_task(replace(task, moved=task.moved + moved, status=status, failure=failure))


_NO_QUEUE = "AWS.SimpleQueueService.NonExistentQueue"


def _move(scope: Scope, task: MoveTask, source: Queue, records: Sequence[Record]) -> tuple[int, str | None]:
    """How many were moved, and why no more. A moved message is a new one: new id, sent now, never received."""
    for index, record in enumerate(records):
        name = task.destination or record.draft.source
        if name is None:
            return index, "CouldNotDetermineMessageSource"
        target = scope.store.queue(name)
        if target is None:
            return index, _NO_QUEUE
        draft = replace(
            record.draft,
            message_id="",
            sent_at=scope.now,
            due_at=scope.now,
            source=None,
            receive_count=0,
            first_received_at=None,
        )
        scope.store.add(target, (draft,))
        scope.store.remove(source, (record.id,))
        scope.woken[target.name] = None
    return len(records), None


def _by_arn(scope: Scope, arn: str | None, name: str) -> Queue:
    if not arn:
        raise missing_parameter(name)
    if attribute.parse_arn(arn) is None:
        raise invalid_parameter(
            f"You must use this format to specify the {name}: "
            "arn:<partition>:<service>:<region>:<account-id>:<resource-id>"
        )
    queue = scope.by_arn(arn)
    if queue is None:
        raise SqsError(
            "ResourceNotFoundException", f"The resource that you specified for the {name} parameter doesn't exist."
        )
    return queue


def _handle(scope: Scope, task: MoveTask) -> str:
    source_arn = attribute.arn(task.source, task.region, scope.call.account)
    return b64encode(json.dumps({"taskId": task.id, "sourceArn": source_arn}).encode()).decode()


def _told(scope: Scope, task: MoveTask) -> dict[str, Any]:
    told: dict[str, Any] = {
        "Status": task.status,
        "SourceArn": attribute.arn(task.source, task.region, scope.call.account),
        "ApproximateNumberOfMessagesMoved": task.moved,
        "ApproximateNumberOfMessagesToMove": task.to_move,
        "StartedTimestamp": int(task.started_at * 1000),
    }
    if task.status == "RUNNING":
        told["TaskHandle"] = _handle(scope, task)
    if task.destination is not None:
        told["DestinationArn"] = attribute.arn(task.destination, task.region, scope.call.account)
    if task.asked_rate is not None:
        told["MaxNumberOfMessagesPerSecond"] = task.asked_rate
    if task.failure is not None:
        told["FailureReason"] = task.failure
    return told
