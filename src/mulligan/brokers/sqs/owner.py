"""Whose queues they are, by tags, redrive and messages: the problems and notes. Makes no call.

A queue with the dead messages of another program must not be used as the rejects queue: tasks would get these messages,
and they would be removed. `broker.owners` makes the calls and asks here.
"""

from collections.abc import Mapping, Sequence

from mulligan.brokers.base import MEANT, Owners
from mulligan.brokers.sqs.setup import PREFIX_TAG, redrive
from mulligan.core.delivery import Delivery, Queues
from mulligan.core.message import QueueName
from mulligan.core.retry_state import ATTRIBUTE
from mulligan.core.value import value

__all__ = ["Sample", "has_unknown_messages", "owners"]

Attributes = Mapping[QueueName, Mapping[str, str]]
Tags = Mapping[QueueName, Mapping[str, str] | None]
"""None for a queue whose tags can't be read."""


@value
class Sample:
    """Some messages of the rejects queue. seen: how many; ours: those that carry a state of mulligan's.

    why: why none could be received; None when they could.
    """

    seen: int
    ours: int
    why: str | None = None

    @classmethod
    def of(cls, deliveries: Sequence[Delivery]) -> "Sample":
        """The sample with these messages."""
        return cls(len(deliveries), sum(ATTRIBUTE in one.attributes for one in deliveries))


def has_unknown_messages(queues: Queues, found: Attributes, tagged: Tags) -> bool:
    """Whether a sample of the rejects queue is needed: there are messages, and nothing else says whose they are."""
    tags = tagged.get(queues.rejects)
    is_open = tags is not None and PREFIX_TAG not in tags and _redrive_problem(queues, found) is None
    return is_open and _depth(found.get(queues.rejects, {})) > 0


def owners(
    queues: Queues, found: Attributes, tagged: Tags, sample: Sample | None, urls: Mapping[QueueName, str]
) -> Owners:
    """The problems and notes. found: attributes of the queues that are there. sample: None where none was needed.

    urls: of queues whose tags could say whose they are.
    """
    notes = {
        name: f"Queue {name}: its tag {PREFIX_TAG} says {tags[PREFIX_TAG]!r}, and COMMON_PREFIX is "
        f"{queues.prefix!r}: is it another application's? Two on one queue take each other's messages."
        for name, tags in tagged.items()
        if tags is not None and tags.get(PREFIX_TAG, queues.prefix) != queues.prefix
    }
    if (problem := _redrive_problem(queues, found)) is not None:
        return Owners((problem,), tuple(notes.values()))
    problems, more = _of_rejects(queues, found, tagged.get(queues.rejects), sample, urls.get(queues.rejects))
    if problems:  # which say whose it is
        notes.pop(queues.rejects, None)
    return Owners(tuple(problems), (*notes.values(), *more))


def _redrive_problem(queues: Queues, found: Attributes) -> str | None:
    target, _ = redrive(found.get(queues.requests, {}))
    arn = found.get(queues.rejects, {}).get("QueueArn")
    if arn is None or target != arn:
        return None
    return (
        f"Queue {queues.rejects}: REJECTS_QUEUE names it, and it is where SQS moves the dead messages of "
        f"{queues.requests} (its redrive): they would be treated as retries, and removed. {_CHOICES}"
    )


def _of_rejects(
    queues: Queues, found: Attributes, tags: Mapping[str, str] | None, sample: Sample | None, url: str | None
) -> tuple[list[str], list[str]]:
    """Problems and notes."""
    name, count = queues.rejects, _depth(found.get(queues.rejects, {}))
    if count == 0:
        return [], []
    if tags is None:
        return [], [
            f"Queue {name}: its owner is unknown, because its tags can't be read. Allow sqs:ListQueueTags "
            f"(mulligan iam-policy)."
        ]
    tag = f"aws sqs tag-queue --queue-url {url} --tags {PREFIX_TAG}={queues.prefix}"
    if (other := tags.get(PREFIX_TAG)) is not None:
        if other == queues.prefix:
            return [], []
        return [
            f"Queue {name}: REJECTS_QUEUE names it, and its tag {PREFIX_TAG} says that it belongs to {other!r}, not to "
            f"{queues.prefix!r} (COMMON_PREFIX); what is on it (about {count:,}) would be treated as retries. "
            f"{_CHOICES} If {other!r} was your own prefix before: {tag}"
        ], []
    if sample is None or sample.why is not None or sample.seen == 0:
        why = "can't be seen now" if sample is None or sample.why is None else f"can't be inspected ({sample.why})"
        return [], [
            f"Queue {name}: it has no tag {PREFIX_TAG}, and what is on it (about {count:,}) {why}: its owner is "
            f"unknown.{f' If it is yours: {tag}' if url is not None else ''}"
        ]
    if sample.ours:
        return [], []
    return [
        f"Queue {name}: REJECTS_QUEUE names it, it has no tag {PREFIX_TAG}; {sample.seen} of about {count:,} messages "
        f"on it were inspected, and none carries mulligan's state: it seems to belong to another program, perhaps a "
        f"dead-letter queue. {_CHOICES}{f' Or tag it: {tag}' if url is not None else ''}"
    ], []


_CHOICES = (
    "REJECTS_QUEUE is the queue of retries: choose a name that is free, or remove the setting; a queue of dead letters "
    f"is DEAD_QUEUE. {MEANT}"
)


def _depth(attributes: Mapping[str, str]) -> int:
    """About how many messages are on a queue, including delayed ones and those in flight."""
    counts = [attributes.get(f"ApproximateNumberOfMessages{kind}", "") for kind in ("", "Delayed", "NotVisible")]
    return sum(int(count) for count in counts if count.isdecimal())
