import pytest

from mulligan.core.delivery import Depth
from mulligan.core.message import QueueName
from mulligan.worker.ipc.channel import LeftAlone
from mulligan.worker.supervisor.remainder import Remainder

NONE = Depth(0, 0, 0)
QUEUES = QueueName("shop-requests-q"), QueueName("shop-rejects-q")


def left(*copies: LeftAlone) -> Remainder:
    made = Remainder()
    for one in copies:
        made.add(one)
    return made


def copy(name: str, until: float = 100.0, version: int | None = 2, *, in_group: bool = False) -> LeftAlone:
    return LeftAlone(name, until, version, in_group)


def test_remainder_is_all_when_the_queues_are_empty():
    assert left().is_all(NONE, NONE, 0, 1.0)
    assert left().error(QUEUES, (0, 0)) is None


@pytest.mark.parametrize(
    ("requests", "rejects", "expected"),
    [
        (NONE, Depth(0, 2, 0), True),
        (NONE, Depth(0, 0, 2), True),  # as SQS counts what was released with a delay
        (NONE, Depth(0, 3, 0), False),
        (NONE, Depth(1, 2, 0), False),
        (NONE, Depth(0, 0, 3), False),
        (Depth(1, 0, 0), Depth(0, 2, 0), False),
        (Depth(0, 0, 1), Depth(0, 2, 0), False),
    ],
)
def test_remainder_is_all_when_the_broker_counts_no_more_than_was_left_alone(requests, rejects, expected):
    remainder = left(copy("a"), copy("b"), copy("b", until=120.0))

    assert remainder.is_all(requests, rejects, 0, 1.0) is expected


def test_remainder_forgets_a_copy_that_somebody_else_may_have_taken_by_now():
    """What the broker counts may be another message then, one that is to be run."""
    remainder = left(copy("a", until=60.0))

    assert remainder.is_all(NONE, Depth(0, 1, 0), 0, 59.9)
    assert not remainder.is_all(NONE, Depth(0, 1, 0), 0, 60.0)


def test_remainder_takes_what_is_ready_for_blocked_when_nothing_else_came_for_a_while_and_a_group_waits():
    remainder, rejects = left(copy("a", in_group=True)), Depth(5, 0, 1)

    assert not remainder.is_all(NONE, rejects, 7, 10.0)
    assert not remainder.is_all(NONE, rejects, 7, 39.9)
    assert not remainder.is_all(NONE, rejects, 8, 40.1)  # one came that could be read
    assert not remainder.is_all(NONE, rejects, 8, 70.0)
    assert not remainder.is_all(NONE, Depth(5, 0, 2), 8, 70.2)  # one waits that is to be tried again
    assert remainder.is_all(NONE, rejects, 8, 70.2)


def test_remainder_takes_what_is_ready_for_no_more_than_ready_where_no_group_waits():
    assert not left(copy("a")).is_all(NONE, Depth(5, 0, 1), 7, 90.0)


def test_remainder_says_what_is_left_and_what_to_do():
    remainder = left(copy("a"), copy("b", version=3), copy("c", version=None), copy("d", in_group=True))

    assert str(remainder.error(QUEUES, (0, 6))) == (
        "shop-rejects-q: 6 messages are left, neither run nor removed: 3 with a state of version 2, 3, this program"
        " knows 1: upgrade it, or let the newer one run that wrote them; 1 with a state that can't be read: look at"
        " them with `mulligan peek rejects` and mend or remove them at the broker; 2 behind them in their message"
        " groups."
    )
    row = LeftAlone("e", 100.0, None, False, on_requests=True, lacks_row=True)
    assert str(left(row).error(QUEUES, (1, 0))) == (
        "shop-requests-q: 1 message is left, neither run nor removed: 1 whose row in the ledger can't be read, as the"
        " log says: mend the row's progress there; or remove the row, and all tasks of its message run again."
    )
    assert str(left(copy("a")).error(QUEUES, (0, 1))).startswith("shop-rejects-q: 1 message is left, neither run nor")


def test_remainder_names_the_queue_on_which_messages_can_not_be_read():
    remainder = left(LeftAlone("a", 100.0, None, False, on_requests=True))

    assert "`mulligan peek requests`" in str(remainder.error(QUEUES, (1, 0)))


def test_remainder_knows_a_copy_whose_body_can_not_be_had():
    """`--drain` waited for it for ever."""
    remainder = left(LeftAlone("a", 100.0, None, False, lacks_body=True))

    assert remainder.is_all(NONE, Depth(0, 0, 1), 0, 1.0)
    assert str(remainder.error(QUEUES, (0, 1))) == (
        "shop-rejects-q: 1 message is left, neither run nor removed: 1 whose body is not available, as the log says of"
        " each: put its file back into BODIES_URL, or remove them at the broker."
    )


def lacking(name: str, *tasks: str, until: float = 100.0, on_requests: bool = False) -> LeftAlone:
    return LeftAlone(name, until, None, False, on_requests, list(tasks))


def test_remainder_knows_messages_on_both_queues_that_wait_for_a_missing_task():
    remainder = left(lacking("a", "Jira", on_requests=True), lacking("a", "Mail", "Jira"), lacking("b", "Jira"))

    assert remainder.is_all(Depth(0, 1, 0), Depth(0, 2, 0), 0, 1.0)
    assert not remainder.is_all(Depth(0, 2, 0), Depth(0, 2, 0), 0, 1.0)
    assert not remainder.is_all(Depth(0, 1, 0), Depth(0, 3, 0), 0, 1.0)
    assert not remainder.is_all(Depth(0, 1, 0), Depth(0, 2, 0), 0, 100.0)


def test_remainder_names_the_queue_and_the_tasks_that_messages_wait_for():
    remainder = left(lacking("a", "Jira", on_requests=True), lacking("a", "Mail", "Jira"))

    assert str(remainder.error(QUEUES, (1, 1))) == (
        "shop-requests-q: 1 message is left, neither run nor removed: 1 with a task that is not in tasks.xml here"
        " (Jira): let a process run that has it, or have them fail permanently with TASK_MISSING_GRACE_S=0."
        " shop-rejects-q: 1 message is left, neither run nor removed: 1 with a task that is not in tasks.xml here"
        " (Jira, Mail): let a process run that has it, or have them fail permanently with TASK_MISSING_GRACE_S=0."
    )
