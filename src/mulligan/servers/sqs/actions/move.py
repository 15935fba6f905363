"""Move tasks: a dead-letter queue's messages go back to the queues that they came from, or to another, at a rate."""

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mulligan.servers.sqs.actions.context import RequestContext
from mulligan.servers.sqs.actions.queue_attributes import sources
from mulligan.servers.sqs.store.protocol import MoveTask, Queue, Record
from mulligan.servers.sqs.wire import schema
from mulligan.servers.sqs.wire.error import SqsError, invalid_parameter, invalid_parameter_for, missing_parameter
from mulligan.servers.sqs.wire.schema import CancelMessageMoveTask, ListMessageMoveTasks, StartMessageMoveTask

__all__ = ["advance", "cancel_message_move_task", "list_message_move_tasks", "start_message_move_task"]

_STEP_MAX = 100
_RESULTS_MAX = 10


def start_message_move_task(context: RequestContext, request: StartMessageMoveTask) -> dict[str, Any]:
    """Start to move all messages of a dead-letter queue; one running task per queue."""
    source = _by_arn(context, request.source_arn, "SourceArn")
    if not sources(context.store.queues(), source):
        raise invalid_parameter("Source queue must be configured as a Dead Letter Queue.")
    destination = None
    if request.destination_arn is not None:
        destination = _by_arn(context, request.destination_arn, "DestinationArn")
        if destination.name == source.name or destination.is_fifo != source.is_fifo:
            raise invalid_parameter("The destination must be another queue of the same type as the source.")
    rate = request.max_number_of_messages_per_second
    if rate is not None and not 1 <= rate <= context.limits.move_rate:
        raise invalid_parameter_for(
            "MaxNumberOfMessagesPerSecond", rate, f"Must be between 1 and {context.limits.move_rate}, if provided."
        )
    if any(task.source == source.name and task.status == "RUNNING" for task in context.store.tasks()):
        raise invalid_parameter(
            "There is already a task running. Only one active task is allowed for a source queue arn at a given time."
        )
    task = MoveTask(
        id=context.new_id(),
        source=source.name,
        destination=destination.name if destination else None,
        region=source.region,
        status="RUNNING",
        rate=rate or context.limits.move_rate,
        asked_rate=rate,
        to_move=context.store.counts(source, context.now).visible,
        moved=0,
        started_at=context.now,
    )
    context.store.save_task(task)
    return {"TaskHandle": _handle(context, task)}


def list_message_move_tasks(context: RequestContext, request: ListMessageMoveTasks) -> dict[str, Any]:
    """The latest tasks of a queue, the newest first; MaxResults says how many, one by default."""
    source = _by_arn(context, request.source_arn, "SourceArn")
    count = 1 if request.max_results is None else request.max_results
    if not 1 <= count <= _RESULTS_MAX:
        raise invalid_parameter_for("MaxResults", count, f"Must be between 1 and {_RESULTS_MAX}, if provided.")
    found = [task for task in context.store.tasks() if task.source == source.name][:count]
    return {"Results": [_result(context, task) for task in found]} if found else {}


def cancel_message_move_task(context: RequestContext, request: CancelMessageMoveTask) -> dict[str, Any]:
    """Stop a running task; messages that were moved stay moved."""
    if not request.task_handle:
        raise missing_parameter("TaskHandle")
    try:
        data = json.loads(b64decode(request.task_handle, validate=True))
        task_id, source_arn = str(data["taskId"]), str(data["sourceArn"])
    except (ValueError, KeyError, TypeError):
        raise invalid_parameter("Value for parameter TaskHandle is invalid.") from None
    _by_arn(context, source_arn, "SourceArn")
    task = next((task for task in context.store.tasks() if task.id == task_id), None)
    if task is None:
        raise SqsError("ResourceNotFoundException", "Task does not exist.")
    if task.status != "RUNNING":
        raise SqsError("UnsupportedOperation", f"Only active tasks can be cancelled, this one is {task.status}.")
    context.store.save_task(replace(task, status="CANCELLED"))
    return {"ApproximateNumberOfMessagesMoved": task.moved}


def advance(context: RequestContext) -> bool:
    """Move as many messages of every running task as its rate allows by now. Returns whether any still runs."""
    running = [task for task in context.store.tasks() if task.status == "RUNNING"]
    for task in running:
        _advance(context, task)
    return any(task.status == "RUNNING" for task in context.store.tasks())


def _advance(context: RequestContext, task: MoveTask) -> None:
    source = context.store.queue(task.source)
    if source is None:
        context.store.save_task(replace(task, status="FAILED", failure=_NO_QUEUE))
        return
    allowed = min(int((context.now - task.started_at) * task.rate) - task.moved, _STEP_MAX)
    if allowed <= 0:
        return
    records = context.store.take(source, allowed, context.now)
    moved, failure = _move(context, task, source, records)
    left = [item.id for item in records[moved:]]
    context.store.set_due(source, left, context.now, is_leased=False)
    status = "FAILED" if failure else "COMPLETED" if len(records) < allowed else "RUNNING"
    context.store.save_task(replace(task, moved=task.moved + moved, status=status, failure=failure))


_NO_QUEUE = "AWS.SimpleQueueService.NonExistentQueue"


def _move(context: RequestContext, task: MoveTask, source: Queue, records: Sequence[Record]) -> tuple[int, str | None]:
    """How many were moved, and the reason for stopping. A moved message is new: new id, sent now, never received."""
    for index, record in enumerate(records):
        name = task.destination or record.message.source
        if name is None:
            return index, "CouldNotDetermineMessageSource"
        target = context.store.queue(name)
        if target is None:
            return index, _NO_QUEUE
        message = replace(
            record.message,
            message_id="",
            sent_at=context.now,
            due_at=context.now,
            source=None,
            receive_count=0,
            first_received_at=None,
        )
        context.store.add(target, (message,))
        context.store.remove(source, (record.id,))
        context.woken[target.name] = None
    return len(records), None


def _by_arn(context: RequestContext, arn: str | None, name: str) -> Queue:
    if not arn:
        raise missing_parameter(name)
    if schema.parse_arn(arn) is None:
        raise invalid_parameter(
            f"You must use this format to specify the {name}: "
            "arn:<partition>:<service>:<region>:<account-id>:<resource-id>"
        )
    queue = context.by_arn(arn)
    if queue is None:
        raise SqsError(
            "ResourceNotFoundException", f"The resource that you specified for the {name} parameter doesn't exist."
        )
    return queue


def _handle(context: RequestContext, task: MoveTask) -> str:
    source_arn = schema.arn(task.source, task.region, context.call.account)
    return b64encode(json.dumps({"taskId": task.id, "sourceArn": source_arn}).encode()).decode()


def _result(context: RequestContext, task: MoveTask) -> dict[str, Any]:
    result: dict[str, Any] = {
        "Status": task.status,
        "SourceArn": schema.arn(task.source, task.region, context.call.account),
        "ApproximateNumberOfMessagesMoved": task.moved,
        "ApproximateNumberOfMessagesToMove": task.to_move,
        "StartedTimestamp": int(task.started_at * 1000),
    }
    if task.status == "RUNNING":
        result["TaskHandle"] = _handle(context, task)
    if task.destination is not None:
        result["DestinationArn"] = schema.arn(task.destination, task.region, context.call.account)
    if task.asked_rate is not None:
        result["MaxNumberOfMessagesPerSecond"] = task.asked_rate
    if task.failure is not None:
        result["FailureReason"] = task.failure
    return result
