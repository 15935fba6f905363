"""What happened, as values: one dataclass each. Listeners in `telemetry` make log lines and numbers of them.

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
    """Every task of the message is done. took_s: seconds from this receipt to the end of its last task."""

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
    """A task said that the message is none of its business."""

    uid: Uid
    task: TaskName
    reason: str


@value
class TaskFailed(Event):
    """A task failed and will be tried again, alone, from the rejects queue, in retry_in_s seconds."""

    level: ClassVar[Level] = "warning"
    uid: Uid
    task: TaskName
    attempt: int
    max_attempts: int
    error: str
    retry_in_s: float


@value
class TaskLate(Event):
    """A task was over its timeout, could not be cut short, and succeeded all the same. That counts."""

    level: ClassVar[Level] = "warning"
    uid: Uid
    task: TaskName
    took_s: float
    timeout_s: float


@value
class TaskExhausted(Event):
    """A task failed permanently: it is not tried again."""

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
    """The message was given back to its queue unfinished."""

    level: ClassVar[Level] = "debug"
    uid: Uid
    reason: str
    delay_s: float


@value
class MessageDeadLettered(Event):
    """A dead letter, with its retry state, is on the dead queue. failed: tasks exhausted; empty when none took it."""

    level: ClassVar[Level] = "error"
    uid: Uid
    failed: tuple[TaskName, ...]


@value
class DefaultTasksFinished(Event):
    """The default tasks of a buried message have ended. exhausted: those that failed permanently."""

    uid: Uid
    exhausted: tuple[TaskName, ...]


@value
class DuplicateSkipped(Event):
    """Another copy of the message is being worked on or has gone further: this one was not run."""

    level: ClassVar[Level] = "debug"
    uid: Uid
    reason: str


Becomes = Literal["dead", "run", "known"]


@value
class RetryStateMissing(Event):
    """A message on rejects carries no retry state, so mulligan did not put it there. becomes: "dead", a dead letter
    that says so, or "run", all its tasks run as those of a new message (`UNKNOWN_ON_REJECTS`); "known", the ledger
    knows its message, which goes on from there, and is put on dead again if it was buried.
    """

    level: ClassVar[Level] = "warning"
    uid: Uid
    queue: QueueName
    becomes: Becomes


@value
class RetryStateNotTrusted(Event):
    """A copy came on requests, where somebody has moved it, and nothing vouches for its retry state: it is a new
    message, and all its tasks run, those that are done, too. told: the uid in its retry state, None where it can't
    be read.
    """

    level: ClassVar[Level] = "warning"
    uid: Uid
    queue: QueueName
    told: Uid | None
    problem: str


@value
class MessageMoved(Event):
    """Somebody has moved one of mulligan's copies to another queue. generation: in which it goes on, as after a replay.

    is_replay: it was a dead letter. is_first: and nothing had been done in that generation before.
    """

    uid: Uid
    queue: QueueName
    generation: int
    is_replay: bool
    is_first: bool


@value
class StateTooNew(Event):
    """Copies whose state a newer version of this program wrote: they are neither run nor removed, and looked at again
    in again_in_s seconds. Told once a minute at most.

    uid: of the last of them. copies: looked at since it was last told, the same one perhaps more than once.
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
    """Messages whose row in the ledger can't be read: they are neither run nor removed, and looked at again in
    again_in_s seconds. Told once a minute at most.

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
    """Copies whose state can't be read: they are neither run nor removed, and looked at again in again_in_s seconds.
    Told once a minute at most.

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
    """Messages wait for a task that is not in this process's tasks.xml: its mark is left as it is, and they are looked
    at again. Told once a task and process, and then once an hour at most.

    uid: of the last of them. copies: looked at since it was last told, the same one perhaps more than once.
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
    """The body of a copy is not available, because its file is missing or the copy is damaged: it is left on its queue,
    untouched, and looked at again in again_in_s seconds.
    """

    level: ClassVar[Level] = "error"
    uid: Uid
    queue: QueueName
    problem: str
    again_in_s: float


@value
class SuspectIsolated(Event):
    """The message was in flight when a worker or its host died: its tasks run alone now, in a process of their own."""

    level: ClassVar[Level] = "warning"
    uid: Uid
    deaths: int


@value
class SuspectDied(Event):
    """A task, run alone, ended its process."""

    level: ClassVar[Level] = "error"
    uid: Uid
    task: TaskName
    deaths: int
    how: str


@value
class IsolationFailed(Event):
    """The process in which a suspect was to run alone is not available, or can't load the tasks: it is tried again.

    tries_left: 0 when this was the last one, and counts as a failed attempt.
    """

    level: ClassVar[Level] = "warning"
    uid: Uid
    task: TaskName
    problem: str
    tries_left: int


@value
class LeaseLost(Event):
    """The lease or the claim went to somebody else: the delivery is dropped without a settlement."""

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

    others: entries since the last event, of calls that were refused as a whole for the same reason; those are told of
    once a minute.
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
    """A worker ended without a drain. in_flight: messages that were with it. restart_in_s: None when it won't be."""

    level: ClassVar[Level] = "error"
    worker: int
    pid: int
    how: str
    in_flight: int
    restart_in_s: float | None


@value
class WorkerRecycled(Event):
    """A worker ended in order because of `reason`, and is replaced."""

    level: ClassVar[Level] = "warning"
    worker: int
    pid: int
    reason: str


@value
class WorkerBlocked(Event):
    """Something of a task's holds a worker, and nothing else in it can act: it is killed and replaced.

    overdue_s: how long a running task is beyond its timeout; None where none runs, and the loop is held all the same.
    silent_s: how long the loop has not turned.
    """

    level: ClassVar[Level] = "error"
    worker: int
    pid: int
    overdue_s: float | None
    silent_s: float


@value
class ProcessesLeft(Event):
    """A process of tasks has ended, and left others behind that its tasks had started. Each is "name (pid)".

    ended: were ended before any message was given back. stayed: could not be.
    """

    level: ClassVar[Level] = "warning"
    pid: int
    ended: tuple[str, ...]
    stayed: tuple[str, ...]


@value
class ThreadLimitReached(Event):
    """The system gives a worker no thread beyond these: sync tasks wait for each other. Told once a worker."""

    level: ClassVar[Level] = "warning"
    threads: int
    reason: str


@value
class Started(Event):
    """The system is up. concurrency: messages that each consumer works on at once."""

    broker: str
    workers: int
    requests_consumers: int
    rejects_consumers: int
    concurrency: int


@value
class VariablesIgnored(Event):
    """Variables of the environment look like settings, and are those that Kubernetes sets for its Services."""

    level: ClassVar[Level] = "debug"
    names: tuple[str, ...]


@value
class TaskUnlisted(Event):
    """A class in the tasks folder would be a task, and the manifest doesn't name it: no message goes to it.

    file: within the application, such as "tasks/order.py". manifest: the manifest's name.
    """

    level: ClassVar[Level] = "warning"
    task: TaskName
    file: str
    manifest: str


@value
class Stopping(Event):
    """No new messages are taken; running tasks have grace_s seconds to end.

    running: messages whose tasks run. poll_s: seconds that a receive under way may take still, which can't be cut
    without hiding what it brings; 0 where it can.
    """

    reason: str
    grace_s: float
    running: int = 0
    poll_s: float = 0.0


@value
class StoppingAtOnce(Event):
    """A second signal came while the end in order was under way: workers are killed, what they hold is given back."""

    reason: str
    running: int


@value
class Stopped(Event):
    """The end. done, rejected, buried: messages settled since the start, over all workers."""

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
    """A setting was given by an earlier name, old, which still works. meaning: what a reader of that name has to know.

    place: the variable, or the file's line.
    """

    level: ClassVar[Level] = "warning"
    old: str
    name: str
    meaning: str
    place: str


@value
class LedgerLocal(Event):
    """Other hosts can take messages of the broker, and the ledger is a file of this one: each promises for itself.

    ledger, broker: their URLs, without passwords.
    """

    ledger: str
    broker: str


@value
class TasksUnknown(Event):
    """Copies on rejects or dead are of tasks that this application doesn't have, and that are not done.

    copies: how many, of the seen that were looked at.
    """

    level: ClassVar[Level] = "warning"
    queue: QueueName
    tasks: tuple[TaskName, ...]
    copies: int
    seen: int


@value
class StartWaits(Event):
    """The start waits for `what` (broker or ledger), within_s at most. Told once, and again for a new reason."""

    level: ClassVar[Level] = "error"
    what: str
    within_s: float
    error: str


@value
class StartGoesOn(Event):
    """What the start has waited for answers."""

    what: str
    after_s: float


@value
class BrokerDown(Event):
    """A call to the broker failed; it is tried again. Told once an outage, and again for a new reason."""

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
    """The broker refuses to give messages of a queue; it is asked again once a minute, the other queues go on."""

    level: ClassVar[Level] = "error"
    queue: QueueName
    error: str


@value
class BrokerWarning(Event):
    """Something at the broker that a person should know: `text` is a sentence. where: the queue, or the endpoint."""

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
    """The ledger can't be written; nothing is acknowledged until it can. Told once an outage, and for a new reason."""

    level: ClassVar[Level] = "error"
    error: str


@value
class LedgerUp(Event):
    """The ledger takes records again."""

    after_s: float


@value
class ListenerFailed(Event):
    """A listener raised; it changes nothing. Told once a listener and kind of error."""

    level: ClassVar[Level] = "warning"
    listener: str
    error: str
