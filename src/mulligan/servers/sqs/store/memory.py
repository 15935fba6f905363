"""The store for tests and benchmarks: everything in dictionaries, gone with the process.

`records` has all messages. One is either `visible` (may be received) or has a time in `due` (comes back then), or
neither (taken in this step). `ready` and the heap `hidden` tell which is next; their entries that no longer fit are
passed over when they come up, which is cheaper than looking for them when something changes.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from mulligan.servers.sqs.store.protocol import TASKS_KEPT, Counts, Draft, MoveTask, Queue, Record, Seen

__all__ = ["MemoryStore"]

T = TypeVar("T")

_DROPPED_KEPT = 10_000
_STALE_MAX = 10_000
"""So many entries of a shelf's lines may lead nowhere, beyond as many as there are messages; then they are removed."""


class MemoryStore:
    """All queues of one server."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._queues: dict[str, Queue] = {}
        self._shelves: dict[str, _Shelf] = {}
        self._dropped: dict[str, float] = {}
        self._tasks: dict[str, MoveTask] = {}
        self._last_id = 0

    def queues(self) -> list[Queue]:
        """All queues in order of their names."""
        return [self._queues[name] for name in sorted(self._queues)]

    def queue(self, name: str) -> Queue | None:
        """One queue."""
        return self._queues.get(name)

    def save_queue(self, queue: Queue) -> None:
        """Create a queue, or put a new value in its place."""
        self._queues[queue.name] = queue
        if queue.name not in self._shelves:
            self._shelves[queue.name] = _FifoShelf() if queue.is_fifo else _Shelf()

    def drop_queue(self, name: str, at: float) -> None:
        """Remove a queue with its messages."""
        self._queues.pop(name, None)
        self._shelves.pop(name, None)
        self._dropped.pop(name, None)
        self._dropped[name] = at
        if len(self._dropped) > _DROPPED_KEPT:
            del self._dropped[next(iter(self._dropped))]

    def dropped_at(self, name: str) -> float | None:
        """When a queue of that name was last removed."""
        return self._dropped.get(name)

    def add(self, queue: Queue, drafts: Sequence[Draft]) -> list[Record]:
        """Put messages in."""
        shelf = self._shelves[queue.name]
        added: list[Record] = []
        for given in drafts:
            self._last_id += 1
            draft = given if given.message_id else replace(given, message_id=self._new_id())
            record = Record(
                self._last_id, draft, draft.receive_count, draft.first_received_at, draft.due_at, is_leased=False
            )
            shelf.put(record)
            added.append(record)
        return added

    def take(self, queue: Queue, limit: int, now: float) -> list[Record]:
        """Messages that may be received."""
        shelf = self._shelves[queue.name]
        shelf.wake(now)
        return shelf.take(limit)

    def lease(self, queue: Queue, records: Sequence[Record], now: float, until: float) -> list[Record]:
        """Count a receipt for each and hide it."""
        shelf = self._shelves[queue.name]
        leased = [
            Record(item.id, item.draft, item.receive_count + 1, item.first_received_at or now, until, is_leased=True)
            for item in records
        ]
        for item in leased:
            shelf.put(item)
        return leased

    def find(self, queue: Queue, ids: Iterable[int]) -> dict[int, Record]:
        """Those that are still there."""
        records = self._shelves[queue.name].records
        return {number: records[number] for number in ids if number in records}

    def remove(self, queue: Queue, ids: Sequence[int]) -> None:
        """Remove messages."""
        shelf = self._shelves[queue.name]
        for number in ids:
            shelf.remove(number)

    def set_due(self, queue: Queue, ids: Sequence[int], due_at: float, *, is_leased: bool) -> None:
        """Let messages come back at that time."""
        shelf = self._shelves[queue.name]
        for number in ids:
            if old := shelf.records.get(number):
                shelf.put(
                    Record(number, old.draft, old.receive_count, old.first_received_at, due_at, is_leased=is_leased)
                )

    def purge(self, queue: Queue) -> None:
        """Remove all messages, and what is remembered of them."""
        self._shelves[queue.name].clear()

    def expire(self, queue: Queue, before: float) -> None:
        """Remove messages that entered a queue before that time.

        Only from the oldest arrival on, so that it costs nothing when nothing is old; the rest is seen by `take`.
        """
        shelf = self._shelves[queue.name]
        while shelf.records:
            oldest = next(iter(shelf.records.values()))
            if oldest.draft.sent_at >= before:
                return
            shelf.remove(oldest.id)

    def counts(self, queue: Queue, now: float) -> Counts:
        """How full the queue is."""
        shelf = self._shelves[queue.name]
        shelf.wake(now)
        return Counts(len(shelf.visible), shelf.leased_count, len(shelf.due) - shelf.leased_count)

    def in_flight(self, queue: Queue, now: float) -> int:
        """How many of its messages are leased."""
        shelf = self._shelves[queue.name]
        shelf.wake(now)
        return shelf.leased_count

    def next_due(self, queue: Queue, now: float) -> float | None:
        """When the next hidden message comes back."""
        shelf = self._shelves[queue.name]
        shelf.wake(now)
        return shelf.hidden[0][0] if shelf.hidden else None

    def recall(self, queue: Queue, key: str, now: float) -> Seen | None:
        """What was remembered under a key."""
        return self._shelves[queue.name].seen.get(key, now)

    def remember(self, queue: Queue, key: str, seen: Seen, now: float, until: float) -> None:
        """Remember a send."""
        self._shelves[queue.name].seen.put(key, seen, now, until)

    def recall_attempt(self, queue: Queue, attempt: str, now: float) -> tuple[str, ...]:
        """What a receive attempt was given."""
        return self._shelves[queue.name].attempts.get(attempt, now) or ()

    def remember_attempt(self, queue: Queue, attempt: str, given: tuple[str, ...], now: float, until: float) -> None:
        """Remember a receive attempt."""
        self._shelves[queue.name].attempts.put(attempt, given, now, until)

    def tasks(self) -> list[MoveTask]:
        """All move tasks, the newest first."""
        return list(self._tasks.values())[::-1]

    def save_task(self, task: MoveTask) -> None:
        """Keep a move task."""
        self._tasks[task.id] = task
        if len(self._tasks) > TASKS_KEPT:
            ended = next((one.id for one in self._tasks.values() if one.status != "RUNNING"), task.id)
            del self._tasks[ended]


class _Memory(Generic[T]):
    """What is known for a time. All entries live equally long, so the oldest is always the next to go."""

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


class _Shelf:
    """The messages of one standard queue."""

    def __init__(self) -> None:
        self.records: dict[int, Record] = {}
        self.hidden: list[tuple[float, int]] = []
        self.due: dict[int, float] = {}  # of the hidden ones: what tells a live entry of the heap from an old one
        self.visible: dict[int, float] = {}  # since when
        self.leased_count = 0
        self.ready: deque[tuple[float, int]] = deque()
        self.seen: _Memory[Seen] = _Memory()
        self.attempts: _Memory[tuple[str, ...]] = _Memory()

    def clear(self) -> None:
        """Forget all messages, and which were seen: what is sent again after a purge is a new message."""
        for number in list(self.records):
            self.remove(number)
        self.hidden.clear()
        self.ready.clear()
        self.seen = _Memory()
        self.attempts = _Memory()

    def put(self, record: Record) -> None:
        """Keep a record and hide it until it is due; one that is due already comes up at the next `wake`."""
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
        """Let what is due be received."""
        hidden, due = self.hidden, self.due
        while hidden and (hidden[0][0] <= now or due.get(hidden[0][1]) != hidden[0][0]):
            due_at, number = heappop(hidden)
            if due.get(number) == due_at:
                self._unhide(number)
                self.visible[number] = due_at
                self._show(number, due_at)

    def take(self, limit: int) -> list[Record]:
        """The oldest receivable messages."""
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
        """Remove what leads nowhere: one message that is hidden again and again would leave an entry each time."""
        if len(self.hidden) > 2 * len(self.due) + _STALE_MAX:
            self.hidden = [(due_at, number) for number, due_at in self.due.items()]
            heapify(self.hidden)
        if len(self.ready) > 2 * len(self.visible) + _STALE_MAX:
            self.ready = deque((since, number) for since, number in self.ready if self.visible.get(number) == since)

    def _unhide(self, number: int) -> None:
        if self.due.pop(number, None) is not None:
            self.leased_count -= self.records[number].is_leased


class _FifoShelf(_Shelf):
    """The messages of one FIFO queue: groups side by side, each in order.

    What can't be received now, be it in flight or delayed, blocks what comes after it in its group, and nothing before.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: dict[str, deque[int]] = {}  # a group's messages in order, those removed since included
        self._open: dict[str, None] = {}  # groups that may have something to give, the longest unserved first

    def clear(self) -> None:
        """Forget all messages and groups."""
        super().clear()
        self._open.clear()

    def put(self, record: Record) -> None:
        """Keep a record at its place in its group."""
        is_new = record.id not in self.records
        super().put(record)
        if is_new:
            self._lines.setdefault(record.draft.group or "", deque()).append(record.id)

    def remove(self, number: int) -> None:
        """Forget a record, and its group with the last of it; what it blocked may be received."""
        record = self.records.get(number)
        super().remove(number)
        if record is not None:
            self._trim(record.draft.group or "")

    def take(self, limit: int) -> list[Record]:
        """Messages of open groups, as many of one group as there are, in order."""
        taken: list[Record] = []
        for group in list(self._open):
            if len(taken) == limit:
                break
            found = self._heads(group, limit - len(taken))
            taken += found
            del self._open[group]  # opened again when a message of it comes back, or one that blocks is removed
            if found:
                self._open[group] = None
        return taken

    def _heads(self, group: str, limit: int) -> list[Record]:
        heads: list[Record] = []
        for number in self._lines.get(group, ()):
            if len(heads) == limit or (number in self.records and number not in self.visible):
                break
            if number in self.records:
                heads.append(self.records[number])
        for record in heads:
            del self.visible[record.id]
        return heads

    def _show(self, number: int, since: float) -> None:  # noqa: ARG002 - order is the group's, not by time
        self._open.setdefault(self.records[number].draft.group or "")

    def _trim(self, group: str) -> None:
        line = self._lines.get(group)
        while line and line[0] not in self.records:
            line.popleft()
        if line:
            self._open.setdefault(group)
        elif line is not None:
            del self._lines[group]
            self._open.pop(group, None)
