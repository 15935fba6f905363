"""The ledger in memory, behind a network that fails."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mulligan.core.error import LedgerError, LedgerUnavailable
from mulligan.ledger.base import Answer, Claim, Held, Key, Known, Record
from tests.simulation.loop import PROCESS

__all__ = ["SimLedger"]

Token = tuple[Any, int, str]


class SimLedger:
    """The connection of one process; the rows are the world's."""

    is_durable = True

    def __init__(self, world: Any) -> None:
        self.world = world
        self.rows = world.rows
        self.process = PROCESS.get()

    async def open(self) -> None:
        if self.world.is_away_at_start(self.world.ledger_down_until):
            raise LedgerUnavailable("the ledger is away")

    async def lead(self) -> None:
        return None

    async def claim(self, claims: Sequence[Claim], now: float) -> list[Answer]:
        await self._request()
        now_s = self.world.loop.time()
        if any(self.world.damaged.get(claim.uid, 0.0) > now_s for claim in claims):
            raise LedgerError("a row is damaged")
        ahead_s, now = self._ahead_s(), now - self._ahead_s()
        claims = [replace(claim, until=claim.until - ahead_s) for claim in claims]
        before = [self.world.watch.row(claim) for claim in claims]
        answers: list[Answer] = await self.rows.claim(claims, now)
        self.world.watch.claimed(self.process, claims, answers, before, now)
        await self._reply("claim")
        return [Held(one.until + ahead_s) if isinstance(one, Held) else one for one in answers]

    async def look(self, keys: Sequence[Key]) -> list[Known | None]:
        await self._request()
        now_s = self.world.loop.time()
        if any(self.world.damaged.get(uid, 0.0) > now_s for uid, _ in keys):
            raise LedgerError("a row is damaged")
        known: list[Known | None] = await self.rows.look(keys)
        await self._reply("look")
        return known

    async def save(self, records: Sequence[Record]) -> list[bool]:
        await self._request()
        kept: list[bool] = await self.rows.save(records)
        self.world.watch.saved(self.process, records, kept)
        await self._reply("save")
        return kept

    async def extend(self, tokens: Sequence[Token], until: float) -> list[bool]:
        await self._request()
        kept: list[bool] = await self.rows.extend(tokens, until - self._ahead_s())
        await self._reply("extend")
        return kept

    async def give_back(self, tokens: Sequence[Token]) -> None:
        await self._request()
        await self.rows.give_back(tokens)
        await self._reply("give_back")

    async def end(self, tokens: Sequence[Token]) -> None:
        await self._request()
        await self.rows.end(tokens)
        self.world.watch.ended(tokens)
        await self._reply("end")

    async def forget(self, before: float) -> int:
        return 0

    async def close(self) -> None:
        pass

    def _ahead_s(self) -> float:
        """Lengths are what is sent, as to a server that goes by its own clock: `ledger/postgres`."""
        name = self.process.name
        return float(self.world.ahead_s[int(name[1 : name.index(".")])])

    async def _request(self) -> None:
        world = self.world
        await asyncio.sleep(world.latency())
        if world.ledger_down_until > world.loop.time():
            await world.ledger_hangs()
            raise LedgerUnavailable("the disk is full")
        if world.chance("lost_request"):
            raise LedgerUnavailable("the database is locked")
        await world.reconnect()
        await world.slow()

    async def _reply(self, method: str) -> None:
        world = self.world
        await asyncio.sleep(world.latency())
        await world.reconnect()
        await world.slow()
        if world.chance("lost_reply"):
            world.loop.told(self.process, f"the ledger's reply to its {method} is lost")
            raise LedgerUnavailable("the reply was lost")
