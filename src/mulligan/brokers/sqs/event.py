"""What this adapter has to tell besides results."""

from typing import ClassVar

from mulligan.core.event import Event, Level
from mulligan.core.value import value

__all__ = ["BrokerNotice"]


@value
class BrokerNotice(Event):
    """Something at the broker that a person should know: `text` is a sentence. where: the queue, or the endpoint."""

    level: ClassVar[Level] = "warning"
    where: str
    text: str
