"""From `LEDGER_URL` to a ledger that is not open yet."""

from pathlib import Path

from mulligan.core.clock import Clock
from mulligan.core.error import ConfigurationError
from mulligan.core.secret import redacted_url
from mulligan.ledger.base import Ledger
from mulligan.storage import url as urls

__all__ = ["open_ledger"]

KNOWN = ("sqlite", "postgresql", "postgres", "none")
UNLISTED = ("memory",)  # of one process, and an application has several


def open_ledger(url: str, *, clock: Clock, base_dir: Path) -> Ledger:
    """The ledger that the URL names; nothing is opened yet. Raises ConfigurationError.

    `sqlite:///var/ledger.db` is below base_dir, `sqlite:////abs/ledger.db` absolute,
    `postgresql://USER@HOST/DATABASE` for several hosts (docs/ledger.md), `none` or "" keeps nothing.
    """
    is_none = url.strip() in ("", "none", "none://")
    match "none" if is_none else urls.scheme_of(url, "LEDGER_URL", KNOWN, unlisted=UNLISTED):
        case "sqlite":
            from mulligan.ledger.sqlite import SqliteLedger

            return SqliteLedger(urls.sqlite_path(url, "LEDGER_URL", base_dir), clock)
        case "postgresql" | "postgres":
            from mulligan.ledger.postgres import open_postgres

            return open_postgres(url, clock, base_dir)
        case "memory":
            from mulligan.ledger.memory import MemoryLedger

            return MemoryLedger(clock)
        case "none":
            from mulligan.ledger.none import NoLedger

            return NoLedger()
    raise ConfigurationError([f"LEDGER_URL: {redacted_url(url)!r} is not available here."])
