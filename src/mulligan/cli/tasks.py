"""`mulligan tasks`: the tasks with policy and origin. `mulligan tasks run`: one of them, here, without a queue."""

import asyncio
import json
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, assert_never

from mulligan.cli.exit import Code, UsageError
from mulligan.cli.output import harmless, hidden, say, table, write
from mulligan.cli.send import attributes_of
from mulligan.cli.session import app_dir, settings
from mulligan.clock import SystemClock
from mulligan.core import fingerprint
from mulligan.core.message import Message, TaskName, Uid
from mulligan.core.outcome import NOT_TAKEN, Died, Failed, Interrupted, Outcome, Skipped, Succeeded, TimedOut
from mulligan.core.policy import delay_s
from mulligan.settings.model import Settings
from mulligan.tasks.context import AttemptFacts, Failure, TaskContext
from mulligan.tasks.loader import load
from mulligan.tasks.registry import LoadedTask, TaskRegistry
from mulligan.tasks.text import did_you_mean, shown

__all__ = ["ls", "run"]

_BODY_MAX_BYTES = 128 * 1024 * 1024  # RabbitMQ takes this, the others less


def ls(*, as_json: bool) -> None:
    """Print the tasks in the order of tasks.xml."""
    tasks = list(_load(settings().settings).tasks.values())
    if as_json:
        write(json.dumps([_data(task) for task in tasks], indent=2))
        return
    rows = [["task", "kind", "attempts", "first wait", "timeout", "from"]]
    rows += [[task.name, _kind(task), str(task.policy.max_attempts), _wait(task), _seconds(task), task.origin]
             for task in tasks]  # fmt: skip
    write(table(rows, right=(2, 3, 4)))


def run(name: str, body: str, *, attributes: Sequence[str], attempt: int, uid: str | None) -> int:
    """Run one attempt of a task, and print its end. 0: it succeeded or skipped; 1: it failed."""
    from mulligan.telemetry.log import configure

    chosen = settings().settings
    registry = _load(chosen)
    task = registry.tasks.get(TaskName(name))
    if task is None:
        raise UsageError(
            f"there is no task {shown(name)}. Known: {', '.join(registry.names)}.{did_you_mean(name, registry.names)}"
        )
    now = SystemClock.now()
    raw = _read(body)
    message_uid = _checked(uid) if uid else fingerprint.uid("tasks-run", secrets.token_hex(8), raw, now)
    message = Message(message_uid, raw, attributes_of(attributes), now)
    hub = configure(chosen, worker=None, rotates=False, now=SystemClock.now)
    try:
        outcome = asyncio.run(_attempt(task, _context(task, message, attempt, now, may_repeat=uid is not None)))
    finally:
        hub.close()
    return _print_outcome(task, outcome, attempt, SystemClock.now() - now)


async def _attempt(task: LoadedTask, context: TaskContext) -> Outcome:
    from mulligan.integrations import http
    from mulligan.testing.attempt import attempt

    try:
        if task.accepts is not None and not task.accepts(context.message):
            return Skipped(f"{NOT_TAKEN}: the message would not be passed to this task")
        return await attempt(task, context)
    finally:
        await http.close()


def _context(task: LoadedTask, message: Message, attempt: int, now: float, *, may_repeat: bool) -> TaskContext:
    """The context, with a made-up failure for a default task, which is never run without one.

    may_repeat: a message with a given uid may have been run before.
    """
    failures = (Failure(TaskName("SampleTask"), "a sample error, of mulligan tasks run", 2, now),)
    return TaskContext(
        message,
        task.name,
        AttemptFacts(attempt, max(attempt, task.policy.max_attempts), may_repeat=may_repeat),
        first_seen_at=now,
        failures=failures if task.is_default else (),
    )


def _print_outcome(task: LoadedTask, outcome: Outcome, attempt: int, took_s: float) -> int:
    match outcome:
        case Succeeded():
            write(f"{task.name} succeeded after {took_s:.2f} s")
        case Skipped(reason):
            write(f"{task.name} skipped it: {harmless(hidden(reason))}")
        case Failed(error, is_final, retry_after_s):
            write(f"{task.name} failed after {took_s:.2f} s: {harmless(hidden(error))}")
            say(_next(task, attempt, is_final=is_final, retry_after_s=retry_after_s))
            return Code.FAILURE
        case TimedOut(after_s):
            write(f"{task.name} timed out after {after_s:g} s")
            say(_next(task, attempt, is_final=False, retry_after_s=None))
            return Code.FAILURE
        case Interrupted() | Died():
            raise AssertionError(outcome)
        case _:
            assert_never(outcome)
    return Code.OK


def _next(task: LoadedTask, attempt: int, *, is_final: bool, retry_after_s: float | None) -> str:
    if is_final or attempt >= task.policy.max_attempts:
        return "in the system this would be its last attempt: the message becomes a dead letter"
    wait_s = delay_s(task.policy.backoff, attempt, 1.0) if retry_after_s is None else retry_after_s
    left = task.policy.max_attempts - attempt
    return f"in the system it would be tried again in about {wait_s:.0f} s, {left} more time{'s' if left > 1 else ''}"


def _load(chosen: Settings) -> TaskRegistry:
    return load(app_dir(), tasks_file=chosen.tasks_xml_file, defaults=chosen.policy)


def _read(body: str) -> bytes:
    if body != "-" and not body.startswith("@"):
        return body.encode("utf-8", "surrogateescape")
    try:
        if body == "-":
            if sys.stdin is None:
                raise UsageError("-: there is no standard input. Pipe the body in.")
            return _bounded(sys.stdin.buffer, body)
        with Path(body[1:]).open("rb") as file:
            return _bounded(file, body)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise UsageError(f"{shown(body)} can't be read: {reason or exc}. Correct its name.") from None


def _bounded(file: BinaryIO, name: str) -> bytes:
    raw = file.read(_BODY_MAX_BYTES + 1)
    if len(raw) > _BODY_MAX_BYTES:
        raise UsageError(f"{shown(name)} has more than {_BODY_MAX_BYTES:,} bytes, which no queue takes as one message.")
    return raw


def _checked(uid: str) -> Uid:
    if not uid.isascii() or not uid.isprintable() or len(uid) > 100:
        raise UsageError(f"--uid {shown(uid)}: expected a uid as `mulligan send` prints it.")
    return Uid(uid)


def _data(task: LoadedTask) -> dict[str, Any]:
    policy = task.policy
    return {
        "task": task.name,
        "default": task.is_default,
        "attempts": policy.max_attempts,
        "first_wait_s": None if task.backoff_fn else policy.backoff.first_s,
        "timeout_s": policy.timeout_s,
        "from": task.origin,
    }


def _kind(task: LoadedTask) -> str:
    return "default" if task.is_default else "task"


def _wait(task: LoadedTask) -> str:
    return "its own" if task.backoff_fn else f"{task.policy.backoff.first_s:g} s"


def _seconds(task: LoadedTask) -> str:
    return f"{task.policy.timeout_s:g} s"
