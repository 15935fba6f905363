"""The ledger in a SQLite file: one row a message and generation, in the order of the messages' times.

The usual batch of claims is of messages never seen, and the usual batch of records is of claims that still hold: each
is one statement over a JSON array without a row to fetch. Only when fewer rows changed than were asked for is looked
closer.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from mulligan.core.clock import Clock
from mulligan.core.error import LedgerError, LedgerUnavailable, StoryError
from mulligan.core.message import Uid
from mulligan.core.progress import Progress
from mulligan.core.story import decode_progress, encode_progress
from mulligan.ledger.base import OUTDATED, Answer, Claim, Granted, Held, Record
from mulligan.storage.fault import Kinds
from mulligan.storage.layout import Layout
from mulligan.storage.sqlite import Database

__all__ = ["SqliteLedger"]

LAYOUT = Layout(
    what="ledger database",
    application_id=0x4D4C474C,  # "MLGL"
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

_TAKE = """
UPDATE record SET
    deaths = CASE WHEN record.token IS NULL OR record.token = c.token THEN deaths ELSE max(deaths, 1) END,
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
_GIVE_BACK = f"UPDATE record SET token = NULL, until = NULL {_HELD}"  # noqa: S608 - constants
_END = f"UPDATE record SET token = NULL, until = NULL, deaths = max(deaths, 1) {_HELD}"  # noqa: S608 - constants

_OLD = """
SELECT uid, generation, (touched_at < ?3 AND (token IS NULL OR until <= ?4)) FROM record
WHERE (uid, generation) > (?1, ?5) AND uid < ?2 ORDER BY uid, generation LIMIT ?6"""
_FORGET = """
DELETE FROM record WHERE (uid, generation) IN (SELECT value->>0, value->>1 FROM json_each(?1))"""

FORGET_CHUNK = 1_000  # rows a transaction, so that nobody waits long for a clean-up

_FRESH = Granted(None)
_encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode
_decode: Callable[[str], Any] = msgspec.json.Decoder().decode


class SqliteLedger:
    """Progress in a SQLite file that any number of processes of this host share.

    clock: for `touched_at` alone; whether a claim is live is told by the `now` that `claim` is handed.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._database = Database(path, LAYOUT, Kinds(LedgerUnavailable, LedgerError))

    @property
    def is_durable(self) -> bool:
        """True."""
        return True

    async def open(self) -> None:
        """See the seam."""
        await self._database.open()

    async def claim(self, claims: Sequence[Claim], now: float) -> list[Answer]:
        """See the seam. Raises LedgerError when a row asked for is damaged: then nothing of the batch was claimed."""
        if not claims:
            return []
        rounds = list(_rounds(claims))
        return await self._database.run(lambda connection: self._claim(connection, claims, rounds, now))

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
        try:
            return Granted(decode_progress(progress, deaths))
        except StoryError as exc:
            # raised, not guessed: granted without progress, tasks that are done would run again
            raise LedgerError(
                f"ledger database {self._path}: the row of message {claim.uid}, generation {claim.generation}, can't be"
                f" read: {exc}. Nothing of the batch was claimed. Mend the row's progress; or remove the row, and every"
                " task of that message runs again."
            ) from None

    async def save(self, records: Sequence[Record]) -> list[bool]:
        """See the seam. Of two records of one claim in one batch, the later one is kept."""
        if not records:
            return []
        rounds = list(_rounds(records))
        data = [_text([_record_data(records[place]) for place in places]) for places in rounds]
        touched_at = self._clock.now()

        def save_all(connection: sqlite3.Connection) -> list[bool]:
            for places, text in zip(rounds, data, strict=True):
                if connection.execute(_SAVE, (text, touched_at)).rowcount != len(places):
                    raise _SomeRefusedError
            return [True] * len(records)

        def save_some(connection: sqlite3.Connection) -> list[bool]:
            saved = [False] * len(records)
            for places, text in zip(rounds, data, strict=True):
                for index in _decode(connection.execute(_HOLDERS, (text,)).fetchone()[0]):
                    saved[places[index]] = True
                connection.execute(_SAVE, (text, touched_at))
            return saved

        try:
            return await self._database.run(save_all)
        except _SomeRefusedError:
            # asked before saving: afterwards it can't be told who held, for a final record has ended its claim
            return await self._database.run(save_some)

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


def _rounds(items: Sequence[Claim] | Sequence[Record]) -> Iterator[list[int]]:
    """Places in the batch, split so that no key is twice in one round: one statement sees each row once."""
    places = list(range(len(items)))
    while places:
        seen: set[tuple[str, int]] = set()
        this: list[int] = []
        later: list[int] = []
        for place in places:
            key = (items[place].uid, items[place].generation)
            (later if key in seen else this).append(place)
            seen.add(key)
        yield this
        places = later


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


def _text(rows: Sequence[Any]) -> str:
    return _encode(rows).decode()
