"""The store for tests and benchmarks: everything in dictionaries, gone with the process.

Of each queue, `records` has all messages. A message is either in `visible` (it can be received), in `due` (it becomes
visible at that time), or in neither (taken in this step). `ready` and the heap `hidden` give the next one; their stale
entries are skipped when they come up, which is cheaper than finding them at each change.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from mulligan.servers.sqs.store.protocol import TASKS_KEPT, Counts, DedupEntry, MoveTask, NewMessage, Queue, Record

__all__ = ["MemoryStore"]

T = TypeVar("T")

_DROPPED_KEPT = 10_000
_STALE_MAX = 10_000
"""How many stale entries `hidden` and `ready` may have, beyond the number of live ones, before they are removed."""


class MemoryStore:
    """All queues of one server."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._queues: dict[str, Queue] = {}
        self._contents: dict[str, _Content] = {}
        self._dropped: dict[str, float] = {}
        self._tasks: dict[str, MoveTask] = {}
        self._last_id = 0

    def queues(self) -> list[Queue]:
        """All queues, sorted by name."""
        return [self._queues[name] for name in sorted(self._queues)]

    def queue(self, name: str) -> Queue | None:
        """One queue."""
        return self._queues.get(name)

    def save_queue(self, queue: Queue) -> None:
        """Create a queue, or replace it."""
        self._queues[queue.name] = queue
        if queue.name not in self._contents:
            self._contents[queue.name] = _FifoContent() if queue.is_fifo else _Content()

    def drop_queue(self, name: str, at: float) -> None:
        """Remove a queue with its messages."""
        self._queues.pop(name, None)
        self._contents.pop(name, None)
        self._dropped.pop(name, None)
        self._dropped[name] = at
        if len(self._dropped) > _DROPPED_KEPT:
            del self._dropped[next(iter(self._dropped))]

    def dropped_at(self, name: str) -> float | None:
        """When a queue of that name was last removed."""
        return self._dropped.get(name)

    def add(self, queue: Queue, messages: Sequence[NewMessage]) -> list[Record]:
        """Add messages."""
        content = self._contents[queue.name]
        added: list[Record] = []
        for given in messages:
            self._last_id += 1
            message = given if given.message_id else replace(given, message_id=self._new_id())
            record = Record(
                self._last_id,
                message,
                message.receive_count,
                message.first_received_at,
                message.due_at,
                is_leased=False,
            )
            content.put(record)
            added.append(record)
        return added

    def take(self, queue: Queue, limit: int, now: float) -> list[Record]:
        """Messages that can be received."""
        content = self._contents[queue.name]
        content.wake(now)
        return content.take(limit)

    def lease(self, queue: Queue, records: Sequence[Record], now: float, until: float) -> list[Record]:
        """Count one receive of each and hide it."""
        content = self._contents[queue.name]
        leased = [
            Record(item.id, item.message, item.receive_count + 1, item.first_received_at or now, until, is_leased=True)
            for item in records
        ]
        for item in leased:
            content.put(item)
        return leased

    def find(self, queue: Queue, ids: Iterable[int]) -> dict[int, Record]:
        """The messages that still exist, by id."""
        records = self._contents[queue.name].records
        return {number: records[number] for number in ids if number in records}

    def remove(self, queue: Queue, ids: Sequence[int]) -> None:
        """Remove messages."""
        content = self._contents[queue.name]
        for number in ids:
            content.remove(number)

    def set_due(self, queue: Queue, ids: Sequence[int], due_at: float, *, is_leased: bool) -> None:
        """Make messages visible at that time."""
        content = self._contents[queue.name]
        for number in ids:
            if old := content.records.get(number):
                content.put(
                    Record(number, old.message, old.receive_count, old.first_received_at, due_at, is_leased=is_leased)
                )

    def purge(self, queue: Queue) -> None:
        """Remove all messages, and all remembered sends and receive attempts."""
        self._contents[queue.name].clear()

    def expire(self, queue: Queue, before: float) -> None:
        """Remove messages that entered a queue before that time.

        Stops at the first arrival that is not old, so it costs nothing when nothing is old; a receive removes the rest.
        """
        content = self._contents[queue.name]
        while content.records:
            oldest = next(iter(content.records.values()))
            if oldest.message.sent_at >= before:
                return
            content.remove(oldest.id)

    def counts(self, queue: Queue, now: float) -> Counts:
        """The queue's messages, counted by state."""
        content = self._contents[queue.name]
        content.wake(now)
        return Counts(len(content.visible), content.leased_count, len(content.due) - content.leased_count)

    def in_flight(self, queue: Queue, now: float) -> int:
        """How many of the queue's messages are leased."""
        content = self._contents[queue.name]
        content.wake(now)
        return content.leased_count

    def next_due(self, queue: Queue, now: float) -> float | None:
        """When the next hidden message becomes visible."""
        content = self._contents[queue.name]
        content.wake(now)
        return content.hidden[0][0] if content.hidden else None

    def recall(self, queue: Queue, key: str, now: float) -> DedupEntry | None:
        """The send that is remembered under a key."""
        return self._contents[queue.name].sends.get(key, now)

    def remember(self, queue: Queue, key: str, entry: DedupEntry, now: float, until: float) -> None:
        """Remember a send."""
        self._contents[queue.name].sends.put(key, entry, now, until)

    def recall_attempt(self, queue: Queue, attempt: str, now: float) -> tuple[str, ...]:
        """The receipt handles that a receive attempt returned."""
        return self._contents[queue.name].attempts.get(attempt, now) or ()

    def remember_attempt(self, queue: Queue, attempt: str, handles: tuple[str, ...], now: float, until: float) -> None:
        """Remember a receive attempt."""
        self._contents[queue.name].attempts.put(attempt, handles, now, until)

    def tasks(self) -> list[MoveTask]:
        """All move tasks, the newest first."""
        return list(self._tasks.values())[::-1]

    def save_task(self, task: MoveTask) -> None:
        """Create a move task, or replace it."""
        self._tasks[task.id] = task
        if len(self._tasks) > TASKS_KEPT:
            ended = next((one.id for one in self._tasks.values() if one.status != "RUNNING"), task.id)
            del self._tasks[ended]


class _Expiring(Generic[T]):
    """Values that expire. All live equally long, so the oldest is always the next to expire."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, tuple[float, T]] = OrderedDict()

    def get(self, key: str, now: float) -> T | None:
        known = self._entries.get(key)
        return known[1] if known is not None and known[0] > now else None

    def put(self, key: str, item: T, now: float, until: float) -> None:
        self._entries.pop(key, None)
        self._entries[key] = (until, item)
        while next(iter(self._entries.values()))[0] <= now:
            self._entries.popitem(last=False)


class _Content:
    """The messages of one standard queue."""

    def __init__(self) -> None:
        self.records: dict[int, Record] = {}
        self.hidden: list[tuple[float, int]] = []
        self.due: dict[int, float] = {}  # of hidden messages; an entry of the heap with another time is stale
        self.visible: dict[int, float] = {}  # since when
        self.leased_count = 0
        self.ready: deque[tuple[float, int]] = deque()
        self.sends: _Expiring[DedupEntry] = _Expiring()
        self.attempts: _Expiring[tuple[str, ...]] = _Expiring()

    def clear(self) -> None:
        """Forget all messages and remembered sends: a send that is repeated after a purge is a new message."""
        for number in list(self.records):
            self.remove(number)
        self.hidden.clear()
        self.ready.clear()
        self.sends = _Expiring()
        self.attempts = _Expiring()

    def put(self, record: Record) -> None:
        """Keep a record and hide it until it is due; one that is already due becomes visible at the next `wake`."""
        number = record.id
        self._unhide(number)
        self.visible.pop(number, None)
        self.records[number] = record
        self.due[number] = record.due_at
        self.leased_count += record.is_leased
        heappush(self.hidden, (record.due_at, number))
        self._tidy()

    def remove(self, number: int) -> None:
        """Forget a record."""
        self._unhide(number)
        self.visible.pop(number, None)
        self.records.pop(number, None)

    def wake(self, now: float) -> None:
        """Make visible what is due."""
        hidden, due = self.hidden, self.due
        while hidden and (hidden[0][0] <= now or due.get(hidden[0][1]) != hidden[0][0]):
            due_at, number = heappop(hidden)
            if due.get(number) == due_at:
                self._unhide(number)
                self.visible[number] = due_at
                self._show(number, due_at)

    def take(self, limit: int) -> list[Record]:
        """The oldest visible messages."""
        taken: list[Record] = []
        ready, visible = self.ready, self.visible
        while ready and len(taken) < limit:
            since, number = ready.popleft()
            if visible.get(number) == since:
                del visible[number]
                taken.append(self.records[number])
        return taken

    def _show(self, number: int, since: float) -> None:
        self.ready.append((since, number))

    def _tidy(self) -> None:
        """Remove stale entries: a message that is hidden again and again would leave one each time."""
        if len(self.hidden) > 2 * len(self.due) + _STALE_MAX:
            self.hidden = [(due_at, number) for number, due_at in self.due.items()]
            heapify(self.hidden)
        if len(self.ready) > 2 * len(self.visible) + _STALE_MAX:
            self.ready = deque((since, number) for since, number in self.ready if self.visible.get(number) == since)

    def _unhide(self, number: int) -> None:
        if self.due.pop(number, None) is not None:
            self.leased_count -= self.records[number].is_leased


class _FifoContent(_Content):
    """The messages of one FIFO queue: independent groups, each in order.

    A message that can't be received now (in flight or delayed) blocks the later ones of its group, not the earlier
    ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self._groups: dict[str, deque[int]] = {}  # ids of each group's messages in order, including removed ones
        self._open: dict[str, None] = {}  # groups that may have visible messages, the longest unserved first

    def clear(self) -> None:
        """Forget all messages and groups."""
        super().clear()
        self._open.clear()

    def put(self, record: Record) -> None:
        """Keep a record at its position in its group."""
        is_new = record.id not in self.records
        super().put(record)
        if is_new:
            self._groups.setdefault(record.message.group or "", deque()).append(record.id)

    def remove(self, number: int) -> None:
        """Forget a record, and its group with its last record; messages that it blocked can be received."""
        record = self.records.get(number)
        super().remove(number)
        if record is not None:
            self._trim(record.message.group or "")

    def take(self, limit: int) -> list[Record]:
        """Messages of open groups in order, as many of one group as possible."""
        taken: list[Record] = []
        for group in list(self._open):
            if len(taken) == limit:
                break
            found = self._heads(group, limit - len(taken))
            taken += found
            del self._open[group]  # opened again when a message of it becomes visible, or a blocking one is removed
            if found:
                self._open[group] = None
        return taken

    def _heads(self, group: str, limit: int) -> list[Record]:
        heads: list[Record] = []
        for number in self._groups.get(group, ()):
            if len(heads) == limit or (number in self.records and number not in self.visible):
                break
            if number in self.records:
                heads.append(self.records[number])
        for record in heads:
            del self.visible[record.id]
        return heads

    def _show(self, number: int, since: float) -> None:  # noqa: ARG002 - the order is the group's, not by time
        self._open.setdefault(self.records[number].message.group or "")

    def _trim(self, group: str) -> None:
        ids = self._groups.get(group)
        while ids and ids[0] not in self.records:
            ids.popleft()
        if ids:
            self._open.setdefault(group)
        elif ids is not None:
            del self._groups[group]
            self._open.pop(group, None)
