"""The seam's side of the embedded queue."""

import asyncio
import contextlib
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from mulligan.brokers.base import Clock, Declared, Features, Owners, Queues, not_there
from mulligan.brokers.limit import batch_fault, delay_fault, lease_fault, size_fault
from mulligan.brokers.sqlite import attribute, store
from mulligan.brokers.sqlite.notifier import Notifier
from mulligan.core.clock import Lead
from mulligan.core.delivery import Delivery, Depth, EntryFault, Fault, Outgoing
from mulligan.core.error import BrokerError, BrokerRefused, BrokerUnavailable
from mulligan.core.message import AttributeValue, QueueName
from mulligan.storage.fault import ErrorTypes
from mulligan.storage.sqlite import Database

__all__ = ["SqliteBroker"]

FEATURES = Features(
    max_batch=100,
    max_pollers=1,
    max_delay_s=10 * 365 * 86_400.0,
    max_lease_s=43_200.0,
    time_unit_s=0.001,
    max_message_bytes=16 * 2**20,
    cancels_receive=True,
)
AT_ONCE = 0.0  # before all that waits: what was begun once, by a worker that died say, is not to queue up again
LOOK_EVERY_S = 1.0  # a waiting receiver polls this often, in case a notification is lost
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class SqliteBroker:
    """Queues in a SQLite file that any number of processes of this host share."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._database = Database(path, store.LAYOUT, ErrorTypes(BrokerUnavailable, BrokerRefused))
        self._bell = Notifier(path.with_name(f"{path.name}-wake"))
        self._numbers: dict[str, int] = {}
        self._offset_s = 0.0
        self._is_closed = False

    @property
    def lead(self) -> Lead | None:
        """See the seam."""
        return None

    @property
    def billed(self) -> Mapping[str, int]:
        """See the seam."""
        return {}

    @property
    def features(self) -> Features:
        """See the seam."""
        return FEATURES

    async def declare(self, queues: Queues, *, create: bool, only: QueueName | None = None) -> Declared:  # noqa: ARG002
        """See the seam. Also raises ConfigurationError or StorageBroken when the file can't be used."""
        await self._database.open()
        anchor = partial(store.anchor, _boot_id(), self._clock.now(), self._clock.monotonic())
        self._offset_s = await self._database.run(anchor)
        created: list[str] = []
        if create:
            created = await self._database.run(partial(store.create, queues.all))
        self._numbers = await self._database.read(store.names)
        missing = [name for name in queues.all if name not in self._numbers]
        problems = (not_there(missing, f"queue database {self._path} has {self._known()}"),) if missing else ()
        return Declared(tuple(QueueName(name) for name in created), problems, missing=tuple(missing))

    async def owners(self, queues: Queues) -> Owners:  # noqa: ARG002
        """Nothing to say."""
        return Owners()

    async def receive(self, queue: QueueName, max_count: int, *, wait_s: float, lease_s: float) -> list[Delivery]:
        """See the seam."""
        if fault := lease_fault(lease_s, FEATURES):
            self._refuse(fault.reason)
        try:
            number = await self._number(queue)
            deliveries = await self._take(queue, number, max_count, lease_s)
            if deliveries or wait_s <= 0 or max_count <= 0:
                return deliveries
            return await self._wait(queue, number, max_count, wait_s=wait_s, lease_s=lease_s)
        except BrokerError:
            if self._is_closed:
                return []
            raise

    async def _take(self, queue: QueueName, number: int, max_count: int, lease_s: float) -> list[Delivery]:
        now = self._time()
        job = partial(store.take, number, now, now + lease_s, max(0, min(max_count, FEATURES.max_batch)))
        taking = asyncio.ensure_future(self._database.run(job))
        try:
            rows = await asyncio.shield(taking)
        except asyncio.CancelledError:
            # what was taken all the same would be hidden for a whole lease
            taken = [_delivery(queue, row) for row in await taking]
            await self.release(queue, [(delivery.receipt, 0.0) for delivery in taken])
            raise
        return [_delivery(queue, row) for row in rows]

    async def _wait(
        self, queue: QueueName, number: int, max_count: int, *, wait_s: float, lease_s: float
    ) -> list[Delivery]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        with self._bell.listening(number) as rung:
            while not self._is_closed:
                rung.clear()
                due_at = await self._look(number)
                if due_at <= self._time():
                    deliveries = await self._take(queue, number, max_count, lease_s)
                    if deliveries:
                        return deliveries
                left_s = deadline - loop.time()
                if left_s <= 0:
                    return []
                due_in_s = max(due_at - self._time(), FEATURES.time_unit_s)
                await _rung_within(rung, min(left_s, LOOK_EVERY_S, due_in_s))
        return []

    async def _look(self, number: int) -> float:
        due_at = await self._database.read(partial(store.next_due, number))
        return math.inf if due_at is None else due_at

    async def rest(self, queue: QueueName) -> None:
        """Nothing is fetched ahead."""

    async def send(self, queue: QueueName, entries: Sequence[Outgoing]) -> list[EntryFault | None]:
        """See the seam."""
        number = await self._number(queue, len(entries))
        answers = [size_fault(entry, FEATURES) or delay_fault(entry.delay_s, FEATURES) for entry in entries]
        good = [entry for entry, fault in zip(entries, answers, strict=True) if fault is None]
        if good:
            now = self._time()
            contents = [(entry.body, attribute.encode(entry.attributes)) for entry in good]
            visible_at = [now + entry.delay_s for entry in good]
            await self._database.run(partial(store.send, number, contents, visible_at, self._clock.now()))
            self._ring(number, min(entry.delay_s for entry in good))
        return answers

    async def ack(self, queue: QueueName, receipts: Sequence[str]) -> list[EntryFault | None]:
        """See the seam. A message that is gone altogether is acknowledged: a repeated call succeeds."""
        number = await self._number(queue, len(receipts))
        if not receipts:
            return []
        parsed = [self._parsed(receipt) for receipt in receipts]
        left = await self._database.run(partial(store.acknowledge, number, parsed))
        if not left:
            return [None] * len(receipts)
        return [_lost(receipt) if parsed[i][0] in left else None for i, receipt in enumerate(receipts)]

    async def release(self, queue: QueueName, entries: Sequence[tuple[str, float]]) -> list[EntryFault | None]:
        """See the seam."""
        number = await self._number(queue, len(entries))
        faults = [delay_fault(delay_s, FEATURES) for _, delay_s in entries]
        moves = self._moves(entries, faults)
        if not moves:
            return faults
        moved = await self._database.run(partial(store.release, number, moves))
        self._ring(number, min(visible_at for _, _, visible_at in moves) - self._time())
        return self._answers(entries, faults, moved)

    async def extend(self, queue: QueueName, entries: Sequence[tuple[str, float]]) -> list[EntryFault | None]:
        """See the seam. A lease that is over can be extended as long as nobody else received the message."""
        number = await self._number(queue, len(entries))
        faults = [lease_fault(lease_s, FEATURES) for _, lease_s in entries]
        moves = self._moves(entries, faults)
        if not moves:
            return faults
        return self._answers(entries, faults, await self._database.run(partial(store.extend, number, moves)))

    async def depth(self, queue: QueueName) -> Depth:
        """See the seam."""
        number = await self._number(queue)
        job = partial(store.depth, number, self._time())
        ready, delayed, leased, oldest = await self._database.read(job)
        age_s = None if oldest is None else max(0.0, self._clock.now() - oldest)
        return Depth(ready, delayed, leased, age_s)

    async def attributes(self, queue: QueueName, max_count: int) -> list[Mapping[str, AttributeValue]] | None:
        """See the seam."""
        number = await self._number(queue)
        found = await self._database.read(partial(store.attributes, number, max_count))
        return [attribute.decode(one) for one in found]

    async def purge(self, queue: QueueName) -> None:
        """See the seam. In pieces; messages sent after its beginning stay."""
        number = await self._number(queue)
        up_to_id = await self._database.read(store.newest_id)
        while await self._database.run(partial(store.purge, number, up_to_id)):
            pass

    async def close(self) -> None:
        """See the seam."""
        self._is_closed = True
        self._bell.wake_all()
        await self._database.close()
        self._bell.close()

    def _time(self) -> float:
        return self._clock.monotonic() + self._offset_s

    def _ring(self, number: int, due_in_s: float) -> None:
        # a waiting receiver polls every second, and sets a timer for what is due until then
        if due_in_s <= LOOK_EVERY_S:
            self._bell.ring(number)

    async def _number(self, queue: QueueName, count: int = 0) -> int:
        if fault := batch_fault(count, FEATURES):
            self._refuse(fault.reason)
        number = self._numbers.get(queue)
        if number is None:
            # another process may have created it since
            self._numbers = await self._database.read(store.names)
            number = self._numbers.get(queue)
        if number is None:
            raise BrokerRefused(self._missing(queue))
        return number

    def _missing(self, queue: str) -> str:
        return (
            f"queue database {self._path}: there is no queue {queue!r} (there are: {self._known()})."
            " `mulligan setup` makes it; or correct its name."
        )

    def _known(self) -> str:
        return ", ".join(self._numbers) or "none"

    def _moves(self, entries: Sequence[tuple[str, float]], faults: Sequence[EntryFault | None]) -> list[store.Move]:
        now = self._time()
        return [
            (*self._parsed(receipt), now + seconds if seconds > 0 else AT_ONCE)
            for (receipt, seconds), fault in zip(entries, faults, strict=True)
            if fault is None
        ]

    def _answers(
        self, entries: Sequence[tuple[str, float]], faults: Sequence[EntryFault | None], moved: set[tuple[int, int]]
    ) -> list[EntryFault | None]:
        return [
            fault or (None if self._parsed(receipt) in moved else _lost(receipt))
            for (receipt, _), fault in zip(entries, faults, strict=True)
        ]

    def _parsed(self, receipt: str) -> tuple[int, int]:
        number, _, count = receipt.partition(".")
        if not (number.isdecimal() and count.isdecimal()):
            self._refuse(f"{receipt!r} is not a receipt of this broker")
        return int(number), int(count)

    def _refuse(self, reason: str) -> NoReturn:
        raise BrokerRefused(f"queue database {self._path}: {reason}.")


def _delivery(queue: QueueName, row: store.Row) -> Delivery:
    return Delivery(
        queue=queue,
        receipt=f"{row.id}.{row.receive_count}",
        id=str(row.id),
        body=row.body,
        attributes=attribute.decode(row.attributes),
        sent_at=row.sent_at,
        receive_count=row.receive_count,
    )


def _lost(receipt: str) -> EntryFault:
    return EntryFault(Fault.LEASE_LOST, f"receipt {receipt}: the message was received again, released or removed")


def _boot_id() -> str | None:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return None


async def _rung_within(rung: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await rung.wait()
