"""Copies whose tasks this application doesn't have."""

from mulligan.brokers.memory import MemoryBroker
from mulligan.core import retry_state
from mulligan.core.delivery import Outgoing
from mulligan.core.error import BrokerUnavailable
from mulligan.core.event import TasksUnknown
from mulligan.core.message import QueueName, TaskName, Uid
from mulligan.core.progress import DONE_AT_FIRST_TRY, FRESH, Mark, Progress, State
from mulligan.core.retry_state import RetryState
from mulligan.telemetry.messages import sentence
from mulligan.worker.process.unknown_tasks import at_start, unknown_tasks

JIRA, SHIP, ALERT = TaskName("Jira"), TaskName("Ship"), TaskName("Alert")
UID = Uid("018bcfe56800-00112233445566778899")
REJECTS = QueueName("t-rejects-q")


def copy(marks, alerts=None):
    """The attributes of a copy with these marks."""
    return {
        retry_state.ATTRIBUTE: retry_state.encode(
            RetryState(UID, 0, 1, 1_700_000_000.0, Progress(marks, alerts or {}, bool(alerts)))
        )
    }


def test_unknown_tasks_are_those_of_copies_that_wait_for_them_or_failed_in_them():
    copies = [copy({JIRA: FRESH}), copy({JIRA: Mark(State.EXHAUSTED, 2), SHIP: FRESH}), copy({SHIP: FRESH})]

    told = unknown_tasks(REJECTS, copies, {SHIP})

    assert told == TasksUnknown(REJECTS, (JIRA,), 2, 3)


def test_unknown_tasks_are_none_when_what_is_unknown_is_done():
    assert unknown_tasks(REJECTS, [copy({JIRA: DONE_AT_FIRST_TRY, SHIP: FRESH})], {SHIP}) is None


def test_unknown_tasks_are_those_of_alerts_as_well():
    told = unknown_tasks(REJECTS, [copy({SHIP: Mark(State.EXHAUSTED, 2)}, {ALERT: FRESH})], {SHIP})

    assert told is not None
    assert told.tasks == (ALERT,)


def test_unknown_tasks_pass_over_what_has_no_state_or_one_that_can_not_be_read():
    assert (
        unknown_tasks(REJECTS, [{}, {retry_state.ATTRIBUTE: "{"}, {retry_state.ATTRIBUTE: '{"v":99}'}], {SHIP}) is None
    )


def test_unknown_tasks_are_told_with_what_to_do():
    names = tuple(TaskName(f"T{number}") for number in range(7))

    assert sentence(TasksUnknown(REJECTS, names, 3, 10)) == (
        "t-rejects-q: 3 of 10 copies looked at are of tasks that this application doesn't have: T0, T1, T2, T3, T4 and "
        "2 more. If it is yours, put the task back into tasks.xml under that name; if not, another application uses "
        "this queue, and needs a COMMON_PREFIX of its own"
    )


async def test_at_start_tells_of_waiting_retries_without_receiving_them(clock, queues):
    broker = MemoryBroker(clock)
    await broker.declare(queues, create=True)
    await broker.send(queues.rejects, [Outgoing(b"", copy({JIRA: FRESH}), delay_s=600)])

    told = await at_start(broker, (queues.rejects, queues.dead), {SHIP})

    assert told == [TasksUnknown(queues.rejects, (JIRA,), 1, 1)]
    assert (await broker.depth(queues.rejects)).delayed == 1


async def test_at_start_says_nothing_when_the_queue_can_not_be_looked_at(clock, queues):
    class Gone(MemoryBroker):
        async def attributes(self, queue, max_count):
            raise BrokerUnavailable("gone")

    assert await at_start(Gone(clock), (queues.rejects,), {SHIP}) == []
