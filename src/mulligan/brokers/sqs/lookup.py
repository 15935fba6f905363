"""Queue names to URLs, as the service knows them: `QueueLookup`. What was found is remembered."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from mulligan.brokers.sqs import foreign, setup
from mulligan.brokers.sqs.batch import Queue
from mulligan.brokers.sqs.client import Client
from mulligan.brokers.sqs.error import MISSING_QUEUE, ServiceRefused
from mulligan.brokers.sqs.foreign import Accounts
from mulligan.core.message import QueueName

__all__ = ["QueueLookup"]

NEW_QUEUE_TRIES = 20
"""A queue that was just created can be unknown for a second; asked every 0.5 s."""


class QueueLookup:
    """The queues of one broker. open_client: returns the client, which it opens at first.

    known: queues by name, as far as they were found. accounts: of queues that belong to another account.
    """

    def __init__(self, open_client: Callable[[], Awaitable[Client]]) -> None:
        self._open_client = open_client
        self.known: dict[QueueName, Queue] = {}
        self.accounts: Accounts = {}

    async def queue(self, name: QueueName) -> Queue:
        """The queue. Raises ServiceRefused when it is not there."""
        known = self.known.get(name)
        return known if known is not None else self.remember(name, await self._url(name))

    async def find(self, name: QueueName) -> Queue | None:
        """The queue as the service knows it now; None when it is not there."""
        try:
            return self.remember(name, await self._url(name))
        except ServiceRefused as exc:
            if exc.code in MISSING_QUEUE:
                return None
            raise

    def remember(self, name: QueueName, url: str) -> Queue:
        """The queue with this URL, remembered."""
        queue = self.known[name] = Queue(name, url, setup.is_fifo(name))
        return queue

    async def attributes(self, queue: Queue, names: Sequence[str], *, is_new: bool = False) -> Mapping[str, str]:
        """The queue's attributes of these names. is_new: it was just created, and may be unknown for a moment."""
        client = await self._open_client()
        for left in reversed(range(NEW_QUEUE_TRIES if is_new else 1)):
            try:
                data = {"QueueUrl": queue.url, "AttributeNames": names}
                found = await client.call_object("GetQueueAttributes", data, where=queue.name)
                return {str(key): str(text) for key, text in (found.get("Attributes") or {}).items()}
            except ServiceRefused as exc:
                if left == 0 or exc.code not in MISSING_QUEUE:
                    raise
                await asyncio.sleep(0.5)
        raise AssertionError("the last try returns or raises")

    async def _url(self, name: QueueName) -> str:
        client = await self._open_client()
        found = await client.call_object("GetQueueUrl", foreign.question(name, self.accounts), where=name)
        return str(found["QueueUrl"])
