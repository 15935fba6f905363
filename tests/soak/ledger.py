"""The ledgers of the soak: a file, or a PostgreSQL server that does wrong."""

import json
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.harness.app import App
from tests.soak.service import Service
from tests.support import postgres

__all__ = ["FileLedger", "PostgresLedger", "running"]

FROZEN_S = 12.0
"""Longer than two leases."""
READ_ONLY_S = 5.0


class FileLedger(Service):
    """The one that an application has without being asked, in its folder."""

    def point(self, app: App) -> None:
        """Let the application use it."""

    def finished(self, app: App) -> set[tuple[str, str]]:
        """(uid, task) of every completion that it has recorded."""
        return app.finished()


class PostgresLedger(FileLedger):
    """A server of our own, with a schema for each round."""

    def __init__(self, server: postgres.Server) -> None:
        super().__init__()
        self._server = server
        self._schema = ""

    def point(self, app: App) -> None:
        self._schema = self._server.new_schema()
        app.settings["LEDGER_URL"] = self._server.url_of(self._schema)

    def finished(self, app: App) -> set[tuple[str, str]]:
        self.wait()
        table = f"{self._schema}.mulligan_record"
        if self._server.sql(f"SELECT to_regclass('{table}') IS NULL") == ["t"]:
            return set()
        rows = self._server.sql(f"SELECT uid, progress FROM {table} WHERE progress IS NOT NULL")
        return {
            (uid, task)
            for uid, _, text in (row.partition("|") for row in rows)
            for kind in ("tasks", "alerts")
            for task, mark in (json.loads(text).get(kind) or {}).items()
            if mark[0] == "d"
        }

    def _logs(self) -> Iterable[Path]:
        return [self._server.folder / "server.log"]

    def _do(self, fault: str) -> None:
        server = self._server
        match fault:
            case "ledger crash":
                server.stop(signal.SIGQUIT)
                time.sleep(1.0)
                server.start()
            case "ledger restart":
                server.stop()
                server.start()
            case "ledger frozen":
                with server.frozen():
                    time.sleep(FROZEN_S)
            case "ledger sessions":
                server.sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                )
            case "ledger read-only":
                server.sql("ALTER SYSTEM SET default_transaction_read_only = on")
                server.sql("SELECT pg_reload_conf()")
                time.sleep(READ_ONLY_S)
                server.sql("ALTER SYSTEM RESET default_transaction_read_only")
                server.sql("SELECT pg_reload_conf()")
            case _:
                super()._do(fault)


@contextmanager
def running(ledgers: set[str]) -> Iterator[dict[str, FileLedger]]:
    """Ledgers of these names, ended with the block."""
    found = {"file": FileLedger()}
    if "postgres" not in ledgers:
        yield found
        return
    try:
        postgres.programs()
    except (pytest.skip.Exception, pytest.fail.Exception) as exc:
        raise SystemExit(str(exc)) from None
    with postgres.running() as server:
        ledger = found["postgres"] = PostgresLedger(server)
        try:
            yield found
        finally:
            ledger.close()
