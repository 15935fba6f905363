"""The tables of the embedded queue, and every statement on them. Plain functions of a connection; no decisions.

What changes often (state) is apart from what never changes (content), so that an extended lease rewrites no body. Ids
are never used again, so a receipt (id and receive count) means one receipt of one message for ever.

Times here are the queue's own seconds: see `anchor`.
"""

import sqlite3
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from mulligan.core.value import value
from mulligan.storage.schema import Schema

__all__ = [
    "LAYOUT",
    "Content",
    "Move",
    "Row",
    "acknowledge",
    "anchor",
    "create",
    "depth",
    "extend",
    "names",
    "newest_id",
    "next_due",
    "purge",
    "release",
    "send",
    "take",
]

LAYOUT = Schema(
    what="queue database",
    application_id=0x4D4C4751,  # "MLGQ"
    oldest_reader=1,
    migrations=(
        (
            "CREATE TABLE anchor (boot_id TEXT NOT NULL, offset_s REAL NOT NULL)",
            "CREATE TABLE queue (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
            """CREATE TABLE message (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                queue INTEGER NOT NULL,
                visible_at REAL NOT NULL,
                receive_count INTEGER NOT NULL DEFAULT 0,
                is_leased INTEGER NOT NULL DEFAULT 0,
                sent_at REAL NOT NULL
            )""",
            "CREATE INDEX message_order ON message (queue, visible_at, id)",
            "CREATE TABLE content (id INTEGER PRIMARY KEY, body BLOB NOT NULL, attributes TEXT)",
        ),
    ),
)

TAKE_MAX_BYTES = 32 * 2**20  # bodies of one receive: a hundred of the largest would not fit in memory
PURGE_CHUNK = 10_000
JUMP_MAX_S = 86_400.0

_encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode
_decode: Callable[[str], Any] = msgspec.json.Decoder().decode

Content = tuple[bytes, str | None]
"""Body and attributes of a message."""

Move = tuple[int, int, float]
"""Id and receive count of a message, and when it is to be visible."""

_CONDITION = "m.id = j.value->>0 AND m.receive_count = j.value->>1"


@value
class Row:
    """A message that was just received; receive_count includes this receipt."""

    id: int
    receive_count: int
    sent_at: float
    body: bytes
    attributes: str | None


def anchor(boot_id: str | None, wall: float, monotonic: float, connection: sqlite3.Connection) -> float:
    """Seconds to add to the monotonic clock for the queue's time, the same for all processes until a reboot.

    So a wall clock that is set, forward or back, neither ends a lease nor hides a message. Only when it disagrees by
    more than a day (it was wrong when the host came up) the wall clock is believed again.
    boot_id: None where the system doesn't say; then the wall clock is all there is.
    """
    offset_s = wall - monotonic
    if boot_id is None:
        return offset_s
    row = connection.execute("SELECT boot_id, offset_s FROM anchor").fetchone()
    if row is not None and row[0] == boot_id and abs(row[1] - offset_s) <= JUMP_MAX_S:
        return float(row[1])
    connection.execute("DELETE FROM anchor")
    connection.execute("INSERT INTO anchor (boot_id, offset_s) VALUES (?, ?)", (boot_id, offset_s))
    return offset_s


def names(connection: sqlite3.Connection) -> dict[str, int]:
    """The queues that are there, and their numbers."""
    return dict(connection.execute("SELECT name, number FROM queue").fetchall())


def create(wanted: Sequence[str], connection: sqlite3.Connection) -> list[str]:
    """Create the queues that are missing; which those were."""
    missing = [name for name in dict.fromkeys(wanted) if name not in names(connection)]
    connection.executemany("INSERT INTO queue (name) VALUES (?)", [(name,) for name in missing])
    return missing


def send(
    queue: int, contents: Sequence[Content], visible_at: Sequence[float], sent_at: float, connection: sqlite3.Connection
) -> None:
    """Add messages, in order."""
    last_id = connection.execute(
        "INSERT INTO message (queue, visible_at, sent_at) SELECT ?, value, ? FROM json_each(?)",
        (queue, sent_at, _text(visible_at)),
    ).lastrowid
    assert last_id is not None
    # ids of one statement follow one another: no other connection writes during the transaction
    first_id = last_id - len(contents) + 1
    values = [part for number, content in enumerate(contents, first_id) for part in (number, *content)]
    connection.execute(_insert_contents(len(contents)), values)


def take(queue: int, now: float, until: float, max_count: int, connection: sqlite3.Connection) -> list[Row]:
    """Lease up to max_count messages, oldest visible first; fewer when their bodies are large."""
    rows: list[Row] = []
    size = 0
    cursor = connection.execute(
        """SELECT m.id, m.receive_count + 1, m.sent_at, c.body, c.attributes
        FROM message AS m CROSS JOIN content AS c ON c.id = m.id
        WHERE m.queue = ? AND m.visible_at <= ? ORDER BY m.visible_at, m.id LIMIT ?""",
        (queue, now, max_count),
    )
    for fields in cursor:
        rows.append(Row(*fields))
        size += len(fields[3])
        if size >= TAKE_MAX_BYTES:
            break
    cursor.close()
    if rows:
        connection.execute(
            """UPDATE message SET visible_at = ?, receive_count = receive_count + 1, is_leased = 1
            WHERE id IN (SELECT value FROM json_each(?))""",
            (until, _text([row.id for row in rows])),
        )
    return rows


def acknowledge(queue: int, receipts: Sequence[tuple[int, int]], connection: sqlite3.Connection) -> set[int]:
    """Remove messages by id and receive count. Ids of those that are still there, because they were received again."""
    data = _text(receipts)
    removed = connection.execute(
        f"DELETE FROM message WHERE id IN (SELECT m.id FROM json_each(?) AS j CROSS JOIN message AS m ON {_CONDITION})"  # noqa: S608 - constant
        " AND +queue = ?",  # the plus: by id, never by a walk over the queue
        (data, queue),
    ).rowcount
    left: set[int] = set()
    if removed != len(receipts):
        found = connection.execute(
            "SELECT json_group_array(id) FROM message WHERE id IN (SELECT value->>0 FROM json_each(?))", (data,)
        )
        left = set(_decode(found.fetchone()[0]))
    gone = [number for number, _ in receipts if number not in left]
    connection.execute("DELETE FROM content WHERE id IN (SELECT value FROM json_each(?))", (_text(gone),))
    return left


def release(queue: int, moves: Sequence[Move], connection: sqlite3.Connection) -> set[tuple[int, int]]:
    """End leases. Ids and receive counts of those that were ours to end."""
    return _move("is_leased = 0", queue, moves, connection)


def extend(queue: int, moves: Sequence[Move], connection: sqlite3.Connection) -> set[tuple[int, int]]:
    """Let leases end later or earlier. Ids and receive counts of those that were ours to extend."""
    return _move("is_leased = 1", queue, moves, connection)


def next_due(queue: int, connection: sqlite3.Connection) -> float | None:
    """When the next message may be received, be it in the past; None for an empty queue."""
    row = connection.execute(
        "SELECT visible_at FROM message WHERE queue = ? ORDER BY visible_at LIMIT 1", (queue,)
    ).fetchone()
    return None if row is None else float(row[0])


def depth(queue: int, now: float, connection: sqlite3.Connection) -> tuple[int, int, int, float | None]:
    """How many are ready, delayed, leased; and when the oldest was sent."""
    ready, delayed, leased, oldest = connection.execute(
        """SELECT count(*) FILTER (WHERE visible_at <= ?2), count(*) FILTER (WHERE visible_at > ?2 AND NOT is_leased),
            count(*) FILTER (WHERE visible_at > ?2 AND is_leased), min(sent_at)
        FROM message NOT INDEXED WHERE queue = ?1""",
        (queue, now),
    ).fetchone()
    return ready, delayed, leased, oldest


def attributes(queue: int, max_count: int, connection: sqlite3.Connection) -> list[str | None]:
    """The attributes of messages, the first due first, as they are stored."""
    rows = connection.execute(
        """SELECT c.attributes FROM message AS m CROSS JOIN content AS c ON c.id = m.id
        WHERE m.queue = ? ORDER BY m.visible_at, m.id LIMIT ?""",
        (queue, max_count),
    )
    return [row[0] for row in rows]


def newest_id(connection: sqlite3.Connection) -> int:
    """The highest id so far."""
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM message").fetchone()[0])


def purge(queue: int, up_to_id: int, connection: sqlite3.Connection) -> bool:
    """Remove some messages of the queue; whether there may be more."""
    rows = connection.execute(
        "SELECT id FROM message INDEXED BY message_order WHERE queue = ? AND id <= ? LIMIT ?",
        (queue, up_to_id, PURGE_CHUNK),
    ).fetchall()
    data = _text([row[0] for row in rows])
    connection.execute("DELETE FROM message WHERE id IN (SELECT value FROM json_each(?))", (data,))
    connection.execute("DELETE FROM content WHERE id IN (SELECT value FROM json_each(?))", (data,))
    return len(rows) == PURGE_CHUNK


def _move(change: str, queue: int, moves: Sequence[Move], connection: sqlite3.Connection) -> set[tuple[int, int]]:
    rows = connection.execute(
        f"UPDATE message SET visible_at = c.visible_at, {change}"  # noqa: S608 - constants
        " FROM (SELECT value->>0 AS id, value->>1 AS count, value->>2 AS visible_at FROM json_each(?)) AS c"
        " WHERE message.id = c.id AND receive_count = c.count AND is_leased AND +queue = ?"
        " RETURNING message.id, receive_count",
        (_text(moves), queue),
    ).fetchall()
    return {(row[0], row[1]) for row in rows}


@lru_cache(maxsize=128)
def _insert_contents(count: int) -> str:
    # one statement of many rows: each statement lets go of the interpreter's lock
    return "INSERT INTO content (id, body, attributes) VALUES " + ",".join(["(?,?,?)"] * count)  # noqa: S608 - no values in it


def _text(rows: Sequence[Any]) -> str:
    return _encode(rows).decode()
