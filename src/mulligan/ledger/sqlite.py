"""The ledger in a SQLite file: one row per message and generation, in the order of the messages' times.

The usual batch of claims is of messages never seen, and the usual batch of records says the same of many claims that
still hold. Both go as one JSON object of uids and tokens, with what is the same for all beside it: `json_each` hands
its members out as they are, where each field of a nested array costs a look through its text. Only when fewer rows
changed than were asked for, or a batch says different things, arrays of arrays are looked at closely.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from mulligan.core.clock import Clock, Lead
from mulligan.core.error import LedgerError, LedgerUnavailable, RetryStateError
from mulligan.core.message import Uid
from mulligan.core.progress import Progress
from mulligan.core.retry_state import decode_progress, encode_progress
from mulligan.ledger.base import OUTDATED, Answer, Claim, Granted, Held, Key, Known, Record
from mulligan.ledger.batch import split_by_key
from mulligan.storage.fault import ErrorTypes
from mulligan.storage.schema import Schema
from mulligan.storage.sqlite import Database

__all__ = ["SqliteLedger"]

LAYOUT = Schema(
    what="ledger database",
    application_id=0x4D4C474C,  # "MLGL"
    oldest_reader=1,
    migrations=(
        (
            """CREATE TABLE record (
                uid TEXT NOT NULL,
                generation INTEGER NOT NULL,
                hop INTEGER NOT NULL,
                token TEXT,
                until REAL,
                progress TEXT,
                deaths INTEGER NOT NULL,
                touched_at REAL NOT NULL,
                PRIMARY KEY (uid, generation)
            ) WITHOUT ROWID""",
        ),
    ),
)

_INSERT = """
INSERT INTO record (uid, generation, hop, token, until, progress, deaths, touched_at)
SELECT value->>0, value->>1, 0, value->>3, value->>4, NULL, 0, ?2 FROM json_each(?1) WHERE true
ON CONFLICT DO NOTHING"""

_INSERT_ALIKE = """
INSERT INTO record (uid, generation, hop, token, until, progress, deaths, touched_at)
SELECT key, ?2, 0, value, ?3, NULL, 0, ?4 FROM json_each(?1) WHERE true
ON CONFLICT DO NOTHING"""

_TAKE = """
UPDATE record SET
    deaths = CASE WHEN record.token IS NULL OR record.token = c.token THEN deaths
        WHEN deaths = 0 THEN -1 ELSE abs(deaths) END,
    token = c.token, until = c.until, touched_at = ?2
FROM (
    SELECT value->>0 AS uid, value->>1 AS generation, value->>2 AS hop, value->>3 AS token, value->>4 AS until
    FROM json_each(?1)
) AS c
WHERE record.uid = c.uid AND record.generation = c.generation AND record.hop <= c.hop
    AND (record.token IS NULL OR record.token = c.token OR record.until <= ?2)"""  # own token: a repeated call

_LOOK = """
SELECT json_group_array(json_array(j.key, r.hop, r.token, r.until, r.progress, r.deaths))
FROM json_each(?1) AS j CROSS JOIN record AS r ON r.uid = j.value->>0 AND r.generation = j.value->>1"""

_SAVE_ALIKE = """
UPDATE record SET
    progress = ?3, deaths = ?4, hop = max(hop, ?5), touched_at = ?7,
    token = CASE WHEN ?6 THEN NULL ELSE token END, until = CASE WHEN ?6 THEN NULL ELSE until END
FROM json_each(?1) AS c
WHERE uid = c.key AND generation = ?2 AND token = c.value"""

_SAVE = """
UPDATE record SET
    progress = c.progress, deaths = c.deaths, hop = max(record.hop, c.hop), touched_at = ?2,
    token = CASE WHEN c.is_final THEN NULL ELSE record.token END,
    until = CASE WHEN c.is_final THEN NULL ELSE record.until END
FROM (
    SELECT value->>0 AS uid, value->>1 AS generation, value->>2 AS token, value->>3 AS progress, value->>4 AS deaths,
        value->>5 AS hop, value->>6 AS is_final
    FROM json_each(?1)
) AS c
WHERE record.uid = c.uid AND record.generation = c.generation AND record.token = c.token"""

_HOLDERS = """
SELECT json_group_array(j.key)
FROM json_each(?1) AS j CROSS JOIN record AS r ON r.uid = j.value->>0 AND r.generation = j.value->>1
WHERE r.token = j.value->>2"""

_HELD = """
FROM (SELECT value->>0 AS uid, value->>1 AS generation, value->>2 AS token FROM json_each(?1)) AS c
WHERE record.uid = c.uid AND record.generation = c.generation AND record.token = c.token"""
_EXTEND = f"UPDATE record SET until = ?2 {_HELD}"  # noqa: S608 - constants
_RESTING = "CASE WHEN deaths < -1 THEN -deaths - 1 ELSE deaths END"
_GIVE_BACK = f"UPDATE record SET token = NULL, until = NULL, deaths = {_RESTING} {_HELD}"  # noqa: S608 - constants
_END = f"UPDATE record SET token = NULL, until = NULL, deaths = max(abs(deaths), 1) {_HELD}"  # noqa: S608 - constants

_OLD = """
SELECT uid, generation, (touched_at < ?3 AND (token IS NULL OR until <= ?4)) FROM record
WHERE (uid, generation) > (?1, ?5) AND uid < ?2 ORDER BY uid, generation LIMIT ?6"""
_FORGET = """
DELETE FROM record WHERE (uid, generation) IN (SELECT value->>0, value->>1 FROM json_each(?1))"""

FORGET_CHUNK = 1_000  # rows a transaction, so that nobody waits long for a clean-up

_KINDS_MAX = 4  # kinds of records that are saved by a statement of their own; the odd ones share one
_Statement = tuple[str, tuple[Any, ...]]

_FRESH = Granted(None)
_encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode
_decode: Callable[[str], Any] = msgspec.json.Decoder().decode


class SqliteLedger:
    """Progress in a SQLite file that any number of processes of this host share.

    clock: for `touched_at` alone; whether a claim is live depends on the `now` that `claim` is passed.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._database = Database(path, LAYOUT, ErrorTypes(LedgerUnavailable, LedgerError), has_shortcut=True)

    @property
    def is_durable(self) -> bool:
        """True."""
        return True

    async def open(self) -> None:
        """See the seam."""
        await self._database.open()

    async def lead(self) -> Lead | None:
        """None."""
        return None

    async def claim(self, claims: Sequence[Claim], now: float) -> list[Answer]:
        """See the seam. Raises LedgerError when a row asked for is damaged: then nothing of the batch was claimed."""
        if not claims:
            return []
        alike = _alike(claims)
        rounds = (
            [range(len(claims))] if alike else list(split_by_key([(claim.uid, claim.generation) for claim in claims]))
        )

        def job(connection: sqlite3.Connection) -> list[Answer]:
            if alike and connection.execute(_INSERT_ALIKE, (*alike, now)).rowcount == len(claims):
                return [_FRESH] * len(claims)
            return self._claim(connection, claims, rounds, now)

        # a claim says who works on a message: after a power cut no worker does, and the next one may have it
        return await self._database.run(job, is_synced=False, is_quick=True)

    def _claim(
        self, connection: sqlite3.Connection, claims: Sequence[Claim], rounds: Sequence[Sequence[int]], now: float
    ) -> list[Answer]:
        answers: list[Answer] = [_FRESH] * len(claims)
        for places in rounds:
            asked = [claims[place] for place in places]
            data = _text([(c.uid, c.generation, c.hop, c.token, c.until) for c in asked])
            if connection.execute(_INSERT, (data, now)).rowcount == len(asked):
                continue
            connection.execute(_TAKE, (data, now))
            for index, *row in _decode(connection.execute(_LOOK, (data,)).fetchone()[0]):
                answers[places[index]] = self._answer(asked[index], row)
        return answers

    def _answer(self, claim: Claim, row: Sequence[Any]) -> Answer:
        hop, token, until, progress, deaths = row
        if claim.hop < hop:
            return OUTDATED
        if token != claim.token:
            return Held(until or 0.0)
        if progress is None:
            return Granted(Progress({}, deaths=deaths)) if deaths else _FRESH
        return Granted(self._decoded((claim.uid, claim.generation), progress, deaths))

    def _decoded(self, key: Key, progress: str, deaths: int) -> Progress:
        try:
            return decode_progress(progress, deaths)
        except RetryStateError as exc:
            # raised, not guessed: granted without progress, tasks that are done would run again
            raise LedgerError(
                f"ledger database {self._path}: the row of message {key[0]}, generation {key[1]}, can't be"
                f" read: {exc}. No row of the batch was claimed. Repair the row's progress; or remove the row, and"
                " every task of that message runs again."
            ) from None

    async def look(self, keys: Sequence[Key]) -> list[Known | None]:
        """See the seam."""
        if not keys:
            return []

        def job(connection: sqlite3.Connection) -> list[Known | None]:
            found: list[Known | None] = [None] * len(keys)
            for index, hop, _, _, progress, deaths in _decode(connection.execute(_LOOK, (_text(keys),)).fetchone()[0]):
                if progress is not None:
                    found[index] = Known(self._decoded(keys[index], progress, deaths), hop)
            return found

        return await self._database.run(job, is_synced=False)

    async def save(self, records: Sequence[Record]) -> list[bool]:
        """See the seam. Of two records of one claim in one batch, the later one is kept."""
        if not records:
            return []
        touched_at = self._clock.now()
        statements = _statements(records, touched_at)

        def save_all(connection: sqlite3.Connection) -> list[bool]:
            count = sum(connection.execute(*statement).rowcount for statement in statements)
            if count != len(records):  # also when a uid is there twice: then only rounds keep the order
                raise _SomeRefusedError
            return [True] * len(records)

        def save_some(connection: sqlite3.Connection) -> list[bool]:
            saved = [False] * len(records)
            for places in split_by_key([(record.uid, record.generation) for record in records]):
                text = _text([_record_data(records[place]) for place in places])
                for index in _decode(connection.execute(_HOLDERS, (text,)).fetchone()[0]):
                    saved[places[index]] = True
                connection.execute(_SAVE, (text, touched_at))
            return saved

        try:
            return await self._database.run(save_all, is_quick=True)
        except _SomeRefusedError:
            # asked before saving: a final record ends its claim, and with it the information who held it
            return await self._database.run(save_some, is_quick=True)

    async def extend(self, tokens: Sequence[tuple[Uid, int, str]], until: float) -> list[bool]:
        """See the seam."""
        if not tokens:
            return []
        data = _text(tokens)

        def job(connection: sqlite3.Connection) -> list[bool]:
            if connection.execute(_EXTEND, (data, until)).rowcount == len(tokens):
                return [True] * len(tokens)
            held = set(_decode(connection.execute(_HOLDERS, (data,)).fetchone()[0]))
            return [place in held for place in range(len(tokens))]

        return await self._database.run(job)

    async def give_back(self, tokens: Sequence[tuple[Uid, int, str]]) -> None:
        """See the seam."""
        await self._drop(_GIVE_BACK, tokens)

    async def end(self, tokens: Sequence[tuple[Uid, int, str]]) -> None:
        """See the seam."""
        await self._drop(_END, tokens)

    async def _drop(self, statement: str, tokens: Sequence[tuple[Uid, int, str]]) -> None:
        if tokens:
            data = _text(tokens)
            await self._database.run(lambda connection: connection.execute(statement, (data,)).rowcount)

    async def forget(self, before: float) -> int:
        """See the seam. In pieces: other calls have their turns between them."""
        prefix = f"{max(0, int(before * 1000)):012x}"
        after: tuple[str, int] = ("", -1)
        count = 0
        while True:
            bounds = (after[0], prefix, before, self._clock.now(), after[1], FORGET_CHUNK)
            last, removed = await self._database.run(partial(_forget, bounds))
            count += removed
            if last is None:
                return count
            after = last

    async def close(self) -> None:
        """See the seam."""
        await self._database.close()


class _SomeRefusedError(Exception):
    """Fewer records were kept than there are: the transaction is undone and looked at closely."""


def _alike(claims: Sequence[Claim]) -> tuple[str, int, float] | None:
    """A batch as `_INSERT_ALIKE` takes it; None when a uid is in it twice, or generations or ends differ."""
    generation, until = claims[0].generation, claims[0].until
    tokens = {c.uid: c.token for c in claims if c.generation == generation and c.until == until}
    return (_text(tokens), generation, until) if len(tokens) == len(claims) else None


def _statements(records: Sequence[Record], touched_at: float) -> list[_Statement]:
    """What keeps all records whose claims hold, in few statements; none when a uid is there twice."""
    rest, odd = records, list[Record]()
    if len({record.uid for record in records}) != len(records):
        return []
    statements: list[_Statement] = []
    for _ in range(_KINDS_MAX):
        first = rest[0]
        tokens = _tokens_like(first, rest)
        if len(tokens) > 1 or len(records) == 1:
            _, generation, _, text, deaths, hop, is_final = _record_data(first)
            statements.append((_SAVE_ALIKE, (_text(tokens), generation, text, deaths, hop, is_final, touched_at)))
        else:
            odd.append(first)
        if len(tokens) == len(rest):
            rest = ()
            break
        rest = [record for record in rest if record.uid not in tokens]
    if odd or rest:
        statements.append((_SAVE, (_text([_record_data(record) for record in (*odd, *rest)]), touched_at)))
    return statements


def _tokens_like(first: Record, records: Sequence[Record]) -> dict[Uid, str]:
    """Uids and tokens of the records that say the same as the first. Messages without a past share a progress."""
    generation, progress, hop, is_final = first.generation, first.progress, first.hop, first.is_final
    return {
        record.uid: record.token
        for record in records
        if record.progress is progress
        and record.is_final is is_final
        and record.generation == generation
        and record.hop == hop
    }


def _record_data(record: Record) -> tuple[str, int, str, str, int, int, bool]:
    progress = record.progress
    text = encode_progress(progress)
    return record.uid, record.generation, record.token, text, progress.deaths, record.hop or 0, record.is_final


def _forget(bounds: tuple[Any, ...], connection: sqlite3.Connection) -> tuple[tuple[str, int] | None, int]:
    """One piece: where to go on (None at the end), and how many rows were removed."""
    rows = connection.execute(_OLD, bounds).fetchall()
    old = [(uid, generation) for uid, generation, is_old in rows if is_old]
    if old:
        connection.execute(_FORGET, (_text(old),))
    return ((rows[-1][0], rows[-1][1]) if len(rows) == FORGET_CHUNK else None), len(old)


def _text(rows: Sequence[Any] | Mapping[Any, Any]) -> str:
    return _encode(rows).decode()
