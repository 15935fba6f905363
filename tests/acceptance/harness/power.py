"""A power cut: every process gone at once, on a disk that keeps only what was synced, and what has to be left then."""

import signal
import sqlite3
import time
from contextlib import closing
from textwrap import dedent

from tests.acceptance.harness.app import finished_in
from tests.acceptance.harness.forgetful import SWITCH
from tests.acceptance.harness.source import tasks

__all__ = ["CODE", "MESSAGES", "check", "cut", "lay_out", "lost", "play"]

MESSAGES = 20
"""Sent before each cut."""

CODE = tasks(Good="await asyncio.sleep(0.01)", Alert="pass") + dedent("""
    class Bad(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                if data.startswith("never") or (data.startswith("once") and context.attempt == 1):
                    raise RuntimeError("as its name says")
""")


def lay_out(app, disk):
    """An application whose databases are on the disk."""
    app.task("work", CODE)
    app.manifest("work Good", "work Bad", "work Alert default")
    app.settings |= {
        "BROKER_URL": f"sqlite:///{disk}/mulligan.db", "LEDGER_URL": f"sqlite:///{disk}/ledger.db", "POOL_SIZE": 1,
        "LEASE_S": 2, "CONCURRENCY": 5,
    }  # fmt: skip
    return app


def rows(path, statement) -> list[tuple]:
    if not path.exists():
        return []
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        connection.execute("PRAGMA query_only = 1")
        return connection.execute(statement).fetchall()


def cut(disk, system, until, seed: int, share: float) -> None:
    """Power off, every process gone, power on."""
    (disk / SWITCH).write_text(f"cut {seed} {share}")
    system.signal_all(signal.SIGKILL)
    system.popen.wait()
    until(lambda: not system.group(), "everything has ended")
    until(lambda: int((disk / SWITCH).read_text()) == 0, "everything has let go of its files")
    (disk / SWITCH).write_text("on")


def verdict(path) -> str:
    """ok, or what is wrong with a database."""
    if not path.exists():
        return "absent"
    return " ".join(text for (text,) in rows(path, "PRAGMA integrity_check"))


def finished(disk) -> set[tuple[str, str]]:
    """(uid, task) of every completion in the ledger."""
    return finished_in(rows(disk / "ledger.db", "SELECT uid, progress FROM record WHERE progress IS NOT NULL"))


def gone(app, disk) -> set[str]:
    """Uids that have had an effect and are not on requests or rejects any more."""
    statement = (
        "SELECT body FROM message JOIN content USING (id) JOIN queue ON number = queue WHERE name NOT LIKE '%-dead-q'"
    )
    there = {bytes(body).decode() for (body,) in rows(disk / "mulligan.db", statement)}
    return {one.uid for one in app.effects() if one.body not in there}


def play(app, disk, until, rand, cuts: int) -> tuple[list[str], list]:
    """Send and cut somewhere in the work, again and again. The bodies acknowledged, and starts after their record."""
    kinds = ("ok", "ok", "ok", "once", "never")
    bodies: list[str] = []
    recorded: list[tuple[set[tuple[str, str]], int]] = []
    for number in range(cuts):
        some = [f"{kinds[place % 5]}-{number}-{place}" for place in range(MESSAGES)]
        system = app.start().until_up()
        app.send(some)
        bodies += some
        time.sleep(rand.random() * 0.5)  # anywhere in the work
        # a completion that is seen may not be synced yet, and then it is not recorded. It is where the message has been
        # removed, which comes after
        seen, removed = finished(disk), gone(app, disk)
        recorded.append(({one for one in seen if one[0] in removed}, app.count()))
        cut(disk, system, until, rand.randrange(2**32), rand.choice((0.0, 0.5, 0.9)))
        recorded.append((finished(disk), app.count()))
        assert [verdict(disk / name) for name in ("mulligan.db", "ledger.db")] == ["ok", "ok"], f"after cut {number}"
    app.drain()
    effects = app.effects()
    again = [
        one
        for done, length in recorded
        for one in effects[length:]
        if one.what == "start" and (one.uid, one.task) in done
    ]
    return bodies, again


def lost(app, bodies) -> set[str]:
    """Acknowledged, and never done."""
    return set(bodies) - {one.body for one in app.effects("Good", "end")}


def check(app, bodies, again) -> None:
    """Nothing is lost or run again, alerts and dead letters are exact."""
    never = {body for body in bodies if body.startswith("never")}
    assert lost(app, bodies) == set()
    assert again == []
    assert {one.body for one in app.effects("Bad", "end")} == set(bodies) - never
    assert {one.body for one in app.effects("Alert", "end")} == never
    uid_of = {one.body: one.uid for one in app.effects()}
    assert sorted(letter["uid"] for letter in app.dead()) == sorted(uid_of[body] for body in never)
    assert app.left() == {"requests": 0, "rejects": 0}
