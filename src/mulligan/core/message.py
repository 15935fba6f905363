"""What is consumed: one message, whatever the broker."""

from collections.abc import Mapping
from typing import NewType

from mulligan.core.value import value

__all__ = ["AttributeValue", "Message", "QueueName", "TaskName", "Typed", "Uid"]

QueueName = NewType("QueueName", str)
TaskName = NewType("TaskName", str)
Uid = NewType("Uid", str)


@value
class Typed:
    """An attribute whose type on the broker is neither plain text nor plain bytes, carried through unchanged.

    kind: the broker's own name of the type, e.g. "Number" or "String.json" on SQS.
    value: as the broker gave it; a number stays text, so that "1.50" stays "1.50".
    """

    kind: str
    value: str | bytes


AttributeValue = str | bytes | Typed


@value
class Message:
    """One message, immutable, the same on every attempt of every task.

    uid: the identity of the message over all its copies (see `core.fingerprint`).
    body: as it was sent; text brokers give UTF-8.
    attributes: what the producer set, without mulligan's own.
    sent_at: epoch seconds (UTC) at which the producer's message entered the broker; of its first receipt where nobody
    tells (RabbitMQ, without a timestamp).
    """

    uid: Uid
    body: bytes
    attributes: Mapping[str, AttributeValue]
    sent_at: float

    @property
    def text(self) -> str:
        """The body as text. Raises UnicodeDecodeError when it is not UTF-8."""
        return self.body.decode()
