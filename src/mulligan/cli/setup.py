"""`mulligan setup`: makes the queues and the ledger and ends, so that what runs later needs no right to."""

import asyncio

from mulligan.brokers.base import Declared, Owners
from mulligan.cli.output import say, write
from mulligan.cli.session import app_dir, of_application, report
from mulligan.core.error import ConfigurationError
from mulligan.core.secret import redacted_url
from mulligan.settings.model import Settings

__all__ = ["setup"]


def setup() -> None:
    """Make what is missing, whatever CREATE_QUEUES says: this command is asked for. Raises what a start would."""
    asyncio.run(_setup(of_application()))


async def _setup(chosen: Settings) -> None:
    declared, owned = await _declare(chosen)
    for note in (*declared.notes, *owned.notes):
        say(f"note: {note}")
    if problems := declared.problems or owned.problems:
        raise ConfigurationError(problems)
    there = [name for name in chosen.queues.all if name not in declared.created]
    parts = [f"{what} {', '.join(names)}" for what, names in (("made", declared.created), ("found", there)) if names]
    write(f"queues  {redacted_url(chosen.broker_url)}: {'; '.join(parts)}")
    await _open_ledger(chosen)
    write(f"ledger  {redacted_url(chosen.ledger_url)}: ready")


async def _declare(chosen: Settings) -> tuple[Declared, Owners]:
    from mulligan.brokers.open import open_broker
    from mulligan.clock import SystemClock

    broker = open_broker(chosen.broker_url, clock=SystemClock(), emit=report, base_dir=app_dir())
    try:
        declared = await broker.declare(chosen.queues, create=True)
        if declared.problems:
            return declared, Owners()
        return declared, (await broker.owners(chosen.queues)).judged(is_meant=chosen.adopt_rejects)
    finally:
        await broker.close()


async def _open_ledger(chosen: Settings) -> None:
    from mulligan.clock import SystemClock
    from mulligan.ledger.open import open_ledger

    ledger = open_ledger(chosen.ledger_url, clock=SystemClock(), base_dir=app_dir())
    try:
        await ledger.open()
    finally:
        await ledger.close()
