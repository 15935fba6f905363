"""The ledger for several hosts, in PostgreSQL. Needs the extra `postgres`.

`address` -> `session` -> `group_commit` -> `ledger`: each knows only those before it. `statement` and `schema` hold the
SQL, `fault` says what an error means.
"""

from importlib.util import find_spec
from pathlib import Path

from mulligan.core.clock import Clock
from mulligan.core.error import ConfigurationError
from mulligan.core.extra import install_hint
from mulligan.ledger.base import Ledger

__all__ = ["open_postgres"]


def open_postgres(url: str, clock: Clock, base_dir: Path) -> Ledger:
    """The ledger of `postgresql://...`, whose files are below base_dir; nothing is connected yet. Raises
    ConfigurationError, also without the extra.
    """
    if find_spec("asyncpg") is None:
        raise ConfigurationError(
            [f"LEDGER_URL asks for PostgreSQL, and asyncpg is not installed: {install_hint('postgres')}"]
        )
    from mulligan.ledger.postgres.ledger import PostgresLedger

    return PostgresLedger(url, clock, base_dir=base_dir)
