"""The ledger in PostgreSQL: one row per message and generation, shared by any number of hosts.

Only the server's clock decides whether a claim is live. Callers' times are turned into lengths (`until` - `now`)
before they are sent, and back when an answer is given: hosts whose clocks differ by minutes neither lose their claims
to each other nor keep them too long.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mulligan.core.clock import Clock, Lead, lead
from mulligan.core.error import LedgerError, RetryStateError
from mulligan.core.message import Uid
from mulligan.core.progress import Progress
from mulligan.core.retry_state import decode_progress, encode_progress
from mulligan.core.value import value
from mulligan.ledger.base import OUTDATED, Answer, Claim, Granted, Held, Key, Known, Record
from mulligan.ledger.batch import split_by_key
from mulligan.ledger.postgres import schema, statement
from mulligan.ledger.postgres.address import address_of
from mulligan.ledger.postgres.group_commit import GroupCommit
from mulligan.ledger.postgres.session import CLOSE_S, Connection, Limits, Servers, Session

__all__ = ["PostgresLedger"]

FORGET_CHUNK = 1_000  # rows a transaction, so that nobody waits long for a clean-up

_FRESH = Granted(None)
Token = tuple[Uid, int, str]


@value
class _Asked:
    """A claim, the caller's time, and the time to take for the server's (None: the server's own)."""

    claim: Claim
    now: float
    at: float | None


@value
class _Change:
    """What is to be done to the claim of a token, by one of the three statements."""

    statement: str
    token: Token
    for_s: float = 0.0


class PostgresLedger:
    """Progress in a PostgreSQL database. Three connections per process, each made when it is first needed.

    has_server_clock: False takes the callers' times for the server's; for tests whose clock stands still.
    Raises ConfigurationError when the URL can't be used.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        has_server_clock: bool = True,
        limits: Limits | None = None,
        base_dir: Path | None = None,
    ) -> None:
        self._clock = clock
        self._has_server_clock = has_server_clock
        address = address_of(url, base_dir)
        self._shown = address.shown
        # claims never wait for the fsync of records, and neither for a row that a clean-up holds
        servers = Servers(address)
        claiming, saving, changing = (Session(address, limits or Limits(), servers) for _ in range(3))
        self._sessions = (claiming, saving, changing)
        self._claims: GroupCommit[_Asked, Answer | LedgerError] = GroupCommit(
            lambda asked: claiming.run(lambda connection: self._claim(connection, asked))
        )
        self._records: GroupCommit[Record, bool] = GroupCommit(
            lambda records: saving.run(lambda connection: self._save(connection, records))
        )
        self._changes: GroupCommit[_Change, bool] = GroupCommit(
            lambda changes: changing.run(lambda connection: self._change(connection, changes))
        )
        self._changing = changing

    @property
    def is_durable(self) -> bool:
        """True."""
        return True

    async def open(self) -> None:
        """See the seam. Raises LedgerUnavailable when the server can't be reached. Twice is once."""
        await self._changing.run(lambda connection: schema.ensure(connection, self._shown), is_opening=True)

    async def lead(self) -> Lead | None:
        """See the seam."""
        if not self._has_server_clock:
            return None

        async def ask(connection: Connection) -> Lead:
            asked_at = self._clock.now()
            server_now = await connection.fetchval(statement.NOW)
            return lead(asked_at, self._clock.now(), server_now)

        return await self._changing.run(ask)

    async def claim(self, claims: Sequence[Claim], now: float) -> list[Answer]:
        """See the seam. Raises LedgerError when a row asked for is damaged: then nothing of the batch stays claimed."""
        found = await self._claims.ask([_Asked(claim, now, self._at(now)) for claim in claims])
        answers = [answer for answer in found if not isinstance(answer, LedgerError)]
        if len(answers) == len(found):
            return answers
        await self.give_back([(claim.uid, claim.generation, claim.token) for claim in claims])
        raise next(answer for answer in found if isinstance(answer, LedgerError))

    async def look(self, keys: Sequence[Key]) -> list[Known | None]:
        """See the seam."""
        if not keys:
            return []
        found: list[Known | None] = [None] * len(keys)
        uids, generations = [uid for uid, _ in keys], [generation for _, generation in keys]
        rows = await self._changing.run(lambda connection: connection.fetch(statement.KNOWN, uids, generations))
        for place, hop, progress, deaths in rows:
            uid, generation = keys[place - 1]
            granted = self._granted(uid, generation, progress, deaths)
            if isinstance(granted, LedgerError):
                raise granted
            assert granted.progress is not None
            found[place - 1] = Known(granted.progress, hop)
        return found

    async def save(self, records: Sequence[Record]) -> list[bool]:
        """See the seam. A final record may be repeated after a lost answer."""
        return await self._records.ask(records)

    async def extend(self, tokens: Sequence[Token], until: float) -> list[bool]:
        """See the seam."""
        for_s = until - self._clock.now()
        return await self._changes.ask([_Change(statement.EXTEND, token, for_s) for token in tokens])

    async def give_back(self, tokens: Sequence[Token]) -> None:
        """See the seam."""
        await self._changes.ask([_Change(statement.GIVE_BACK, token) for token in tokens])

    async def end(self, tokens: Sequence[Token]) -> None:
        """See the seam."""
        await self._changes.ask([_Change(statement.END, token) for token in tokens])

    async def forget(self, before: float) -> int:
        """See the seam. In pieces: other calls have their turns between them."""
        prefix = f"{max(0, int(before * 1000)):012x}"
        now = self._clock.now()
        after: tuple[str, int] = ("", -1)
        count = 0
        while True:
            bounds = (*after, prefix, now - before, FORGET_CHUNK, self._at(now))
            gone = await self._changing.run(partial(_forget, bounds))
            count += len(gone)
            if len(gone) < FORGET_CHUNK:
                return count
            after = (gone[-1]["uid"], gone[-1]["generation"])

    async def close(self) -> None:
        """See the seam. What was asked is waited for, a short time."""
        for lane in (self._claims, self._records, self._changes):
            await lane.close(CLOSE_S)
        for session in self._sessions:
            await session.close()

    # -- the statements

    async def _claim(self, connection: Connection, asked: Sequence[_Asked]) -> list[Answer | LedgerError]:
        answers: list[Answer | LedgerError] = [_FRESH] * len(asked)
        for places in split_by_key([(one.claim.uid, one.claim.generation) for one in asked]):
            some = {(asked[place].claim.uid, asked[place].claim.generation): place for place in places}
            claims = [asked[place].claim for place in places]
            rows = await connection.fetch(
                statement.CLAIM,
                [claim.uid for claim in claims],
                [claim.generation for claim in claims],
                [claim.hop for claim in claims],
                [claim.token for claim in claims],
                [asked[place].claim.until - asked[place].now for place in places],
                [asked[place].at for place in places],
            )
            for uid, generation, progress, deaths in rows:
                answers[some.pop((uid, generation))] = self._granted(uid, generation, progress, deaths)
            if some:
                await self._look(connection, asked, some, answers)
        return answers

    async def _look(
        self,
        connection: Connection,
        asked: Sequence[_Asked],
        places: dict[Key, int],
        answers: list[Answer | LedgerError],
    ) -> None:
        """Find out why these claims were not granted. What has changed since is reported as held until now."""
        for place in places.values():
            answers[place] = Held(asked[place].now)
        keys = list(places)
        rows = await connection.fetch(
            statement.LOOK,
            [uid for uid, _ in keys],
            [generation for _, generation in keys],
            [asked[places[key]].at for key in keys],
        )
        for uid, generation, hop, rest_s in rows:
            place = places[uid, generation]
            one = asked[place]
            answers[place] = OUTDATED if one.claim.hop < hop else Held(one.now + max(0.0, rest_s))

    def _granted(self, uid: str, generation: int, progress: str | None, deaths: int) -> Granted | LedgerError:
        if progress is None:
            return Granted(Progress({}, deaths=deaths)) if deaths else _FRESH
        try:
            return Granted(decode_progress(progress, deaths))
        except RetryStateError as exc:
            # raised, not guessed: granted without progress, tasks that are done would run again
            return LedgerError(
                f"ledger {self._shown}: the row of message {uid}, generation {generation}, can't be read: {exc}."
                " No row of the batch was claimed. Repair the row's progress in mulligan_record; or remove the row, and"
                " every task of that message runs again."
            )

    async def _save(self, connection: Connection, records: Sequence[Record]) -> list[bool]:
        saved = [False] * len(records)
        at = self._at(self._clock.now())
        for places in split_by_key([(record.uid, record.generation) for record in records]):
            some = [records[place] for place in places]
            rows = await connection.fetch(
                statement.SAVE,
                [record.uid for record in some],
                [record.generation for record in some],
                [record.token for record in some],
                [encode_progress(record.progress) for record in some],
                [record.progress.deaths for record in some],
                [record.hop or 0 for record in some],
                [record.is_final for record in some],
                [at] * len(some),
            )
            _mark(saved, places, rows)
        return saved

    async def _change(self, connection: Connection, changes: Sequence[_Change]) -> list[bool]:
        """Changes of one kind go together; kinds in the order in which they were asked for."""
        changed = [False] * len(changes)
        at = self._at(self._clock.now())
        start = 0
        while start < len(changes):
            kind = changes[start].statement
            end = start + 1
            while end < len(changes) and changes[end].statement == kind:
                end += 1
            for places in split_by_key([change.token for change in changes[start:end]]):
                some = [changes[start + place] for place in places]
                rows = await connection.fetch(
                    kind,
                    [change.token[0] for change in some],
                    [change.token[1] for change in some],
                    [change.token[2] for change in some],
                    [change.for_s for change in some],
                    [at] * len(some),
                )
                _mark(changed, [start + place for place in places], rows)
            start = end
        return changed

    def _at(self, now: float) -> float | None:
        return None if self._has_server_clock else now


async def _forget(bounds: Sequence[Any], connection: Connection) -> Sequence[Any]:
    rows: Sequence[Any] = await connection.fetch(statement.FORGET, *bounds)
    return rows


def _mark(answers: list[bool], places: Sequence[int], rows: Sequence[Any]) -> None:
    for (place,) in rows:
        answers[places[place - 1]] = True
