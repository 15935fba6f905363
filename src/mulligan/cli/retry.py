"""Sending with a broker's confirm: repeats what may succeed later, for a bounded time, and never gives up silently."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from mulligan.brokers.base import Broker
from mulligan.core.delivery import EntryFault, Fault, Outgoing
from mulligan.core.error import BrokerUnavailable
from mulligan.core.message import QueueName

__all__ = ["WAITS_S", "confirmed", "released"]

WAITS_S = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Waits between the tries of one batch: six tries, 8 s."""

Sleep = Callable[[float], Awaitable[None]]


async def confirmed(
    broker: Broker, queue: QueueName, entries: Sequence[Outgoing], *, sleep: Sleep = asyncio.sleep
) -> list[EntryFault | None]:
    """One answer an entry: None when it is durable on the queue.

    Entries that failed for a passing reason are sent again as they are, so a repeat that was no failure makes a
    duplicate of the same id. After the last try they have the fault RETRY. At most Features.max_batch entries. Raises
    BrokerRefused.
    """
    return await _insisting(lambda some: broker.send(queue, [entries[at] for at in some]), len(entries), sleep)


async def released(
    broker: Broker, queue: QueueName, receipts: Sequence[str], *, sleep: Sleep = asyncio.sleep
) -> list[EntryFault | None]:
    """Give messages back at once; one answer an entry. At most Features.max_batch. Raises BrokerRefused."""
    return await _insisting(
        lambda some: broker.release(queue, [(receipts[at], 0.0) for at in some]), len(receipts), sleep
    )


async def _insisting(
    call: Callable[[list[int]], Awaitable[list[EntryFault | None]]], count: int, sleep: Sleep
) -> list[EntryFault | None]:
    answers: list[EntryFault | None] = [None] * count
    left = list(range(count))
    for wait_s in (*WAITS_S, None):
        try:
            results = await call(left)
        except BrokerUnavailable as exc:
            results = [EntryFault(Fault.RETRY, str(exc))] * len(left)
        for at, result in zip(left, results, strict=True):
            answers[at] = result
        left = [at for at in left if (fault := answers[at]) is not None and fault.fault is Fault.RETRY]
        if not left or wait_s is None:
            break
        await sleep(wait_s)
    return answers
