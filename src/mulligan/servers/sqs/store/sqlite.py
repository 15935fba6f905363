"""The store of the embedded queue: the main job's own tables, and tables beside them for what only SQS has.

A message sent here is an ordinary message of `brokers.sqlite`: the main job's consumers get it, and messages that they
put on rejects and dead can be received here. A row in `sqs_message` exists only for a message with SQS fields (a group,
a trace, the queue that it came from, when it was first received). The main job doesn't know these rows, so `sweep`
removes those whose message is gone. One store lives for one transaction.
"""

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from mulligan.brokers.sqlite import attribute
from mulligan.core.message import AttributeValue
from mulligan.servers.sqs.store.protocol import (
    EMPTY,
    TASKS_KEPT,
    Counts,
    DedupEntry,
    MoveTask,
    NewMessage,
    Queue,
    Record,
)
from mulligan.servers.sqs.wire.schema import uuid_text

__all__ = ["SqliteStore", "moving_regions", "prepare", "sweep"]

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS sqs_queue (name TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS sqs_dropped (number INTEGER PRIMARY KEY, name TEXT NOT NULL, at REAL NOT NULL)",
    """CREATE TABLE IF NOT EXISTS sqs_message (
        id INTEGER PRIMARY KEY, queue INTEGER NOT NULL, message_id TEXT, sender TEXT, grp TEXT, dedup_id TEXT,
        trace TEXT, source TEXT, first_received_at REAL, is_copy INTEGER NOT NULL DEFAULT 0
    )""",
    """CREATE TABLE IF NOT EXISTS sqs_memory (
        queue TEXT, kind TEXT, key TEXT, data TEXT NOT NULL, until REAL NOT NULL, PRIMARY KEY (queue, kind, key)
    ) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS sqs_memory_until ON sqs_memory (until)",
    "CREATE TABLE IF NOT EXISTS sqs_secret (one INTEGER PRIMARY KEY CHECK (one = 1), secret BLOB NOT NULL)",
    "INSERT OR IGNORE INTO sqs_secret VALUES (1, randomblob(16))",
    "CREATE TABLE IF NOT EXISTS sqs_task (id TEXT PRIMARY KEY, started_at REAL NOT NULL, data TEXT NOT NULL)",
)
# created by the first DeleteQueue only, because it costs every sender a little: a process that still has the number of
# a deleted queue must get an error, not lose what it sends
_GUARD = """CREATE TRIGGER IF NOT EXISTS sqs_deleted BEFORE INSERT ON message
    WHEN EXISTS (SELECT 1 FROM sqs_dropped WHERE number = NEW.queue)
    BEGIN SELECT RAISE(ABORT, 'the queue was deleted by DeleteQueue'); END"""

_SENDER = "mulligan"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}(\.fifo)?")

_COLUMNS = """SELECT m.id, m.receive_count, m.visible_at, m.is_leased, m.sent_at, c.body, c.attributes,
    s.message_id, s.sender, s.grp, s.dedup_id, s.trace, s.source, s.first_received_at, s.is_copy"""
_REST = "CROSS JOIN content AS c ON c.id = m.id LEFT JOIN sqs_message AS s ON s.id = m.id"
_RECORD = f"{_COLUMNS} FROM message AS m {_REST}"

_TAKE = f"{_RECORD} WHERE m.queue = ?1 AND m.visible_at <= ?2 ORDER BY m.visible_at, m.id LIMIT ?3"

# a message that can't be received now blocks the later ones of its group, not the earlier ones; as many messages of one
# group as possible come before those of the next
_OPEN = """SELECT id, head FROM (
        SELECT b.id, min(b.id) OVER line AS head, max(b.visible_at) OVER (line ORDER BY b.id) AS latest
        FROM message AS b LEFT JOIN sqs_message AS t ON t.id = b.id WHERE b.queue = ?1
        WINDOW line AS (PARTITION BY coalesce(t.grp, '')))
    WHERE latest <= ?2 ORDER BY head, id LIMIT ?3"""
_TAKE_FIFO = f"{_COLUMNS} FROM ({_OPEN}) AS o CROSS JOIN message AS m ON m.id = o.id {_REST} ORDER BY o.head, o.id"


def _sendable(text: str | None) -> Mapping[str, AttributeValue]:
    """The attributes, with `?` for lone surrogates: the main job's tables can hold them, an SQS response can't."""
    if text is None:
        return EMPTY
    if "\\ud" in text:
        text = json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8", "replace").decode()
    return attribute.decode(text)


def prepare(connection: sqlite3.Connection) -> bytes:
    """Create the SQS tables if they don't exist. Returns the secret from which this file's message ids are made."""
    for statement in SCHEMA:
        connection.execute(statement)
    sweep(connection)
    secret: bytes = connection.execute("SELECT secret FROM sqs_secret").fetchone()[0]
    return secret


def sweep(connection: sqlite3.Connection) -> None:
    """Remove the rows of messages that are gone."""
    connection.execute("DELETE FROM sqs_message WHERE NOT EXISTS (SELECT 1 FROM message WHERE id = sqs_message.id)")


def moving_regions(connection: sqlite3.Connection) -> list[str]:
    """The regions that have running move tasks."""
    rows = connection.execute("SELECT data FROM sqs_task").fetchall()
    tasks = [MoveTask(**json.loads(row[0])) for row in rows]
    return sorted({task.region for task in tasks if task.status == "RUNNING"})


class SqliteStore:
    """The queues of one database, in one transaction.

    behind_s: the queue's own time (see `brokers.sqlite.store.anchor`) minus the wall clock's.
    secret: makes message ids from row numbers.
    region: the region of these queues. A queue that the main job created has no region and is found in each.

    The main job knows queues by name only. So the first queue of a name has the plain name there, and one of the same
    name in another region is stored as `name@region`.
    """

    def __init__(self, connection: sqlite3.Connection, behind_s: float, secret: bytes, region: str) -> None:
        self._connection = connection
        self.region = region
        self._behind_s = behind_s
        self._secret = secret
        self.numbers: dict[str, int] = {}
        self._stored_names: dict[str, str] = {}

    # -- queues ---------------------------------------------------------------------------------------------------

    def queues(self) -> list[Queue]:
        """All queues, sorted by name."""
        rows = self._connection.execute("SELECT name FROM queue").fetchall()
        names = {name for row in rows for name, _, region in [row[0].partition("@")] if region in {"", self.region}}
        found = [self.queue(name) for name in sorted(names) if _NAME.fullmatch(name)]
        return [queue for queue in found if queue is not None]

    def queue(self, name: str) -> Queue | None:
        """One queue; one that the main job created is adopted as it is."""
        rows = self._connection.execute(
            "SELECT q.number, q.name, s.data FROM queue AS q LEFT JOIN sqs_queue AS s ON s.name = q.name "
            "WHERE q.name IN (?1, ?1 || '@' || ?2) ORDER BY q.name DESC",
            (name, self.region),
        ).fetchall()
        for number, stored_name, data in rows:
            # the longest retention that SQS has is closest to the truth: its messages never expire
            queue = (
                Queue(name, self.region, {"MessageRetentionPeriod": "1209600"}, {}, 0.0, 0.0, is_adopted=True)
                if data is None
                else Queue(name, **json.loads(data))
            )
            if not queue.created_at:  # the main job created it, whatever a client has set since
                queue = replace(queue, region=self.region)
            if queue.region == self.region:
                self.numbers[name] = number
                self._stored_names[name] = stored_name
                return queue
        return None

    def save_queue(self, queue: Queue) -> None:
        """Create a queue, or replace it."""
        data = {
            "region": queue.region,
            "attributes": dict(queue.attributes),
            "tags": dict(queue.tags),
            "created_at": queue.created_at,
            "modified_at": queue.modified_at,
            "policy": queue.policy,
            "purged_at": queue.purged_at,
            "is_adopted": queue.is_adopted,
        }
        stored_name = self._stored_name(queue.name)
        self._connection.execute("INSERT OR IGNORE INTO queue (name) VALUES (?)", (stored_name,))
        self._connection.execute("INSERT OR REPLACE INTO sqs_queue VALUES (?, ?)", (stored_name, json.dumps(data)))

    def drop_queue(self, name: str, at: float) -> None:
        """Remove a queue with its messages. Its number is not reused, so it can't be mistaken for another queue."""
        number = self._number(name)
        self._remove_all(number)
        self._connection.execute("UPDATE queue SET name = ? WHERE number = ?", (f"(deleted {number}) {name}", number))
        stored_name = self._stored_name(name)
        self._connection.execute("DELETE FROM sqs_queue WHERE name = ?", (stored_name,))
        self._connection.execute("DELETE FROM sqs_memory WHERE queue = ?", (stored_name,))
        self._connection.execute("INSERT INTO sqs_dropped VALUES (?, ?, ?)", (number, f"{name}@{self.region}", at))
        del self.numbers[name], self._stored_names[name]
        self._connection.execute(_GUARD)

    def dropped_at(self, name: str) -> float | None:
        """When a queue of that name was last removed."""
        row = self._connection.execute(
            "SELECT max(at) FROM sqs_dropped WHERE name = ?", (f"{name}@{self.region}",)
        ).fetchone()
        return None if row[0] is None else float(row[0])

    # -- messages -------------------------------------------------------------------------------------------------

    def add(self, queue: Queue, messages: Sequence[NewMessage]) -> list[Record]:
        """Add messages."""
        number = self._number(queue.name)
        added = []
        for message in messages:
            visible_at = message.due_at + self._behind_s
            record_id = self._connection.execute(
                "INSERT INTO message (queue, visible_at, receive_count, sent_at) VALUES (?, ?, ?, ?)",
                (number, visible_at, message.receive_count, message.sent_at),
            ).lastrowid
            assert record_id is not None
            self._connection.execute(
                "INSERT INTO content VALUES (?, ?, ?)", (record_id, message.body, attribute.encode(message.attributes))
            )
            self._keep(record_id, number, message)
            stored = replace(message, message_id=message.message_id or self._message_id(record_id))
            added.append(
                Record(
                    record_id, stored, message.receive_count, message.first_received_at, message.due_at, is_leased=False
                )
            )
        return added

    def _keep(self, record_id: int, number: int, message: NewMessage) -> None:
        kept = (message.message_id or None, message.group, message.dedup_id, message.trace, message.source)
        if not any(kept) and message.first_received_at is None and not message.is_copy and message.sender == _SENDER:
            return  # the common case: the main job's tables hold everything
        self._connection.execute(
            "INSERT INTO sqs_message (id, queue, message_id, grp, dedup_id, trace, source, sender, first_received_at, "
            "is_copy) VALUES (?,?,?,?,?,?,?,?,?,?)",
            (record_id, number, *kept, message.sender, message.first_received_at, message.is_copy),
        )

    def take(self, queue: Queue, limit: int, now: float) -> list[Record]:
        """Messages that can be received."""
        statement = _TAKE_FIFO if queue.is_fifo else _TAKE
        found = (self._number(queue.name), now + self._behind_s, limit)
        return [self._record(row) for row in self._connection.execute(statement, found).fetchall()]

    def lease(self, queue: Queue, records: Sequence[Record], now: float, until: float) -> list[Record]:
        """Count one receive of each and hide it."""
        number = self._number(queue.name)
        self._connection.execute(
            "UPDATE message SET visible_at = ?, receive_count = receive_count + 1, is_leased = 1 "
            "WHERE id IN (SELECT value FROM json_each(?))",
            (until + self._behind_s, json.dumps([item.id for item in records])),
        )
        self._connection.execute(
            "INSERT INTO sqs_message (id, queue, first_received_at) SELECT value, ?, ? FROM json_each(?) WHERE true "
            "ON CONFLICT (id) DO UPDATE SET first_received_at = excluded.first_received_at",
            (number, now, json.dumps([item.id for item in records if item.first_received_at is None])),
        )
        return [
            Record(item.id, item.message, item.receive_count + 1, item.first_received_at or now, until, is_leased=True)
            for item in records
        ]

    def find(self, queue: Queue, ids: Iterable[int]) -> dict[int, Record]:
        """The messages that still exist, by id."""
        # "+queue", here and below, makes SQLite look messages up by id in place of scanning the whole queue
        rows = self._connection.execute(
            _RECORD + " WHERE m.id IN (SELECT value FROM json_each(?)) AND +m.queue = ?",  # noqa: S608 - constants
            (json.dumps(list(ids)), self._number(queue.name)),
        ).fetchall()
        return {row[0]: self._record(row) for row in rows}

    def remove(self, queue: Queue, ids: Sequence[int]) -> None:
        """Remove messages."""
        data = json.dumps(list(ids))
        rows = self._connection.execute(
            "DELETE FROM message WHERE id IN (SELECT value FROM json_each(?)) AND +queue = ? RETURNING id",
            (data, self._number(queue.name)),
        ).fetchall()
        self._forget([row[0] for row in rows])

    def set_due(self, queue: Queue, ids: Sequence[int], due_at: float, *, is_leased: bool) -> None:
        """Make messages visible at that time."""
        self._connection.execute(
            "UPDATE message SET visible_at = ?, is_leased = ? "
            "WHERE id IN (SELECT value FROM json_each(?)) AND +queue = ?",
            (due_at + self._behind_s, is_leased, json.dumps(list(ids)), self._number(queue.name)),
        )

    def purge(self, queue: Queue) -> None:
        """Remove all messages, and all remembered sends and receive attempts."""
        self._remove_all(self._number(queue.name))
        self._connection.execute("DELETE FROM sqs_memory WHERE queue = ?", (self._stored_name(queue.name),))

    def expire(self, queue: Queue, before: float) -> None:
        """Remove messages that entered a queue before that time."""
        rows = self._connection.execute(
            "DELETE FROM message WHERE queue = ? AND sent_at < ? RETURNING id", (self._number(queue.name), before)
        ).fetchall()
        self._forget([row[0] for row in rows])

    def counts(self, queue: Queue, now: float) -> Counts:
        """The queue's messages, counted by state."""
        row = self._connection.execute(
            "SELECT count(*) FILTER (WHERE visible_at <= ?2), count(*) FILTER (WHERE visible_at > ?2 AND is_leased), "
            "count(*) FILTER (WHERE visible_at > ?2 AND NOT is_leased) FROM message NOT INDEXED WHERE queue = ?1",
            (self._number(queue.name), now + self._behind_s),
        ).fetchone()
        return Counts(*row)

    def in_flight(self, queue: Queue, now: float) -> int:
        """How many of the queue's messages are leased."""
        row = self._connection.execute(
            "SELECT count(*) FROM message WHERE queue = ? AND visible_at > ? AND is_leased",
            (self._number(queue.name), now + self._behind_s),
        ).fetchone()
        return int(row[0])

    def next_due(self, queue: Queue, now: float) -> float | None:
        """When the next hidden message becomes visible."""
        row = self._connection.execute(
            "SELECT min(visible_at) FROM message WHERE queue = ? AND visible_at > ?",
            (self._number(queue.name), now + self._behind_s),
        ).fetchone()
        return None if row[0] is None else float(row[0]) - self._behind_s

    # -- remembered sends and receive attempts ----------------------------------------------------------------------

    def recall(self, queue: Queue, key: str, now: float) -> DedupEntry | None:
        """The send that is remembered under a key."""
        data = self._recall(queue, "seen", key, now)
        return None if data is None else DedupEntry(*data)

    def remember(self, queue: Queue, key: str, entry: DedupEntry, now: float, until: float) -> None:
        """Remember a send."""
        self._remember(queue, "seen", key, [entry.message_id, entry.sequence], now, until)

    def recall_attempt(self, queue: Queue, attempt: str, now: float) -> tuple[str, ...]:
        """The receipt handles that a receive attempt returned."""
        return tuple(self._recall(queue, "attempt", attempt, now) or ())

    def remember_attempt(self, queue: Queue, attempt: str, handles: tuple[str, ...], now: float, until: float) -> None:
        """Remember a receive attempt."""
        self._remember(queue, "attempt", attempt, list(handles), now, until)

    def _recall(self, queue: Queue, kind: str, key: str, now: float) -> Any:
        row = self._connection.execute(
            "SELECT data FROM sqs_memory WHERE queue = ? AND kind = ? AND key = ? AND until > ?",
            (self._stored_name(queue.name), kind, key, now),
        ).fetchone()
        return None if row is None else json.loads(row[0])

    def _remember(self, queue: Queue, kind: str, key: str, data: Any, now: float, until: float) -> None:
        self._connection.execute("DELETE FROM sqs_memory WHERE until <= ?", (now,))
        self._connection.execute(
            "INSERT OR REPLACE INTO sqs_memory VALUES (?, ?, ?, ?, ?)",
            (self._stored_name(queue.name), kind, key, json.dumps(data), until),
        )

    def tasks(self) -> list[MoveTask]:
        """All move tasks, the newest first."""
        rows = self._connection.execute("SELECT data FROM sqs_task ORDER BY started_at DESC, rowid DESC").fetchall()
        tasks = [MoveTask(**json.loads(row[0])) for row in rows]
        return [task for task in tasks if task.region == self.region]

    def save_task(self, task: MoveTask) -> None:
        """Create a move task, or replace it."""
        self._connection.execute(
            "INSERT INTO sqs_task VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET data = excluded.data",
            (task.id, task.started_at, json.dumps(asdict(task))),
        )
        self._connection.execute(
            "DELETE FROM sqs_task WHERE id NOT IN (SELECT id FROM sqs_task ORDER BY started_at DESC LIMIT ?)",
            (TASKS_KEPT,),
        )

    # -- rows -----------------------------------------------------------------------------------------------------

    def _number(self, name: str) -> int:
        if name not in self.numbers:
            self.queue(name)
        return self.numbers[name]

    def _stored_name(self, name: str) -> str:
        """The name of the queue's row; for a queue that doesn't exist, the name that it will get."""
        if name not in self._stored_names and self.queue(name) is None:
            row = self._connection.execute("SELECT 1 FROM queue WHERE name = ?", (name,)).fetchone()
            return name if row is None else f"{name}@{self.region}"
        return self._stored_names[name]

    def _record(self, row: tuple[Any, ...]) -> Record:
        record_id, count, visible_at, is_leased, sent_at, body, attributes, *kept = row
        message_id, sender, group, dedup_id, trace, source, first_received_at, is_copy = kept
        due_at = visible_at - self._behind_s
        message = NewMessage(
            message_id=message_id or self._message_id(record_id),
            body=body,
            attributes=_sendable(attributes),
            sent_at=sent_at,
            due_at=due_at,
            sender=sender or _SENDER,
            group=group,
            dedup_id=dedup_id,
            trace=trace,
            source=source,
            is_copy=bool(is_copy),
        )
        return Record(record_id, message, count, first_received_at, due_at, is_leased=bool(is_leased))

    def _message_id(self, record_id: int) -> str:
        digits = hashlib.blake2b(str(record_id).encode(), key=self._secret, digest_size=16).hexdigest()
        return uuid_text(digits)

    def _remove_all(self, number: int) -> None:
        rows = self._connection.execute("DELETE FROM message WHERE queue = ? RETURNING id", (number,)).fetchall()
        self._forget([row[0] for row in rows])

    def _forget(self, ids: Sequence[int]) -> None:
        data = json.dumps(ids)
        for table in ("content", "sqs_message"):
            self._connection.execute(f"DELETE FROM {table} WHERE id IN (SELECT value FROM json_each(?))", (data,))  # noqa: S608 - constants
