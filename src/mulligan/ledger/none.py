"""The ledger that keeps nothing (`LEDGER_URL=none`): at least once per task, documented as such."""

from collections.abc import Sequence

from mulligan.core.clock import Lead
from mulligan.core.message import Uid
from mulligan.ledger.base import GRANTED, Answer, Claim, Key, Known, Record

__all__ = ["NoLedger"]


class NoLedger:
    """Grants every claim and forgets every record."""

    @property
    def is_durable(self) -> bool:
        """False."""
        return False

    async def open(self) -> None:
        """Nothing to open."""

    async def lead(self) -> Lead | None:
        """None."""
        return None

    async def claim(self, claims: Sequence[Claim], now: float) -> list[Answer]:  # noqa: ARG002 - the seam's signature
        """Granted, all of them."""
        return [GRANTED] * len(claims)

    async def look(self, keys: Sequence[Key]) -> list[Known | None]:
        """Nothing, of any."""
        return [None] * len(keys)

    async def save(self, records: Sequence[Record]) -> list[bool]:
        """True for all: nothing stands against going on."""
        return [True] * len(records)

    async def extend(self, tokens: Sequence[tuple[Uid, int, str]], until: float) -> list[bool]:  # noqa: ARG002
        """True for all."""
        return [True] * len(tokens)

    async def give_back(self, tokens: Sequence[tuple[Uid, int, str]]) -> None:
        """Nothing to give back."""

    async def end(self, tokens: Sequence[tuple[Uid, int, str]]) -> None:
        """Nothing to end."""

    async def forget(self, before: float) -> int:  # noqa: ARG002
        """0."""
        return 0

    async def close(self) -> None:
        """Nothing to close."""
