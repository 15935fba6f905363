"""The three queues as they should be: how they are created, and the notes about those that differ. Makes no call.

`provision` makes the calls and asks here.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from mulligan.core.delivery import Queues
from mulligan.core.message import QueueName

__all__ = [
    "MAX_RECEIVES",
    "PREFIX_TAG",
    "RETENTION_S",
    "creation",
    "is_fifo",
    "name_problems",
    "notes",
    "order",
    "problems",
    "receives",
    "redrive",
    "size_limit",
]

RETENTION_S = 1_209_600
"""14 days, the longest that SQS keeps a message; on rejects and dead it counts from the first enqueue."""
MAX_RECEIVES = 1000
"""For SQS's own redrive, the last safety net. Releases count too, and a message that it moves has no retry state."""
MAX_RECEIVES_LOW = 50
"""Fewer are noted: a message that waits for a missing task is received a hundred times per day."""
LONG_POLL_S = 20
PREFIX_TAG = "mulligan-prefix"
"""On queues that mulligan creates: the COMMON_PREFIX of the application that owns them."""
QUEUE_TAG = "mulligan-queue"
SIZE_DEFAULT_BYTES = 262_144
SIZE_MAX_BYTES = 1_048_576


def is_fifo(name: QueueName) -> bool:
    """Whether it is a FIFO queue: SQS gives this ending to them alone."""
    return name.endswith(".fifo")


def order(queues: Queues) -> tuple[QueueName, QueueName, QueueName]:
    """The order of creation: dead first, because the others point to it."""
    return queues.dead, queues.rejects, queues.requests


def name_problems(queues: Queues) -> list[str]:
    """What SQS would refuse about the names themselves."""
    found = []
    for name in queues.all:
        plain = name.removesuffix(".fifo")
        if (
            len(name) > 80
            or not plain
            or not all(char.isascii() and (char.isalnum() or char in "-_") for char in plain)
        ):
            found.append(
                f"The queue name {name!r} can't be one of SQS: expected up to 80 of A-Z a-z 0-9 - _, and .fifo at the "
                f"end for a FIFO queue. Correct COMMON_PREFIX, or the queue's own setting."
            )
    if len({is_fifo(name) for name in queues.all}) > 1:
        found.append(
            f"Of {', '.join(queues.all)} some are FIFO queues and some are not, and SQS moves dead letters only "
            f"between queues of one kind. End all three names with .fifo, or none."
        )
    return found


def creation(queues: Queues, name: QueueName, dead_arn: str | None) -> dict[str, Any]:
    """The CreateQueue request for one of the queues. dead_arn: None only for the dead queue itself."""
    attributes = {
        "MessageRetentionPeriod": str(RETENTION_S),
        "ReceiveMessageWaitTimeSeconds": str(LONG_POLL_S),
        "SqsManagedSseEnabled": "true",
    }
    if dead_arn is not None:
        attributes["RedrivePolicy"] = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": MAX_RECEIVES})
    if is_fifo(name):
        # throughput per group instead of per queue; deduplication ids of mulligan are unique in the whole queue
        attributes |= {
            "FifoQueue": "true",
            "DeduplicationScope": "messageGroup",
            "FifoThroughputLimit": "perMessageGroupId",
        }
    role = {queues.requests: "requests", queues.rejects: "rejects", queues.dead: "dead"}[name]
    tags = {PREFIX_TAG: queues.prefix, QUEUE_TAG: role}
    return {"QueueName": name, "Attributes": attributes, "tags": tags}


def problems(queues: Queues, found: Mapping[QueueName, Mapping[str, str]]) -> list[str]:
    """Sentences about existing queues with which messages would lose their retry state. found: attributes by queue."""
    return [
        f"Queue {name}: its maxReceiveCount is 1: a receive whose answer is lost counts, too, so that messages are "
        f"moved away, without their retry state, before any task has seen them. Expected 2 or more, best "
        f"{MAX_RECEIVES}. {_mended(found[name])}"
        for name in (queues.requests, queues.rejects)
        if redrive(found.get(name, {}))[1] == 1
    ]


def receives(queues: Queues, found: Mapping[QueueName, Mapping[str, str]]) -> dict[QueueName, int]:
    """How often a queue delivers a message before it moves it away; only queues that do. found: attributes by queue."""
    counts = {name: redrive(found.get(name, {}))[1] for name in (queues.requests, queues.rejects)}
    return {name: count for name, count in counts.items() if count > 0}


def _few_receives_notes(name: QueueName, attributes: Mapping[str, str]) -> list[str]:
    _, count = redrive(attributes)
    if not 1 < count < MAX_RECEIVES_LOW:
        return []
    order = " On a FIFO queue it no longer keeps its group waiting then." if is_fifo(name) else ""
    return [
        f"Queue {name}: its maxReceiveCount is {count}, and releases and early wake-ups count as receives. So that SQS "
        f"doesn't move a message away without its retry state, its last receive but one puts it on rejects as a copy, "
        f"counted from 0.{order} {_mended(attributes)}"
    ]


def _mended(attributes: Mapping[str, str], target: str | None = None) -> str:
    """The command that sets maxReceiveCount to MAX_RECEIVES. target: None for the present one."""
    target = target or redrive(attributes)[0]
    queue = attributes.get("QueueArn", "").rpartition(":")[2]
    policy = json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": MAX_RECEIVES}, separators=(",", ":"))
    given = json.dumps({"RedrivePolicy": policy}, separators=(",", ":"))
    url = f'"$(aws sqs get-queue-url --queue-name {queue} --query QueueUrl --output text)"'
    return f"To correct it: aws sqs set-queue-attributes --queue-url {url} --attributes '{given}'"


def notes(
    queues: Queues, found: Mapping[QueueName, Mapping[str, str]], foreign: Collection[QueueName] = ()
) -> list[str]:
    """Sentences about existing queues that work, but are not as they should be. found: attributes by queue.

    foreign: those of which another account decides what they are like.
    """
    notes = []
    for name in queues.all:
        if name not in found or name in foreign:
            continue
        attributes = found[name]
        if name != queues.requests:
            notes += _retention_notes(name, attributes)
        notes += _few_receives_notes(name, attributes) if name != queues.dead else _dead_redrive_notes(name, attributes)
        if name != queues.dead and queues.dead not in foreign:  # a redrive can't cross accounts
            notes += _redrive_notes(name, attributes, found.get(queues.dead, {}).get("QueueArn"))
        if attributes.get("SqsManagedSseEnabled") != "true" and not attributes.get("KmsMasterKeyId"):
            notes.append(f"Queue {name}: messages are not encrypted at rest. Set its SqsManagedSseEnabled to true.")
    return notes + _size_notes(queues, found)


def size_limit(attributes: Mapping[str, str]) -> int:
    """The queue's limit of a message in bytes."""
    given = attributes.get("MaximumMessageSize", "")
    return int(given) if given.isdecimal() else SIZE_DEFAULT_BYTES


def _retention_notes(name: QueueName, attributes: Mapping[str, str]) -> list[str]:
    given = attributes.get("MessageRetentionPeriod", "")
    if not given.isdecimal() or int(given) >= RETENTION_S:
        return []
    return [
        f"Queue {name}: it keeps messages for {int(given) / 86400:.3g} days, and what waits longer is lost. "
        f"Set its MessageRetentionPeriod to {RETENTION_S} (14 days)."
    ]


def redrive(attributes: Mapping[str, str]) -> tuple[str | None, int]:
    """Target and count of a queue's RedrivePolicy; None and 0 where it has none."""
    try:
        policy = json.loads(attributes.get("RedrivePolicy") or "{}")
        return policy.get("deadLetterTargetArn"), int(policy.get("maxReceiveCount", 0))
    except (ValueError, TypeError, AttributeError):
        return None, 0


def _redrive_notes(name: QueueName, attributes: Mapping[str, str], dead_arn: str | None) -> list[str]:
    target, _ = redrive(attributes)
    if target is None:
        advice = f"Set its RedrivePolicy to maxReceiveCount {MAX_RECEIVES} and the dead queue's ARN."
        return [
            f"Queue {name}: it has no redrive to the dead queue, so a message that crashes every worker comes back for "
            f"ever. {advice if dead_arn is None else _mended(attributes, dead_arn)}"
        ]
    if dead_arn is None or target == dead_arn:
        return []
    return [
        f"Queue {name}: its redrive goes to {target}, not to the dead queue ({dead_arn}), where nobody looks "
        f"for its messages. {_mended(attributes, dead_arn)}"
    ]


def _dead_redrive_notes(name: QueueName, attributes: Mapping[str, str]) -> list[str]:
    target, count = redrive(attributes)
    if target is None:
        return []
    return [
        f"Queue {name}: it has a redrive of its own, to {target} after {count} receives, and each look at its letters "
        f"(`mulligan dead`) counts as one: SQS moves them away then. Remove its RedrivePolicy."
    ]


def _size_notes(queues: Queues, found: Mapping[QueueName, Mapping[str, str]]) -> list[str]:
    if queues.requests not in found:
        return []
    needed = size_limit(found[queues.requests])
    return [
        f"Queue {name}: it accepts messages of {size_limit(found[name])} bytes, {queues.requests} of {needed}: copies "
        f"of larger ones are compressed, or leave their body in BODIES_URL. Set its MaximumMessageSize to "
        f"{SIZE_MAX_BYTES}."
        for name in (queues.rejects, queues.dead)
        if name in found and size_limit(found[name]) < needed
    ]
