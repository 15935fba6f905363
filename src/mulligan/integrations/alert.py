"""What an alert says about a message that could not be finished, and what kind of alert it is. Pure."""

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from mulligan.core.message import Message, TaskName, Uid
from mulligan.core.value import value
from mulligan.integrations.content import cut, one_line, text_of
from mulligan.tasks.context import Failure, TaskContext

__all__ = ["Alert", "alert_of", "as_data", "command", "lines_of", "log", "title_of"]

ERROR_MAX = 600
BODY_MAX = 1500
UIDS_SHOWN = 5

# what differs between two errors of one kind: numbers, ids, what stands in quotes
_DETAIL = re.compile(r"'[^']*'|\"[^\"]*\"|\b0x[0-9a-fA-F]+|\b[0-9a-fA-F-]{8,}\b|\d+")
_NOTE = re.compile(r" \[may be there since [\d.]+\]")


@value
class Alert:
    """An alert about one message.

    group: the same for all messages whose failures are of one kind and happened in one minute.
    age_s: since the message was sent. body: its text, "" unless asked for.
    """

    uid: Uid
    group: str
    failures: tuple[Failure, ...]
    succeeded: tuple[TaskName, ...]
    age_s: float
    body: str = ""


def alert_of(message: Message, context: TaskContext, now: float, *, shows_body: bool = False) -> Alert:
    """The alert for a default task's attempt. now: epoch seconds."""
    failures = context.failures
    # not the present time: an attempt of tomorrow belongs to the same group
    failed_at = max((one.failed_at for one in failures if one.failed_at is not None), default=context.first_seen_at)
    kinds = sorted(f"{one.task}: {_kind(one.reason)}" for one in failures)
    digest = hashlib.sha256("\0".join(kinds).encode("utf-8", "backslashreplace")).hexdigest()[:20]
    return Alert(
        context.uid,
        f"{int(failed_at // 60)}-{digest}",
        failures,
        context.succeeded,
        max(0.0, now - message.sent_at),
        text_of(message, BODY_MAX) if shows_body else "",
    )


def title_of(alert: Alert, count: int = 1) -> str:
    """One line: what failed, and for how many messages."""
    whose = f"{count} messages" if count > 1 else "a message"
    if not alert.failures:
        return f"No task took {whose}"
    return f"{' and '.join(one.task for one in alert.failures)} could not be done for {whose}"


def lines_of(alert: Alert, others: Sequence[str] = (), count: int = 1) -> list[str]:
    """The facts, a line each. others: uids of further messages of the group; count: of all its messages."""
    lines = [f"{one.task}: {_attempts(one)}: {reason_of(one)}" for one in alert.failures]
    if alert.succeeded:
        lines.append(f"done: {', '.join(alert.succeeded)}")
    lines.append(f"uid: {alert.uid}, sent {_age(alert.age_s)} before this alert")
    if alert.body:
        lines.append(f"body: {alert.body}")
    lines.append(f"look: {command(alert.uid)}")
    further = [one for one in others if one != alert.uid][:UIDS_SHOWN]
    if further:
        more = count - 1 - len(further)
        lines.append(f"also: {', '.join(further)}{f' and {more} more (mulligan dead ls)' if more > 0 else ''}")
    return lines


def command(uid: str) -> str:
    """What shows the dead letter."""
    return f"mulligan dead show {uid}"


def as_data(alert: Alert) -> dict[str, Any]:
    """The alert for a program."""
    return {
        "uid": alert.uid,
        "failures": [
            {"task": one.task, "attempts": one.attempts, "error": one.reason, "failed_at": _iso(one.failed_at)}
            for one in alert.failures
        ],
        "succeeded": list(alert.succeeded),
        "age_s": round(alert.age_s, 3),
        "look": command(alert.uid),
        **({"body": alert.body} if alert.body else {}),
    }


def log(alert: Alert, context: TaskContext, **more: Any) -> None:
    """Write the alert to the log, one line per task."""
    for one in alert.failures:
        context.log.error(
            "a task could not be done",
            failed=one.task,
            attempts=one.attempts,
            reason=reason_of(one),
            look=command(alert.uid),
            **more,
        )
    if not alert.failures:
        context.log.error("no task took the message", look=command(alert.uid), **more)


def reason_of(failure: Failure) -> str:
    """The last error, without what only this package's tasks read of it."""
    return cut(_NOTE.sub("", failure.reason).strip(), ERROR_MAX) or "(no reason)"


def _kind(reason: str) -> str:
    first = _NOTE.sub("", reason).strip().partition("\n")[0]
    return one_line(_DETAIL.sub("#", first[:500]), 200)


def _attempts(failure: Failure) -> str:
    tried = f"{failure.attempts} attempt{'' if failure.attempts == 1 else 's'}"
    return tried if failure.failed_at is None else f"{tried}, the last at {_iso(failure.failed_at)}"


def _iso(at: float | None) -> str | None:
    return None if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
