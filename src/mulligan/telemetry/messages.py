"""One short sentence an event, for a person who follows the log. Pure.

The unions are closed by `assert_never`; that they hold every event of `core.event` is tested.
"""

from collections.abc import Sequence
from typing import assert_never, cast

from mulligan.core import event as e
from mulligan.core.message import TaskName

__all__ = ["AnyEvent", "duration", "first_line", "sentence", "sentence_of", "unlisted"]

TaskEvent = (
    e.TaskSucceeded
    | e.TaskSkipped
    | e.TaskFailed
    | e.TaskLate
    | e.TaskExhausted
    | e.TaskStuck
    | e.SuspectIsolated
    | e.SuspectDied
    | e.IsolationFailed
)
MessageEvent = (
    e.MessageDone
    | e.MessageRejected
    | e.MessageReleased
    | e.MessageDeadLettered
    | e.DefaultTasksFinished
    | e.DuplicateSkipped
    | e.BodyMissing
    | e.LeaseLost
    | e.SettlementFailed
)
ProcessEvent = (
    e.WorkerStarted
    | e.WorkerDied
    | e.WorkerRecycled
    | e.WorkerBlocked
    | e.ProcessesLeft
    | e.ThreadLimitReached
    | e.Started
    | e.Stopping
    | e.StoppingAtOnce
    | e.Stopped
    | e.ListenerFailed
)
ServiceEvent = (
    e.QueuesDeclared
    | e.StartWaits
    | e.StartGoesOn
    | e.BrokerDown
    | e.BrokerUp
    | e.ReceiveRefused
    | e.BrokerWarning
    | e.ClockDiffers
    | e.LedgerDown
    | e.LedgerUp
)
SettingEvent = e.SettingRenamed | e.LedgerLocal | e.TasksUnknown
ForeignEvent = e.RetryStateMissing | e.RetryStateNotTrusted | e.MessageMoved
HeldEvent = e.StateTooNew | e.StateDamaged | e.RowDamaged | e.TaskMissing
ApplicationEvent = e.VariablesIgnored | e.TaskUnlisted
AnyEvent = (
    MessageEvent | ForeignEvent | TaskEvent | ProcessEvent | ServiceEvent | SettingEvent | HeldEvent | ApplicationEvent
)

_ERROR_MAX = 300
_SERVICE_MAX = 1000
"""What is said of broker and ledger is ours for the most part, and ends with what to do."""
_NAMES_MAX = 5


def sentence(event: AnyEvent) -> str:
    """The event in words, on one line as far as our words go; texts of others are cut to their first line."""
    if isinstance(event, MessageEvent):
        return f"{event.uid} {_of_message(event)}"
    if isinstance(event, ForeignEvent):
        return f"{event.uid} {_of_foreign(event)}"
    if isinstance(event, TaskEvent):
        return f"{event.uid} {_of_task(event)}"
    if isinstance(event, ProcessEvent):
        return _of_process(event)
    if isinstance(event, HeldEvent):
        noun = ("message", "messages") if isinstance(event, e.TaskMissing) else ("copy", "copies")
        return f"{event.queue}: {_count(event.copies, *noun)} {_of_held(event)}"
    if isinstance(event, SettingEvent):
        return _of_setting(event)
    if isinstance(event, ApplicationEvent):
        return _of_application(event)
    return _of_service(event)


def sentence_of(event: e.Event) -> str:
    """The same for an event whose kind is not known to the type checker. Raises AssertionError at one of no union."""
    return sentence(cast(AnyEvent, event))


def duration(seconds: float) -> str:
    """A time for a person: '850 ms', '7.3 s', '12 min', '3.5 h', '2.1 days'."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms" if seconds > 0 else "0 s"
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h" if seconds < 172_800 else f"{seconds / 86_400:.3g} days"


def first_line(text: str, longest: int = _ERROR_MAX) -> str:
    """The first line of somebody's text, cut; ' ...' says that there is more. longest: in characters."""
    line, _, rest = text.strip().partition("\n")
    line = line.rstrip()
    if len(line) > longest:
        return line[: longest - 4] + " ..."
    return f"{line} ..." if rest else line


def _service(text: str) -> str:
    return first_line(text, _SERVICE_MAX)


def unlisted(file: str, task: str, manifest: str) -> str:
    """What is to be said of a task that the manifest doesn't name."""
    return (
        f"{file}: {task} is not in {manifest}, so no message goes to it. List it there; to switch it off, put its "
        "entry into a comment"
    )


def _of_message(event: MessageEvent) -> str:
    match event:
        case e.MessageDone():
            return f"is done: {_count(event.tasks, 'task')} in {duration(event.took_s)}"
        case e.MessageRejected():
            return f"waits on the rejects queue for {duration(event.delay_s)} (copy {event.hop})"
        case e.MessageReleased():
            return f"was released, visible again in {duration(event.delay_s)}: {first_line(event.reason)}"
        case e.MessageDeadLettered():
            return (
                f"is a dead letter now: {_names(event.failed)} failed permanently"
                if event.failed
                else ("is a dead letter now: no task takes it")
            )
        case e.DefaultTasksFinished():
            ended = "default tasks have ended"
            return f"{ended}, {_names(event.exhausted)} failed permanently" if event.exhausted else ended
        case e.DuplicateSkipped():
            return f"was skipped as a duplicate: {first_line(event.reason)}"
        case e.BodyMissing():
            wait = duration(event.again_in_s)
            return f"can't be run and stays on {event.queue}, checked again in {wait}: {first_line(event.problem)}"
        case e.LeaseLost():
            return f"lost its lease, its next receiver has it: {first_line(event.reason)}"
        case e.SettlementFailed():
            more = f" (and of {_count(event.others, 'other')} since the last report)" if event.others else ""
            return f"{event.settlement}{more} failed: {first_line(event.reason)}; {first_line(event.action)}"
        case _:
            assert_never(event)


def _of_foreign(event: ForeignEvent) -> str:
    """What somebody else has put, or moved, where it lies."""
    match event:
        case e.RetryStateMissing():
            return f"came on {event.queue} without retry state, so not from this program: {_of_stray(event.becomes)}"
        case e.RetryStateNotTrusted():
            return f"came on {event.queue} with retry state that is not trusted there: {_of_doubt(event)}"
        case e.MessageMoved():
            return f"was moved to {event.queue} from outside: {_of_move(event)}"
        case _:
            assert_never(event)


def _of_stray(becomes: e.Becomes) -> str:
    if becomes == "known":
        return "the ledger knows its message, which continues from there; a buried one returns to the dead queue"
    return f"{'all its tasks run' if becomes == 'run' else 'it becomes a dead letter'} (UNKNOWN_ON_REJECTS)"


def _of_doubt(event: e.RetryStateNotTrusted) -> str:
    whose = "" if event.state_uid is None else f", that of {event.state_uid}"
    return (
        f"{first_line(event.problem)}{whose}. All its tasks run as those of a new message, those that were done, too;"
        " `mulligan dead replay` would have kept them"
    )


def _of_move(event: e.MessageMoved) -> str:
    if not event.is_replay:
        return "it continues where it was"
    if event.is_first:
        return f"replayed, generation {event.generation}"
    return f"it was already replayed, and continues in generation {event.generation}"


def _of_held(event: HeldEvent) -> str:
    groups = _names(event.groups)
    behind = "" if not groups else f"; groups {groups} wait" if len(event.groups) > 1 else f"; group {groups} waits"
    if isinstance(event, e.TaskMissing):
        verb = "waits" if event.copies == 1 else "wait"
        return (
            f"{verb} for task {event.task}, which is not in tasks.xml here: the last is {event.uid}{behind}. "
            f"Let a process run that has the task; {duration(event.grace_s)} after it was due it has failed "
            "permanently (TASK_MISSING_GRACE_S)"
        )
    wait = f"left alone and checked again in {duration(event.again_in_s)}, the last is {event.uid}{behind}"
    match event:
        case e.StateTooNew():
            return (
                f"with a state of version {event.version}, this program knows {event.known}: {wait}. "
                "Upgrade this program, or let the newer one run that wrote them"
            )
        case e.RowDamaged():
            return (
                f"whose row in the ledger can't be read ({first_line(event.problem)}): {wait}. "
                "Repair the row's progress there; or remove the row, and all tasks of that message run again"
            )
        case e.StateDamaged():
            return (
                f"with a state that can't be read ({first_line(event.problem)}): {wait}. "
                "Look at them with `mulligan peek` and mend or remove them at the broker"
            )
        case _:
            assert_never(event)


def _of_task(event: TaskEvent) -> str:
    match event:
        case e.TaskSucceeded():
            return f"{event.task} succeeded at attempt {event.attempt} in {duration(event.took_s)}"
        case e.TaskSkipped():
            return f"{event.task} skipped it: {first_line(event.reason)}"
        case e.TaskFailed():
            which = f"attempt {event.attempt} of {event.max_attempts}"
            return f"{event.task} failed ({which}, again in {duration(event.retry_in_s)}): {first_line(event.error)}"
        case e.TaskLate():
            return (
                f"{event.task} succeeded after {duration(event.took_s)}, beyond its timeout of "
                f"{duration(event.timeout_s)}: that counts. Give it more time, or a call in it a limit of its own"
            )
        case e.TaskExhausted():
            return f"{event.task} failed permanently (attempt {event.attempt}): {first_line(event.error)}"
        case e.TaskStuck():
            return f"{event.task} does not end {duration(event.after_s)} after its start, its slot stays taken"
        case e.SuspectIsolated():
            deaths = _count(event.deaths, "death")
            return f"was in flight at {deaths} of a worker or its host: its tasks run in isolation now"
        case e.SuspectDied():
            return f"{event.task} ended its process ({event.how}), {_count(event.deaths, 'time')} now"
        case e.IsolationFailed():
            then = f"tried {_count(event.tries_left, 'more time')}" if event.tries_left else "which is a failed attempt"
            return f"{event.task} can't be run in isolation, {then}: {first_line(event.problem)}"
        case _:
            assert_never(event)


def _of_process(event: ProcessEvent) -> str:
    match event:
        case e.WorkerStarted():
            return f"worker {event.worker} (pid {event.pid}) is up: {_of_slots(event)}"
        case e.WorkerDied():
            then = "is not restarted" if event.restart_in_s is None else f"restart in {duration(event.restart_in_s)}"
            return (
                f"worker {event.worker} (pid {event.pid}) died: {event.how}, "
                f"{_count(event.in_flight, 'message')} in flight, {then}"
            )
        case e.WorkerRecycled():
            return f"worker {event.worker} (pid {event.pid}) drained and is replaced: {first_line(event.reason)}"
        case e.WorkerBlocked():
            what = (
                f"no task runs in it, and its event loop has not turned for {duration(event.silent_s)}"
                if event.overdue_s is None
                else f"a task holds it {duration(event.overdue_s)} beyond its timeout"
            )
            return f"worker {event.worker} (pid {event.pid}) is killed and replaced: {what}"
        case e.ProcessesLeft():
            ended = f"ended what its tasks had started: {_names(event.ended)}" if event.ended else ""
            stayed = f"could not end what its tasks had started: {_names(event.stayed)}" if event.stayed else ""
            return f"after the end of process {event.pid} {'; '.join(filter(None, (ended, stayed)))}"
        case e.ThreadLimitReached():
            return (
                f"a worker has {_count(event.threads, 'thread')} for sync tasks and can't start more "
                f"({first_line(event.reason)}): they wait for each other. Raise the limit (`ulimit -u`, the "
                "container's pids limit), or lower CONCURRENCY"
            )
        case e.Started():
            return (
                f"up on {event.broker}: {_count(event.workers, 'worker')}, consumers: "
                f"{event.requests_consumers} of requests, {event.rejects_consumers} of rejects, so "
                f"{_count(event.requests_consumers * event.concurrency, 'message')} of requests and "
                f"{event.rejects_consumers * event.concurrency} of rejects at once"
            )
        case e.Stopping():
            return f"stopping ({first_line(event.reason)}): {_of_stop(event)}"
        case e.StoppingAtOnce():
            cut = f", the tasks of {_count(event.running, 'message')} are cut short" if event.running else ""
            return f"ending at once ({event.reason} again): workers are killed{cut}, and what is held is given back"
        case e.Stopped():
            return f"stopped: {event.done} done, {event.rejected} rejected, {event.buried} buried"
        case e.ListenerFailed():
            return f"listener {event.listener} raised and was skipped: {first_line(event.error)}"
        case _:
            assert_never(event)


def _of_application(event: ApplicationEvent) -> str:
    match event:
        case e.VariablesIgnored():
            return f"{_names(event.names)}: set by Kubernetes for its Services, not settings"
        case e.TaskUnlisted():
            return unlisted(event.file, event.task, event.manifest)
        case _:
            assert_never(event)


def _of_slots(event: e.WorkerStarted) -> str:
    """What a worker has no consumer of is left out: 0 slots read like a fault."""
    if not event.requests_slots:
        return f"{event.rejects_slots} slots for rejects"
    rejects = f", {event.rejects_slots} for rejects" if event.rejects_slots else ""
    return f"{event.requests_slots} slots for requests{rejects}"


_AGAIN = {"SIGINT": "Ctrl-C again ends at once", "SIGTERM": "a second signal ends at once"}


def _of_stop(event: e.Stopping) -> str:
    """What is waited for, how long at most, and how to wait no longer."""
    waits = []
    if event.running:
        waits.append(f"the tasks of {_count(event.running, 'message')} have {duration(event.grace_s)} to end")
    if event.poll_s:
        waits.append(f"a receive under way can't be cut and ends within {duration(event.poll_s)}")
    if not waits:
        return "no task is running"
    return "; ".join((*waits, _AGAIN.get(event.reason, "two signals (Ctrl-C twice) end at once")))


def _of_service(event: ServiceEvent) -> str:
    match event:
        case e.QueuesDeclared():
            found = [name for name in event.names if name not in event.created]
            parts = [f"{what} {_names(names)}" for what, names in (("made", event.created), ("found", found)) if names]
            return f"queues: {'; '.join(parts)}"
        case e.StartWaits():
            return (
                f"the start waits for the {event.what}, up to {duration(event.within_s)} (START_WAIT_S): "
                f"{first_line(event.error)}"
            )
        case e.StartGoesOn():
            return f"the {event.what} answers after {duration(event.after_s)}: the start continues"
        case e.BrokerDown():
            return f"broker is not reachable ({event.where}), retrying: {_service(event.error)}"
        case e.BrokerUp():
            return f"broker answers again ({event.where}) after {duration(event.after_s)}"
        case e.ReceiveRefused():
            return f"broker refused to deliver from {event.queue}, retrying later: {_service(event.error)}"
        case e.ClockDiffers():
            way = "ahead of" if event.ahead_s > 0 else "behind"
            return (
                f"this machine's clock is {duration(abs(event.ahead_s))} {way} that of {event.where}: retries are early"
                " or late by it on other hosts. Set it (NTP)"
            )
        case e.BrokerWarning():
            return f"{event.where}: {_service(event.text)}"
        case e.LedgerDown():
            return f"ledger can't be written, nothing is acknowledged until it can: {_service(event.error)}"
        case e.LedgerUp():
            return f"ledger is writable again after {duration(event.after_s)}"
        case _:
            assert_never(event)


def _of_setting(event: SettingEvent) -> str:
    match event:
        case e.SettingRenamed():
            return (
                f"{event.place}: {event.old} is an earlier name of {event.name}, and {event.meaning}. "
                f"It still works; use {event.name}"
            )
        case e.LedgerLocal():
            return (
                f"the ledger is local ({event.ledger}), and other hosts can take messages of {event.broker}. That a "
                "done task never runs twice holds on this host alone, and as long as its disk is kept. For more hosts, "
                "or containers, set LEDGER_URL to a postgresql:// one"
            )
        case e.TasksUnknown():
            return (
                f"{event.queue}: {event.copies} of {_count(event.seen, 'copy', 'copies')} looked at "
                f"{'is' if event.copies == 1 else 'are'} of tasks that this application doesn't have: "
                f"{_first(event.tasks)}. If it is yours, put the task back into tasks.xml under that name; if not, "
                "another application uses this queue, and needs a COMMON_PREFIX of its own"
            )
        case _:
            assert_never(event)


def _first(names: Sequence[str]) -> str:
    """A few of many names."""
    more = len(names) - _NAMES_MAX
    return f"{_names(names[:_NAMES_MAX])} and {more} more" if more > 0 else _names(names)


def _names(names: Sequence[TaskName] | Sequence[str]) -> str:
    return ", ".join(names)


def _count(number: int, noun: str, nouns: str | None = None) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {nouns or noun + 's'}"
