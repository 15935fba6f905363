"""Receives whose caller was cancelled: `AbandonedReceives` releases what they still receive.

SQS can't take a receive back. When its caller is cancelled, the request is still on its way, and the messages in its
answer are leased: dropped, they would be hidden from everybody until that lease ends. So `http.Pool.exchange` does not
close the connection then. It passes the future of the answer on, and here the answer is awaited and its messages are
released.
"""

import asyncio
from collections.abc import Sequence

from mulligan.brokers.base import Emit
from mulligan.brokers.sqs import batch, codec
from mulligan.brokers.sqs.batch import Queue
from mulligan.brokers.sqs.client import Client
from mulligan.brokers.sqs.codec import Received
from mulligan.brokers.sqs.http import Response
from mulligan.core.delivery import Fault
from mulligan.core.error import BrokerError
from mulligan.core.event import BrokerWarning

__all__ = ["AbandonedReceives"]


class AbandonedReceives:
    """The abandoned receives of one broker. Emits what could not be released."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.tasks: set[asyncio.Task[None]] = set()
        """One for each answer that is awaited; to be waited for before the client is closed."""

    def take(self, client: Client, at: Queue, answer: "asyncio.Future[Response]") -> None:
        """Await the answer in the background, and release its messages."""
        task = asyncio.get_running_loop().create_task(self._release_answer(client, at, answer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def release(self, client: Client, at: Queue, messages: Sequence[Received]) -> None:
        """Release messages that nobody will process. Never raises; emits a notice about those that stay leased."""
        try:
            faults = await batch.change(client, at, [(item.receipt_handle, 0) for item in messages])
            failures = [one.reason for one in faults if one is not None and one.fault is not Fault.LEASE_LOST]
        except BrokerError as exc:
            failures = [str(exc)]
        if failures:
            text = f"messages of a receive that was cancelled come back when their lease ends: {failures[0]}"
            self._emit(BrokerWarning(at.name, text))

    async def _release_answer(self, client: Client, at: Queue, answer: "asyncio.Future[Response]") -> None:
        try:
            response = await answer
            messages, _ = codec.read_receive(response.body) if response.status == 200 else ([], [])
        except Exception:  # noqa: BLE001  a failed answer has no messages, and there is no caller to report it to
            return
        await self.release(client, at, messages)
