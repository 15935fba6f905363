"""Queue attributes: which exist, their allowed values and defaults, and reading them as numbers and policies."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from mulligan.core.value import value
from mulligan.servers.sqs.store.protocol import Counts, Queue
from mulligan.servers.sqs.wire.error import (
    SqsError,
    invalid_attribute_name,
    invalid_attribute_value,
    invalid_parameter,
    invalid_parameter_for,
)
from mulligan.servers.sqs.wire.schema import arn, parse_arn

__all__ = [
    "Redrive",
    "allows_source",
    "changed",
    "check_creation",
    "difference",
    "flag",
    "normalized_flags",
    "number",
    "redrive",
    "selected",
    "sources",
]

_NUMBERS = {
    "DelaySeconds": (0, 900),
    "KmsDataKeyReusePeriodSeconds": (60, 86_400),
    "MaximumMessageSize": (1_024, 1_048_576),
    "MessageRetentionPeriod": (60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, 43_200),
}
_FLAG = ("true", "false")
_WORDS = {
    "ContentBasedDeduplication": _FLAG,
    "DeduplicationScope": ("queue", "messageGroup"),
    "FifoQueue": _FLAG,
    "FifoThroughputLimit": ("perQueue", "perMessageGroupId"),
    "SqsManagedSseEnabled": _FLAG,
}
_TEXTS = ("KmsMasterKeyId", "Policy", "RedriveAllowPolicy", "RedrivePolicy")
_FIFO_ONLY = ("ContentBasedDeduplication", "DeduplicationScope", "FifoQueue", "FifoThroughputLimit")
_COUNTED = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
)
_DEFAULTS = {
    "VisibilityTimeout": "30",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "DelaySeconds": "0",
    "ReceiveMessageWaitTimeSeconds": "0",
    "SqsManagedSseEnabled": "true",
}
_FIFO_DEFAULTS = {
    "FifoQueue": "true",
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoThroughputLimit": "perQueue",
}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_RECEIVES_MAX = 1_000
_SOURCES_MAX = 10


@value
class Redrive:
    """Where a queue's messages go after too many receives. target: name of the dead-letter queue."""

    target: str
    max_receives: int


def normalized_flags(given: Mapping[str, str]) -> dict[str, str]:
    """The attributes with flags in lower case: the service also accepts what Python's `str(True)` writes."""
    return {
        name: text.lower() if _WORDS.get(name) == _FLAG and text.lower() in _FLAG else text
        for name, text in given.items()
    }


def check_creation(name: str | None, attributes: Mapping[str, str]) -> str:
    """The name, if a queue of that name may have these attributes. Raises SqsError."""
    is_fifo = attributes.get("FifoQueue", "false") == "true"
    text = name or ""
    if is_fifo and not (text.endswith(".fifo") and len(text) <= 80 and _NAME.fullmatch(text[:-5])):
        raise invalid_parameter(
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with "
            ".fifo suffix and be 1 to 80 in length"
        )
    if not is_fifo and not _NAME.fullmatch(text):
        raise invalid_parameter("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
    return text


def changed(old: Mapping[str, str], given: Mapping[str, str], *, is_fifo: bool, is_new: bool) -> dict[str, str]:
    """The attributes after `given` was set; an empty policy removes it. Raises SqsError for the first invalid one."""
    new = dict(old)
    for name, text in given.items():
        _check(name, text, is_fifo=is_fifo, is_new=is_new)
        if text == "" and name in _TEXTS:
            new.pop(name, None)
        else:
            new[name] = text
    if given.get("KmsMasterKeyId") and given.get("SqsManagedSseEnabled") == "true":
        raise SqsError(
            "InvalidAttributeName",
            "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS "
            "SSE.",
        )
    if given.get("KmsMasterKeyId"):
        new["SqsManagedSseEnabled"] = "false"
    if given.get("SqsManagedSseEnabled") == "true":
        new.pop("KmsMasterKeyId", None)
    if new.get("FifoThroughputLimit") == "perMessageGroupId" and new.get("DeduplicationScope") != "messageGroup":
        raise invalid_attribute_value(
            "FifoThroughputLimit",
            "The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup.",
        )
    return new


def _check(name: str, text: str, *, is_fifo: bool, is_new: bool) -> None:
    if name in _FIFO_ONLY and not is_fifo:
        if name == "FifoQueue":
            raise invalid_attribute_name(name)
        raise SqsError("InvalidAttributeName", f"You can specify the {name} only when FifoQueue is set to true.")
    if name == "FifoQueue" and not is_new and text != "true":
        raise invalid_attribute_value(name, "Modifying queue type is not supported.")
    if bounds := _NUMBERS.get(name):
        if not re.fullmatch(r"\d{1,9}", text) or not bounds[0] <= int(text) <= bounds[1]:
            raise invalid_attribute_value(name)
    elif words := _WORDS.get(name):
        if text not in words:
            raise invalid_attribute_value(name)
    elif name == "Policy":
        if text:
            _json_object(text, invalid_attribute_value(name))
    elif name == "RedriveAllowPolicy":
        _check_allow(text)
    elif name not in _TEXTS:
        raise invalid_attribute_name(name)


def number(queue: Queue, name: str) -> int:
    """The value of a number attribute, or its default."""
    return int(queue.attributes.get(name) or _DEFAULTS[name])


def flag(queue: Queue, name: str) -> bool:
    """The value of a true-or-false attribute, or its default."""
    return (queue.attributes.get(name) or {**_DEFAULTS, **_FIFO_DEFAULTS}[name]) == "true"


def difference(queue: Queue, given: Mapping[str, str]) -> str | None:
    """The first attribute in `given` that has another value on the queue; None when all are equal."""
    present = _with_defaults(queue)
    for name, text in given.items():
        if name not in _COUNTED and present.get(name, "") != text:
            return name
    return None


def selected(queue: Queue, names: Iterable[str], counts: Counts, account: str) -> dict[str, str]:
    """The requested attributes. Raises InvalidAttributeName for one that doesn't exist."""
    known = {
        "QueueArn": arn(queue.name, queue.region, account),
        "ApproximateNumberOfMessages": str(counts.visible),
        "ApproximateNumberOfMessagesNotVisible": str(counts.in_flight),
        "ApproximateNumberOfMessagesDelayed": str(counts.delayed),
        "CreatedTimestamp": str(int(queue.created_at)),
        "LastModifiedTimestamp": str(int(queue.modified_at)),
        **_with_defaults(queue),
    }
    wanted = list(names)
    if unknown := [name for name in wanted if name != "All" and not _exists(name)]:
        raise invalid_attribute_name(unknown[0])
    if "All" in wanted:
        return known
    return {name: known[name] for name in wanted if name in known}


def _exists(name: str) -> bool:
    return name in _COUNTED or name in _NUMBERS or name in _WORDS or name in _TEXTS


def _with_defaults(queue: Queue) -> dict[str, str]:
    defaults = {**_DEFAULTS, **_FIFO_DEFAULTS} if queue.is_fifo else _DEFAULTS
    settled = {**defaults, **queue.attributes}
    if queue.policy:
        settled["Policy"] = queue.policy
    if "KmsMasterKeyId" not in settled:
        settled.pop("KmsDataKeyReusePeriodSeconds", None)
    return settled


def redrive(text: str) -> Redrive | None:
    """A parsed RedrivePolicy; None for an empty text. Raises SqsError when it is invalid."""
    if not text:
        return None
    wrong = invalid_parameter_for("RedrivePolicy", text, "Redrive policy is not a valid JSON map.")
    data = _json_object(text, wrong)
    for name in ("deadLetterTargetArn", "maxReceiveCount"):
        if name not in data:
            raise invalid_parameter_for(
                "RedrivePolicy", text, f"Redrive policy does not contain mandatory attribute: {name}."
            )
    target = parse_arn(str(data["deadLetterTargetArn"]))
    if target is None:
        raise invalid_parameter_for("RedrivePolicy", text, "Invalid value for deadLetterTargetArn.")
    count = str(data["maxReceiveCount"])
    if not re.fullmatch(r"\d{1,9}", count) or not 1 <= int(count) <= _RECEIVES_MAX:
        raise invalid_parameter_for(
            "RedrivePolicy",
            text,
            f"Invalid value for maxReceiveCount: {count}, valid values are from 1 to {_RECEIVES_MAX} both inclusive.",
        )
    return Redrive(target[2], int(count))


def allows_source(queue: Queue, source_arn: str) -> bool:
    """Whether a queue's RedriveAllowPolicy lets it be the dead-letter queue of another."""
    text = queue.attributes.get("RedriveAllowPolicy")
    if not text:
        return True
    data = json.loads(text)
    permission = data.get("redrivePermission", "allowAll")
    return permission == "allowAll" or (permission == "byQueue" and source_arn in data.get("sourceQueueArns", ()))


def sources(queues: Iterable[Queue], target: Queue) -> list[Queue]:
    """Those of the queues that have `target` as their dead-letter queue."""
    found = []
    for queue in queues:
        policy = redrive(queue.attributes.get("RedrivePolicy", ""))
        if policy is not None and policy.target == target.name:
            found.append(queue)
    return found


def _check_allow(text: str) -> None:
    if not text:
        return
    data = _json_object(text, invalid_parameter_for("RedriveAllowPolicy", text, "It is not a valid JSON map."))
    permission = data.get("redrivePermission")
    sources = data.get("sourceQueueArns")
    if unknown := set(data) - {"redrivePermission", "sourceQueueArns"}:
        raise invalid_parameter_for("RedriveAllowPolicy", text, f"It contains the unknown attribute {min(unknown)}.")
    if permission not in {"allowAll", "denyAll", "byQueue"}:
        raise invalid_parameter_for(
            "RedriveAllowPolicy", text, "redrivePermission must be one of allowAll, denyAll, byQueue."
        )
    if (permission == "byQueue") != bool(sources):
        raise invalid_parameter_for(
            "RedriveAllowPolicy",
            text,
            "sourceQueueArns must be given when redrivePermission is byQueue, and only then.",
        )
    if sources and (not isinstance(sources, list) or len(sources) > _SOURCES_MAX or not all(map(_is_arn, sources))):
        raise invalid_parameter_for(
            "RedriveAllowPolicy", text, f"sourceQueueArns must be a list of 1 to {_SOURCES_MAX} queue ARNs."
        )


def _is_arn(item: object) -> bool:
    return isinstance(item, str) and parse_arn(item) is not None


def _json_object(text: str, wrong: SqsError) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise wrong from None
    if not isinstance(data, dict):
        raise wrong
    return data
