"""What every action needs: who asks, when, on which store. One scope lives for one action."""

import re
from collections.abc import Callable
from random import Random

from mulligan.core.value import value
from mulligan.servers.sqs.actions import queue_attributes as attribute
from mulligan.servers.sqs.actions.limit import Limits
from mulligan.servers.sqs.store.protocol import Queue
from mulligan.servers.sqs.store.seam import Store
from mulligan.servers.sqs.wire.error import missing_parameter, queue_missing

__all__ = ["NO_TWIST", "Call", "Scope", "Twist", "name_in"]

_URL = re.compile(r"(?:(?:https?://[^/]+)?/(?P<account>\d{12})/)?(?P<name>[A-Za-z0-9_-]{1,80}(?:\.fifo)?)/?")


@value
class Twist:
    """What a receive or a batch does wrong on purpose.

    duplicate_share, failing_share: of the messages or entries that are hit.
    lease_s: instead of the lease that was asked for.
    """

    random: Random
    is_empty: bool = False
    is_reordered: bool = False
    duplicate_share: float = 0.0
    lease_s: float | None = None
    failing_share: float = 0.0
    failing_code: str = ""
    failing_text: str = ""
    is_sender_fault: bool = False


NO_TWIST = Twist(Random(0))  # noqa: S311 - never asked


@value
class Call:
    """One action asked for.

    now: epoch seconds.
    base_url: how the client reached us, e.g. "http://127.0.0.1:9324"; queue URLs begin with it.
    sender: told to receivers as SenderId.
    trace: the request's X-Amzn-Trace-Id, which becomes the AWSTraceHeader of messages that bring none.
    """

    now: float
    account: str
    region: str
    base_url: str
    sender: str
    twist: Twist = NO_TWIST
    trace: str | None = None


def name_in(url: str, account: str) -> str | None:
    """The name of the queue that a URL means, whether it exists or not; None when it means none of this account."""
    found = _URL.fullmatch(url)
    return found["name"] if found is not None and found["account"] in {None, account} else None


class Scope:
    """A call with the store that it works on.

    `woken` collects the queues whose waiting receives must look again: a message is there, or one comes back at another
    time than they know. `has_more`: a receive ended before it had seen all that it may be given.
    """

    __slots__ = ("call", "has_more", "limits", "new_id", "now", "store", "woken")

    def __init__(self, store: Store, limits: Limits, call: Call, new_id: Callable[[], str]) -> None:
        self.store = store
        self.limits = limits
        self.call = call
        self.now = call.now
        self.new_id = new_id
        self.woken: dict[str, None] = {}
        self.has_more = False

    def queue(self, url: str | None) -> Queue:
        """The queue of a URL, or of a bare name. Raises MissingParameter or QueueDoesNotExist."""
        if not url:
            raise missing_parameter("QueueUrl")
        name = name_in(url, self.call.account)
        if name is None:
            raise queue_missing()
        return self.named(name)

    def named(self, name: str) -> Queue:
        """The queue of a name. Raises QueueDoesNotExist."""
        queue = self.store.queue(name)
        if queue is None:
            raise queue_missing()
        return queue

    def by_arn(self, arn: str) -> Queue | None:
        """The queue of an ARN, None when there is none."""
        parsed = attribute.parse_arn(arn)
        if parsed is None or parsed[:2] != (self.call.region, self.call.account):
            return None
        return self.store.queue(parsed[2])

    def url(self, name: str) -> str:
        """A queue's URL, as this client reaches it."""
        return f"{self.call.base_url}/{self.call.account}/{name}"

    def arn(self, queue: Queue) -> str:
        """A queue's ARN."""
        return attribute.arn(queue.name, queue.region, self.call.account)
