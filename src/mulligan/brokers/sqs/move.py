"""Message move tasks that were started on the queues: which queues to ask about, and the notes. Makes no call.

Such a task runs for hours on a big queue, and the queue's content changes meanwhile. `broker.owners` asks.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from mulligan.brokers.sqs.setup import redrive
from mulligan.core.delivery import Queues
from mulligan.core.message import QueueName

__all__ = ["note", "sources"]

Attributes = Mapping[QueueName, Mapping[str, str]]


def sources(queues: Queues, found: Attributes, foreign: Collection[QueueName]) -> list[str]:
    """ARNs of the queues to ask about: the three, and the targets of their redrive where these are others.

    found: attributes of the queues that are there. foreign: those of another account, of which SQS says nothing.
    """
    arns = {name: found[name].get("QueueArn") for name in queues.all if name in found}
    own = [name for name in arns if name not in foreign]
    asked = dict.fromkeys([*(arns[name] for name in own), *(redrive(found[name])[0] for name in own)])
    return [arn for arn in asked if arn and arn not in {arns[name] for name in arns if name in foreign}]


def note(arn: str, answer: Mapping[str, Any], found: Attributes) -> str | None:
    """The sentence about the task of a source that runs now; None where none runs, or it doesn't touch the queues.

    answer: the service's answer about this source's newest task; an older one can't be running.
    """
    results = answer.get("Results") or [{}]
    task = results[0]
    ours = {attributes.get("QueueArn") for attributes in found.values()}
    destination = task.get("DestinationArn")
    is_ours = destination is None or arn in ours or destination in ours
    if task.get("Status") != "RUNNING" or not is_ours:
        return None
    target = f"to {_name(destination)}" if destination else "back to where they came from"
    return (
        f"Queue {_name(arn)}: somebody's message move task moves its messages {target}, {_so_far(task)}"
        f"{_since(task.get('StartedTimestamp'))}. What becomes of them is in docs/moves.md. To end it: "
        f"aws sqs list-message-move-tasks --source-arn {arn} shows the handle for aws sqs cancel-message-move-task."
    )


def _name(arn: str) -> str:
    return arn.rpartition(":")[2]


def _so_far(task: Mapping[str, Any]) -> str:
    """The service gives a total only once it has begun."""
    moved, total = task.get("ApproximateNumberOfMessagesMoved", 0), task.get("ApproximateNumberOfMessagesToMove")
    return f"{moved} so far" if total is None else f"{moved} of about {total} so far"


def _since(started_ms: object) -> str:
    if not isinstance(started_ms, int | float):
        return ""
    try:
        return f", since {datetime.fromtimestamp(started_ms / 1000, UTC):%Y-%m-%d %H:%M:%S UTC}"
    except (ValueError, OverflowError, OSError):
        return ""
