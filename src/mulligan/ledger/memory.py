"""The ledger in memory: for tests and simulations, and the reference of what the others must do."""

from collections.abc import Sequence
from dataclasses import dataclass

from mulligan.core.clock import Clock, Lead
from mulligan.core.message import Uid
from mulligan.core.progress import Progress
from mulligan.core.value import value
from mulligan.ledger.base import OUTDATED, Answer, Claim, Granted, Held, Key, Known, Record

__all__ = ["MemoryLedger"]


@value
class _Claimed:
    token: str
    until: float


@dataclass(slots=True)
class _Row:
    touched_at: float
    hop: int = 0
    claimed: _Claimed | None = None
    progress: Progress | None = None
    deaths: int = 0


class MemoryLedger:
    """Progress in a dictionary. Workers of one process share the object."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rows: dict[Key, _Row] = {}

    @property
    def is_durable(self) -> bool:
        """True as far as the process lives: it refuses and skips as a durable one does."""
        return True

    async def open(self) -> None:
        """Nothing to open."""

    async def lead(self) -> Lead | None:
        """None."""
        return None

    async def claim(self, claims: Sequence[Claim], now: float) -> list[Answer]:
        """See the seam."""
        return [self._claim_one(claim, now) for claim in claims]

    def _claim_one(self, claim: Claim, now: float) -> Answer:
        row = self._rows.setdefault((claim.uid, claim.generation), _Row(now))
        if claim.hop < row.hop:
            return OUTDATED
        # its own token: the same claim again, after a call whose answer was lost
        if row.claimed is not None and row.claimed.token != claim.token:
            if row.claimed.until > now:
                return Held(row.claimed.until)
            row.deaths = abs(row.deaths) if row.deaths else -1
        row.claimed = _Claimed(claim.token, claim.until)
        row.touched_at = now
        return Granted(_known(row))

    async def look(self, keys: Sequence[Key]) -> list[Known | None]:
        """See the seam."""
        rows = [self._rows.get(key) for key in keys]
        return [None if row is None or row.progress is None else Known(row.progress, row.hop) for row in rows]

    async def save(self, records: Sequence[Record]) -> list[bool]:
        """See the seam."""
        return [self._save_one(record) for record in records]

    def _save_one(self, record: Record) -> bool:
        row = self._held_by(record.uid, record.generation, record.token)
        if row is None:
            return False
        row.progress, row.deaths = record.progress, record.progress.deaths
        row.hop = max(row.hop, record.hop or 0)
        row.touched_at = self._clock.now()
        if record.is_final:
            row.claimed = None
        return True

    async def extend(self, tokens: Sequence[tuple[Uid, int, str]], until: float) -> list[bool]:
        """See the seam."""
        rows = [self._held_by(*token) for token in tokens]
        for row, (_, _, token) in zip(rows, tokens, strict=True):
            if row is not None:
                row.claimed = _Claimed(token, until)
        return [row is not None for row in rows]

    async def give_back(self, tokens: Sequence[tuple[Uid, int, str]]) -> None:
        """See the seam."""
        for token in tokens:
            row = self._held_by(*token)
            if row is not None:
                row.claimed = None
                row.deaths = -row.deaths - 1 if row.deaths < -1 else row.deaths

    async def end(self, tokens: Sequence[tuple[Uid, int, str]]) -> None:
        """See the seam."""
        for token in tokens:
            row = self._held_by(*token)
            if row is not None:
                row.claimed = None
                row.deaths = max(abs(row.deaths), 1)

    async def forget(self, before: float) -> int:
        """See the seam."""
        prefix, now = f"{max(0, int(before * 1000)):012x}", self._clock.now()
        old = [
            key
            for key, row in self._rows.items()
            if key[0] < prefix and row.touched_at < before and (row.claimed is None or row.claimed.until <= now)
        ]
        for key in old:
            del self._rows[key]
        return len(old)

    async def close(self) -> None:
        """Keeps its rows, so that a test can go on with them."""

    def _held_by(self, uid: Uid, generation: int, token: str) -> _Row | None:
        row = self._rows.get((uid, generation))
        return row if row is not None and row.claimed is not None and row.claimed.token == token else None


def _known(row: _Row) -> Progress | None:
    if row.progress is None:
        return Progress({}, deaths=row.deaths) if row.deaths else None
    if row.progress.deaths == row.deaths:
        return row.progress
    return Progress(row.progress.marks, row.progress.alerts, row.progress.is_buried, row.deaths)
