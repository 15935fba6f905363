"""Makes the ledger's tables and brings them up to date. One process does it, the others wait for it.

`mulligan_version` has two numbers: the version of the tables, and their *oldest reader*, the oldest version that a
program may know and still use them (NULL, or no such column, as in tables of before it: the version itself). Both are
in one row, so that they are read and changed together.
"""

import json
from collections.abc import Sequence

from mulligan.core.error import ConfigurationError, LedgerUnavailable
from mulligan.ledger.postgres.session import Connection

__all__ = ["ensure"]

OLDEST = 12  # MATERIALIZED
_LOCK = 0x4D4C474C  # "MLGL": of the advisory lock, known to every version

OLDEST_READER = 1
"""Programs that know this version of the tables, or a later one, work on what the last migration makes. It stays behind
as long as migrations only add tables, and columns with defaults; every statement names its columns."""

# one step a version, never changed once released
MIGRATIONS: Sequence[Sequence[str]] = (
    (
        # C: keys are compared by their bytes, so that they are in the order of time whatever the database's language.
        # fillfactor: room for new versions of a row beside the old one; no index has to be touched then.
        # progress is text: jsonb refuses the escape of a NUL, which an error text may hold.
        """CREATE TABLE mulligan_record (
            uid text COLLATE "C" NOT NULL,
            generation bigint NOT NULL,
            hop bigint NOT NULL,
            asked_hop bigint NOT NULL,
            token text,
            ended text,
            until double precision,
            progress text,
            deaths integer NOT NULL,
            touched_at double precision NOT NULL,
            PRIMARY KEY (uid, generation)
        ) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05)""",
    ),
)


async def ensure(connection: Connection, shown: str) -> None:
    """Check the server, and make what is missing; tables of a newer version stay as they are.

    shown: the URL for a person. Raises ConfigurationError.
    """
    await _check_server(connection, shown)
    is_there = await connection.fetchval("SELECT to_regclass('mulligan_version') IS NOT NULL")
    version, oldest = await _version(connection) if is_there else (0, 0)
    if oldest > len(MIGRATIONS):
        needed = f" for programs that know {oldest} or later" if oldest != version else ""
        raise _problem(
            shown,
            f"its tables have version {version}{needed}, this mulligan knows up to {len(MIGRATIONS)}. Use the newer"
            " mulligan that made them, or name an empty database or schema",
        )
    if version < len(MIGRATIONS):
        async with connection.transaction():
            await _migrate(connection)


async def _migrate(connection: Connection) -> None:
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    # not asked for by name again: that may be answered from before somebody else had the lock
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS mulligan_version (version integer NOT NULL, oldest_reader integer)"
    )
    version, _ = await _version(connection)
    if version >= len(MIGRATIONS):
        return  # somebody was first, of a newer version perhaps, whose numbers must stay
    await connection.execute("ALTER TABLE mulligan_version ADD COLUMN IF NOT EXISTS oldest_reader integer")
    for step in MIGRATIONS[version:]:
        for statement in step:
            await connection.execute(statement)
    await connection.execute("DELETE FROM mulligan_version")
    await connection.execute(
        "INSERT INTO mulligan_version (version, oldest_reader) VALUES ($1, $2)", len(MIGRATIONS), OLDEST_READER
    )


async def _check_server(connection: Connection, shown: str) -> None:
    version = connection.get_server_version()
    if version.major < OLDEST:
        raise _problem(shown, f"the server is PostgreSQL {version.major}, expected {OLDEST} or newer. Upgrade it")
    if await connection.fetchval("SELECT current_setting('transaction_read_only')::bool"):
        raise LedgerUnavailable(  # it may be about to take over, or its name about to be another's
            f"ledger {shown}: the server is read-only: it is a standby, or default_transaction_read_only is on. Name"
            " the primary, or all hosts."
        )


async def _version(connection: Connection) -> tuple[int, int]:
    """The version of the tables and their oldest reader; (0, 0) when there are none yet."""
    # as one value whatever columns there are: the second came later
    found = await connection.fetchval(
        "SELECT to_jsonb(v)::text FROM mulligan_version AS v ORDER BY version DESC LIMIT 1"
    )
    if found is None:
        return 0, 0
    row = json.loads(found)
    version = int(row["version"])
    return version, int(row.get("oldest_reader") or version)


def _problem(shown: str, what: str) -> ConfigurationError:
    return ConfigurationError([f"LEDGER_URL: {shown!r}: {what}."])
