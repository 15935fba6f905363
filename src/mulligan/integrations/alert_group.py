"""Groups alerts of one kind: which task posts for a group, and which alerts are posted already.

Every default task of every worker records its message in a small SQLite file before it posts anything. The first one
posts for all that are recorded there; the others come back later and find that they were posted. So the count is exact
whichever worker asks, however often an attempt is repeated. What holds:

- on one host: one message per group, as long as the file is there; every alert is posted, or keeps waiting
- a task that dies while it posts is followed by another after SPEAK_S, which knows that a message may exist
- on several hosts: one message per host and group; the name of the file is part of the group's key
- when the file can't be used (a full disk), every alert is posted on its own rather than not at all
"""

import asyncio
import os
import secrets
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

from mulligan.core.fingerprint import idempotency_key
from mulligan.core.message import TaskName, Uid
from mulligan.core.value import value
from mulligan.integrations.failure import Ambiguous, Fault, RateLimited, Refused
from mulligan.integrations.once import spread_s
from mulligan.tasks.context import TaskContext
from mulligan.tasks.exceptions import GiveUp, Retry

__all__ = ["SPEAK_S", "AlertGroup", "AlreadyPosted", "Later", "Post", "post_grouped"]

SPEAK_S = 45.0
"""Seconds after which a speaker that has not ended is taken for dead: above the deadlines of its calls."""
UIDS_READ = 6
KEPT_S = 2 * 86_400.0
_BUSY_S = 5.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS store(id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS told(
    name TEXT PRIMARY KEY, began_at REAL NOT NULL, count INTEGER NOT NULL DEFAULT 0, told_at REAL NOT NULL DEFAULT 0,
    place TEXT, token TEXT, until REAL NOT NULL DEFAULT 0, is_unsure INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS member(
    name TEXT NOT NULL, uid TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (name, uid)
) WITHOUT ROWID;
"""


@value
class AlreadyPosted:
    """This message was posted already."""


@value
class Later:
    """Somebody is about to, or has just spoken: come back after that many seconds."""

    after_s: float


@value
class Post:
    """Post for the group now, then `AlertGroup.mark_posted` or `AlertGroup.give_back`.

    key: of the group's message at the service. count: of the group's messages; posted: how many of them were posted.
    place: where the group's message is, None when none is known. is_unsure: there may be one all the same.
    uids: of some messages, the newest first.
    """

    token: str
    key: str
    count: int
    posted: int
    place: str | None
    is_unsure: bool
    uids: tuple[str, ...]


Turn = AlreadyPosted | Later | Post


class AlertGroup:
    """The file. interval_s: seconds between two words on one group. Its methods block; call them in a thread."""

    def __init__(self, path: Path, task: str, interval_s: float) -> None:
        self._path = path
        self._task = task
        self._interval_s = interval_s

    def join(self, group: str, uid: str, now: float) -> Turn:
        """Write a message down; what its attempt is to do. Twice is once. Raises sqlite3.Error, OSError."""
        name = f"{self._task} {group}"
        with closing(self._open()) as store, store:
            store.execute("BEGIN IMMEDIATE")
            store.execute("INSERT OR IGNORE INTO told(name, began_at) VALUES (?, ?)", (name, now))
            count = int(store.execute("SELECT count(*) FROM member WHERE name = ?", (name,)).fetchone()[0])
            added = store.execute("INSERT OR IGNORE INTO member VALUES (?, ?, ?)", (name, uid, count + 1)).rowcount
            if added and count == 0:
                self._forget(store, now - KEPT_S)
            return self._turn(store, name, uid, count + added, now)

    def mark_posted(self, group: str, turn: Post, place: str, now: float) -> None:
        """The group was posted, up to the count of the turn."""
        with closing(self._open()) as store, store:
            store.execute(
                "UPDATE told SET count = max(count, ?), told_at = ?, place = ?, token = NULL, until = 0, is_unsure = 0 "
                "WHERE name = ? AND token = ?",
                (turn.count, now, place, f"{self._task} {group}", turn.token),
            )

    def give_back(self, group: str, turn: Post, *, is_unsure: bool) -> None:
        """The speaker did not get through. is_unsure: something may have been said."""
        with closing(self._open()) as store, store:
            store.execute(
                "UPDATE told SET token = NULL, until = 0, is_unsure = max(is_unsure, ?) WHERE name = ? AND token = ?",
                (int(is_unsure), f"{self._task} {group}", turn.token),
            )

    def _turn(self, store: sqlite3.Connection, name: str, uid: str, count: int, now: float) -> Turn:
        row = store.execute(
            "SELECT told.count, told_at, place, token, until, is_unsure, number FROM told JOIN member USING (name) "
            "WHERE name = ? AND uid = ?",
            (name, uid),
        ).fetchone()
        told, told_at, place, token, until, is_unsure, number = row
        if number <= told:
            return AlreadyPosted()
        # a clock that went back must not make anybody wait for longer than a speaker or an interval lasts
        if token is not None and now < until <= now + SPEAK_S:
            return Later(min(until - now, 2.0))
        if told and now < told_at + self._interval_s <= now + self._interval_s:
            return Later(told_at + self._interval_s - now)
        own = secrets.token_hex(8)
        unsure = bool(is_unsure) or token is not None
        store.execute(
            "UPDATE told SET token = ?, until = ?, is_unsure = ? WHERE name = ?",
            (own, now + SPEAK_S, int(unsure), name),
        )
        uids = store.execute(
            "SELECT uid FROM member WHERE name = ? ORDER BY number DESC LIMIT ?", (name, UIDS_READ)
        ).fetchall()
        key = idempotency_key(Uid(f"{self._store_id(store)} {name}"), TaskName(self._task))
        return Post(own, key, count, told, place, unsure, tuple(str(one[0]) for one in uids))

    def _store_id(self, store: sqlite3.Connection) -> str:
        row = store.execute("SELECT id FROM store").fetchone()
        if row is None:
            row = (secrets.token_hex(8),)
            store.execute("INSERT INTO store VALUES (?)", row)
        return str(row[0])

    def _forget(self, store: sqlite3.Connection, before: float) -> None:
        store.execute("DELETE FROM member WHERE name IN (SELECT name FROM told WHERE began_at < ?)", (before,))
        store.execute("DELETE FROM told WHERE began_at < ?", (before,))

    def _open(self) -> sqlite3.Connection:
        if not self._path.exists():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        store = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)
        try:
            if not store.execute("SELECT count(*) FROM sqlite_master WHERE name = 'member'").fetchone()[0]:
                store.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        except BaseException:
            store.close()
            raise
        return store


async def post_grouped(
    fold: AlertGroup,
    context: TaskContext,
    group: str,
    say: Callable[[Post], Awaitable[str]],
    *,
    service: str,
    now: Callable[[], float],
) -> None:
    """Post a message with its group. say: does it, returns the place, raises Fault. Raises Retry or GiveUp."""
    try:
        turn = await asyncio.to_thread(fold.join, group, context.uid, now())
    except (sqlite3.Error, OSError) as exc:
        context.log.warning("alerts are not folded", reason=f"{type(exc).__name__}: {exc}")
        key = context.idempotency_key
        turn = Post("", key, 1, 0, None, context.attempt > 1 or context.may_repeat, (context.uid,))
    spread = min(2.0, spread_s(context.idempotency_key, context.attempt))
    match turn:
        case AlreadyPosted():
            return
        case Later(after_s):
            raise Retry(after_s + spread, f"{service}: an alert of this kind was just posted, this one is counted next")
        case Post():
            await _speak(fold, context, group, turn, say, service, now)


async def _speak(
    fold: AlertGroup,
    context: TaskContext,
    group: str,
    turn: Post,
    say: Callable[[Post], Awaitable[str]],
    service: str,
    now: Callable[[], float],
) -> None:
    try:
        place = await say(turn)
    except BaseException as exc:
        # cancelled: something may be on its way
        is_unsure = not isinstance(exc, Fault) or isinstance(exc, Ambiguous)
        await _kept(context, turn, lambda: fold.give_back(group, turn, is_unsure=is_unsure))
        if isinstance(exc, Refused):
            raise GiveUp(f"{service}: {exc.reason}") from None
        if isinstance(exc, RateLimited):
            spread = spread_s(context.idempotency_key, context.attempt)
            raise Retry((exc.after_s or 0.0) + spread, f"{service}: {exc.reason}") from None
        if isinstance(exc, Fault):
            raise Retry(exc.after_s, f"{service}: {exc.reason}") from None
        raise
    await _kept(context, turn, lambda: fold.mark_posted(group, turn, place, now()))


async def _kept(context: TaskContext, turn: Post, keep: Callable[[], None]) -> None:
    """Write the end of a turn down. Where that fails the turn expires, and its follower looks first."""
    if not turn.token:
        return
    try:
        await asyncio.to_thread(keep)
    except (sqlite3.Error, OSError) as exc:
        context.log.warning("alerts are not folded", reason=f"{type(exc).__name__}: {exc}")
