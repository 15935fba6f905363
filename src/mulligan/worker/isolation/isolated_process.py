"""The process in which suspects run: `main`, with DESCRIPTOR as argument. The other side of `isolated_runner`.

It takes one job at a time and answers its end. It knows no broker and no ledger: there is nothing that it could settle.
"""

import asyncio
import contextvars
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, assert_never

import msgspec

from mulligan import fork
from mulligan.blocking import caught
from mulligan.clock import SystemClock
from mulligan.core import retry_state
from mulligan.core.error import ConfigurationError
from mulligan.core.message import AttributeValue, Message, TaskName, Typed, Uid
from mulligan.core.outcome import Died, Failed, Interrupted, Outcome, Skipped, Succeeded, TimedOut
from mulligan.tasks import loader
from mulligan.tasks.outcome_of import outcome_of_error, outcome_of_result, with_own_wait
from mulligan.tasks.registry import TaskRegistry
from mulligan.telemetry.log import configure
from mulligan.worker.extension import Middleware, around, load_functions
from mulligan.worker.ipc.channel import Job, JobEnd, Setup, SocketChannel, from_parent, hear, send_early
from mulligan.worker.ipc.child import become, leave
from mulligan.worker.ipc.parent_death import die_with_parent
from mulligan.worker.loop import run_and_leave

__all__ = ["main"]

_THREAD = ThreadPoolExecutor(1, "mulligan-task")


def main() -> None:
    """Serve jobs until the worker closes its end."""
    die_with_parent()
    end = socket.socket(fileno=int(sys.argv[1]))
    become(end)
    # the worker alone ends this process: a signal for all processes would look like the doing of the task
    signal.signal(signal.SIGTERM, lambda *_: None)
    fork.keep_handler(signal.SIGTERM)
    setup = hear(end, from_parent)
    if not isinstance(setup, Setup):
        return
    settings = setup.settings
    hub = configure(settings, worker=setup.worker, rotates=False, now=SystemClock.now)
    try:
        registry = loader.load(Path(setup.folder), tasks_file=settings.tasks_xml_file, defaults=settings.policy)
        middleware = load_functions(settings.middleware, "MIDDLEWARE", Path(setup.folder))
    except ConfigurationError as exc:
        send_early(end, JobEnd("problems", _sendable(str(exc))))
        return
    run_and_leave(_serve(end, registry, middleware))
    hub.close()
    leave(0)
    os._exit(0)


async def _serve(end: socket.socket, registry: TaskRegistry, middleware: Sequence[Middleware]) -> None:
    fork.sole_loop(asyncio.get_running_loop())
    channel = await SocketChannel.open(end, from_parent)
    await asyncio.get_running_loop().run_in_executor(_THREAD, _nothing)  # the thread is there before they are counted
    before = _traces()
    channel.send(JobEnd("ready"))
    while isinstance(job := await channel.receive(), Job):
        outcome = await _run(job, registry, middleware)
        if fork.FORKED.is_true:
            fork.end()
        channel.send(msgspec.structs.replace(_job_end(outcome), leaves=_traces() != before))
        await channel.flush()


def _nothing() -> None:
    """Work for a thread."""


def _traces() -> object:
    """What an attempt may leave in its process that could end the next one: threads, timers, limits."""
    limits = (
        resource.RLIMIT_CPU,
        resource.RLIMIT_AS,
        resource.RLIMIT_DATA,
        resource.RLIMIT_NOFILE,
        resource.RLIMIT_FSIZE,
    )
    timers = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
    try:
        threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - numbers, not paths
    except OSError:
        threads = threading.active_count()
    return (
        threads,
        any(signal.getitimer(one)[0] for one in timers),
        [resource.getrlimit(one) for one in limits],
    )


async def _run(job: Job, registry: TaskRegistry, middleware: Sequence[Middleware] = ()) -> Outcome:
    task = registry.tasks.get(TaskName(job.task))
    if task is None:  # tasks.xml is another one than when the worker was started; an error would look like a death
        return Interrupted(lacks_task=True)
    message = _message(job)
    context = task.context_for(
        message,
        retry_state.decode_progress(job.progress),
        job.attempt,
        generation=job.generation,
        first_seen_at=job.first_seen_at,
        may_repeat=True,  # what is run here is a suspect
    )

    async def call() -> Any:
        if task.is_async:
            return await task.invoke(message, context)
        # in a thread, as in a worker: much code begins an event loop of its own, or refuses to run in one
        work = partial(contextvars.copy_context().run, caught, partial(task.invoke, message, context))
        result, error = await asyncio.get_running_loop().run_in_executor(_THREAD, work)
        if error is not None:
            raise error
        return result

    try:
        outcome = outcome_of_result(await around(middleware, call, context)())
    except BaseException as exc:  # noqa: BLE001 - user code may raise anything; here it becomes an outcome
        outcome = outcome_of_error(task, exc)
    return with_own_wait(task, job.attempt, outcome)


def _message(job: Job) -> Message:
    attributes = {name: _unpacked(kind, is_text, raw) for name, kind, is_text, raw in job.attributes}
    return Message(Uid(job.uid), job.body, attributes, job.sent_at)


def _unpacked(kind: str, is_text: bool, raw: bytes) -> AttributeValue:
    one = raw.decode("utf-8", "surrogatepass") if is_text else raw
    return Typed(kind, one) if kind else one


def _job_end(outcome: Outcome) -> JobEnd:
    match outcome:
        case Succeeded():
            return JobEnd("succeeded")
        case Skipped(reason):
            return JobEnd("skipped", _sendable(reason))
        case Failed(error, is_final, retry_after_s):
            return JobEnd("failed", _sendable(error), is_final, retry_after_s)
        case Interrupted(lacks_task=True):
            return JobEnd("missing")
        case TimedOut() | Interrupted() | Died():  # reported by the worker that waits, never from in here
            raise AssertionError(outcome)
        case _:
            assert_never(outcome)


def _sendable(text: str) -> str:
    # half a surrogate pair can't be sent; raised here it would look as if the task had ended the process
    return text.encode("utf-8", "backslashreplace").decode()
