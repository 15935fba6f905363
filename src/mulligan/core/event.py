"""What happened, as values: one dataclass per event. Listeners in `telemetry` turn them into log lines and numbers.

No event carries a body, an attribute's value or a secret. The docstring's first sentence says what happened;
`telemetry.messages` has the words of the log line, and `level` is the level at which it is logged.
"""

from typing import ClassVar, Literal

from mulligan.core.message import QueueName, TaskName, Uid
from mulligan.core.value import value

Level = Literal["debug", "info", "warning", "error"]


@value
class Event:
    """The root of all events. Never emitted itself."""

    level: ClassVar[Level] = "info"


# -- one message --------------------------------------------------------------------------------------------------


@value
class MessageDone(Event):
    """All tasks of the message are done. took_s: seconds from this receipt to the end of its last task."""

    uid: Uid
    tasks: int
    took_s: float


@value
class TaskSucceeded(Event):
    """A task returned."""

    level: ClassVar[Level] = "debug"
    uid: Uid
    task: TaskName
    attempt: int
    took_s: float


@value
class TaskSkipped(Event):
    """A task skipped the message, which is not for it."""

    uid: Uid
    task: TaskName
    reason: str


@value
class TaskFailed(Event):
    """A task failed and will be retried alone, from the rejects queue, in retry_in_s seconds."""

    level: ClassVar[Level] = "warning"
    uid: Uid
    task: TaskName
    attempt: int
    max_attempts: int
    error: str
    retry_in_s: float


@value
class TaskLate(Event):
    """A task exceeded its timeout, could not be interrupted, and succeeded afterwards. The success counts."""

    level: ClassVar[Level] = "warning"
    uid: Uid
    task: TaskName
    took_s: float
    timeout_s: float


@value
class TaskExhausted(Event):
    """A task failed permanently and is not retried."""

    level: ClassVar[Level] = "error"
    uid: Uid
    task: TaskName
    attempt: int
    error: str


@value
class MessageRejected(Event):
    """A copy with the new progress is on the rejects queue, due in delay_s seconds."""

    level: ClassVar[Level] = "debug"
    uid: Uid
    hop: int
    delay_s: float


@value
class MessageReleased(Event):
    """The message was released to its queue unfinished."""

    level: ClassVar[Level] = "debug"
    uid: Uid
    reason: str
    delay_s: float


@value
class MessageDeadLettered(Event):
    """A dead letter, with its retry state, is on the dead queue. failed: exhausted tasks; empty when none took it."""

    level: ClassVar[Level] = "error"
    uid: Uid
    failed: tuple[TaskName, ...]


@value
class DefaultTasksFinished(Event):
    """The default tasks of a dead letter have ended. exhausted: those that failed permanently."""

    uid: Uid
    exhausted: tuple[TaskName, ...]


@value
class DuplicateSkipped(Event):
    """Another copy of the message is being processed or is ahead of this one, which was not run."""

    level: ClassVar[Level] = "debug"
    uid: Uid
    reason: str


Becomes = Literal["dead", "run", "known"]


@value
class RetryStateMissing(Event):
    """A message on rejects carries no retry state, so mulligan did not put it there. becomes: "dead", a dead letter
    that says so, or "run", all its tasks run as those of a new message (`UNKNOWN_ON_REJECTS`); "known", the ledger
    knows its message, which continues from there, and is put on dead again if it was a dead letter.
    """

    level: ClassVar[Level] = "warning"
    uid: Uid
    queue: QueueName
    becomes: Becomes


@value
class RetryStateNotTrusted(Event):
    """A copy was moved to requests, and its retry state can't be verified: it is treated as a new message, and all its
    tasks run, including those that are done. state_uid: the uid in its retry state, None where it can't be read.
    """

    level: ClassVar[Level] = "warning"
    uid: Uid
    queue: QueueName
    state_uid: Uid | None
    problem: str


@value
class MessageMoved(Event):
    """One of mulligan's copies was moved to another queue. generation: the one that it continues in, as after a replay.

    is_replay: it was a dead letter. is_first: and nothing was done in that generation before.
    """

    uid: Uid
    queue: QueueName
    generation: int
    is_replay: bool
    is_first: bool


@value
class StateTooNew(Event):
    """Copies have a state written by a newer version of this program: they are neither run nor removed, and are checked
    again in again_in_s seconds. Emitted at most once per minute.

    uid: of the last of them. copies: checked since the last event, possibly one of them more than once.
    version: the newest that was seen. known: the newest that this program can read.
    groups: message groups, on FIFO queues, that wait with them; some of them, where there are many.
    """

    level: ClassVar[Level] = "warning"
    queue: QueueName
    uid: Uid
    copies: int
    version: int
    known: int
    groups: tuple[str, ...]
    again_in_s: float


@value
class RowDamaged(Event):
    """Messages have a row in the ledger that can't be read: they are neither run nor removed, and are checked again in
    again_in_s seconds. Emitted at most once per minute.

    uid: of the last of them. problem: of that one, with the place of its row. copies, groups: as in `StateTooNew`.
    """

    level: ClassVar[Level] = "error"
    queue: QueueName
    uid: Uid
    copies: int
    problem: str
    groups: tuple[str, ...]
    again_in_s: float


@value
class StateDamaged(Event):
    """Copies have a state that can't be read: they are neither run nor removed, and are checked again in again_in_s
    seconds. Emitted at most once per minute.

    uid: of the last of them, made up. problem: of that one. copies, groups: as in `StateTooNew`.
    """

    level: ClassVar[Level] = "error"
    queue: QueueName
    uid: Uid
    copies: int
    problem: str
    groups: tuple[str, ...]
    again_in_s: float


@value
class TaskMissing(Event):
    """Messages wait for a task that is not in this process's tasks.xml: its status is kept, and they are checked again.
    Emitted once per task and process, then at most once per hour.

    uid: of the last of them. copies: checked since the last event, possibly one of them more than once.
    groups: as in `StateTooNew`. grace_s: seconds from a message's due time after which the task has failed permanently.
    """

    level: ClassVar[Level] = "warning"
    task: TaskName
    queue: QueueName
    uid: Uid
    copies: int
    groups: tuple[str, ...]
    grace_s: float


@value
class BodyMissing(Event):
    """The body of a copy is not available, because its file is missing or the copy is damaged: it stays on its queue
    unchanged, and is checked again in again_in_s seconds.
    """

    level: ClassVar[Level] = "error"
    uid: Uid
    queue: QueueName
    problem: str
    again_in_s: float


@value
class SuspectIsolated(Event):
    """The message was in flight when a worker or its host died: its tasks now run in an isolated process."""

    level: ClassVar[Level] = "warning"
    uid: Uid
    deaths: int


@value
class SuspectDied(Event):
    """A task ended the isolated process that it ran in."""

    level: ClassVar[Level] = "error"
    uid: Uid
    task: TaskName
    deaths: int
    how: str


@value
class IsolationFailed(Event):
    """The isolated process for a suspect is not available, or can't load the tasks; it is retried.

    tries_left: 0 when this was the last try, which counts as a failed attempt.
    """

    level: ClassVar[Level] = "warning"
    uid: Uid
    task: TaskName
    problem: str
    tries_left: int


@value
class LeaseLost(Event):
    """Another worker has the lease or the claim: the delivery is dropped without a settlement."""

    level: ClassVar[Level] = "warning"
    uid: Uid
    reason: str


@value
class TaskStuck(Event):
    """A task that timed out does not end; its slot stays taken until the worker is recycled."""

    level: ClassVar[Level] = "warning"
    uid: Uid
    task: TaskName
    after_s: float


@value
class SettlementFailed(Event):
    """The broker refused one entry of a settlement. What happens instead is in `action`.

    others: entries since the last event, of calls that were refused as a whole for the same reason; those are reported
    once per minute.
    """

    level: ClassVar[Level] = "warning"
    uid: Uid
    settlement: str
    reason: str
    action: str
    others: int = 0


# -- a worker, the supervisor ---------------------------------------------------------------------------------------


@value
class WorkerStarted(Event):
    """A worker process is up and its tasks are loaded."""

    worker: int
    pid: int
    requests_slots: int
    rejects_slots: int


@value
class WorkerDied(Event):
    """A worker ended without draining. in_flight: messages that it held. restart_in_s: None for no restart."""

    level: ClassVar[Level] = "error"
    worker: int
    pid: int
    how: str
    in_flight: int
    restart_in_s: float | None


@value
class WorkerRecycled(Event):
    """A worker drained because of `reason`, and is replaced."""

    level: ClassVar[Level] = "warning"
    worker: int
    pid: int
    reason: str


@value
class WorkerBlocked(Event):
    """Code of a task blocks a worker's event loop: the worker is killed and replaced.

    overdue_s: how long a running task has exceeded its timeout; None where no task runs.
    silent_s: how long the loop has been blocked.
    """

    level: ClassVar[Level] = "error"
    worker: int
    pid: int
    overdue_s: float | None
    silent_s: float


@value
class ProcessesLeft(Event):
    """A process of tasks ended and left processes behind that its tasks had started. Each is "name (pid)".

    ended: those that were ended before any message was released. stayed: those that could not be.
    """

    level: ClassVar[Level] = "warning"
    pid: int
    ended: tuple[str, ...]
    stayed: tuple[str, ...]


@value
class ThreadLimitReached(Event):
    """The operating system allows a worker no more threads: sync tasks wait for a free one. Emitted once per worker."""

    level: ClassVar[Level] = "warning"
    threads: int
    reason: str


@value
class Started(Event):
    """The system is up. concurrency: messages that each consumer processes concurrently."""

    broker: str
    workers: int
    requests_consumers: int
    rejects_consumers: int
    concurrency: int


@value
class VariablesIgnored(Event):
    """Environment variables that look like settings were set by Kubernetes for its Services, and are ignored."""

    level: ClassVar[Level] = "debug"
    names: tuple[str, ...]


@value
class TaskUnlisted(Event):
    """A task class in the tasks folder is not in the manifest: it receives no messages.

    file: within the application, such as "tasks/order.py". manifest: the manifest's name.
    """

    level: ClassVar[Level] = "warning"
    task: TaskName
    file: str
    manifest: str


@value
class Stopping(Event):
    """No new messages are taken; running tasks have grace_s seconds to end.

    running: messages whose tasks run. poll_s: seconds that a pending receive may still take, where cancelling it would
    hide the messages that it returns; 0 where it can be cancelled.
    """

    reason: str
    grace_s: float
    running: int = 0
    poll_s: float = 0.0


@value
class StoppingAtOnce(Event):
    """A second signal came during the drain: workers are killed, and the messages that they hold are released."""

    reason: str
    running: int


@value
class Stopped(Event):
    """The system has ended. done, rejected, buried: messages settled since the start, over all workers."""

    done: int
    rejected: int
    buried: int


@value
class QueuesDeclared(Event):
    """The queues exist. created: those that were missing."""

    names: tuple[QueueName, ...]
    created: tuple[QueueName, ...]


@value
class SettingRenamed(Event):
    """A setting was given by an earlier name, old, which still works. meaning: what readers of that name should know.

    place: the variable, or the file's line.
    """

    level: ClassVar[Level] = "warning"
    old: str
    name: str
    meaning: str
    place: str


@value
class LedgerLocal(Event):
    """Other hosts can take messages of the broker, but the ledger is a local file: its promise holds per host.

    ledger, broker: their URLs, without passwords.
    """

    ledger: str
    broker: str


@value
class TasksUnknown(Event):
    """Copies on rejects or dead have unfinished tasks that this application doesn't have.

    copies: how many, of the seen that were inspected.
    """

    level: ClassVar[Level] = "warning"
    queue: QueueName
    tasks: tuple[TaskName, ...]
    copies: int
    seen: int


@value
class StartWaits(Event):
    """The start waits for `what` (broker or ledger), within_s at most. Emitted once per reason."""

    level: ClassVar[Level] = "error"
    what: str
    within_s: float
    error: str


@value
class StartGoesOn(Event):
    """What the start waited for answers now."""

    what: str
    after_s: float


@value
class BrokerDown(Event):
    """A call to the broker failed and is retried. Emitted once per outage, and again for a new reason."""

    level: ClassVar[Level] = "error"
    where: str
    error: str


@value
class BrokerUp(Event):
    """The broker answers again."""

    where: str
    after_s: float


@value
class ReceiveRefused(Event):
    """The broker refuses to deliver messages of a queue; it is retried once per minute, other queues are unaffected."""

    level: ClassVar[Level] = "error"
    queue: QueueName
    error: str


@value
class BrokerWarning(Event):
    """Something at the broker needs a person's attention: `text` is a sentence. where: the queue, or the endpoint."""

    level: ClassVar[Level] = "warning"
    where: str
    text: str


@value
class ClockDiffers(Event):
    """This machine's clock is ahead of a service's, or behind (below 0), by that many seconds. where: the service."""

    level: ClassVar[Level] = "warning"
    where: str
    ahead_s: float


@value
class LedgerDown(Event):
    """The ledger can't be written; nothing is acknowledged until it can. Emitted per outage and reason."""

    level: ClassVar[Level] = "error"
    error: str


@value
class LedgerUp(Event):
    """The ledger is writable again."""

    after_s: float


@value
class ListenerFailed(Event):
    """A listener raised, which changes nothing else. Emitted once per listener and kind of error."""

    level: ClassVar[Level] = "warning"
    listener: str
    error: str
