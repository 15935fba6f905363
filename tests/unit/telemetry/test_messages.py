import dataclasses
import typing

import pytest

from mulligan.core import event as e
from mulligan.core.message import QueueName, TaskName, Uid
from mulligan.telemetry.messages import AnyEvent, duration, first_line, sentence, sentence_of

UID = Uid("018c")
KINDS = [
    kind for kind in vars(e).values() if isinstance(kind, type) and issubclass(kind, e.Event) and kind is not e.Event
]
VALUES = {str: "text", int: 2, float: 3.0, Uid: UID, TaskName: TaskName("T"), QueueName: QueueName("q")}


def example(kind: type[e.Event]) -> e.Event:
    given = {}
    for name, hint in typing.get_type_hints(kind).items():
        if name not in {field.name for field in dataclasses.fields(kind)}:
            continue
        given[name] = ("a", "b") if typing.get_origin(hint) is tuple else VALUES.get(hint, 3.0)
    return kind(**given)


def test_every_event_has_a_sentence():
    assert set(typing.get_args(AnyEvent)) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_sentence_is_one_line_for_every_event(kind):
    text = sentence_of(example(kind))

    assert text
    assert text.isprintable()


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (e.MessageDone(UID, 1, 0.0123), "018c is done: 1 task in 12.3 ms"),
        (
            e.TaskFailed(UID, TaskName("Trello"), 1, 2, "HTTPError: 502\n  File ...", 7.31),
            "018c Trello failed (attempt 1 of 2, again in 7.31 s): HTTPError: 502 ...",
        ),
        (
            e.TaskLate(UID, TaskName("Jira"), 5.0, 3.0),
            "018c Jira succeeded after 5 s, beyond its timeout of 3 s: that counts. Give it more time, or a call in it "
            "a limit of its own",
        ),
        (e.TaskExhausted(UID, TaskName("Jira"), 2, "no"), "018c Jira failed permanently (attempt 2): no"),
        (
            e.MessageDeadLettered(UID, (TaskName("Jira"), TaskName("T"))),
            "018c is a dead letter now: Jira, T failed permanently",
        ),
        (e.MessageDeadLettered(UID, ()), "018c is a dead letter now: no task takes it"),
        (
            e.WorkerDied(2, 77, "signal 9", 1, None),
            "worker 2 (pid 77) died: signal 9, 1 message in flight, is not restarted",
        ),
        (e.QueuesDeclared(("q", "r", "d"), ("q", "r", "d")), "queues: made q, r, d"),
        (e.QueuesDeclared(("q", "r", "d"), ("r",)), "queues: made r; found q, d"),
        (e.QueuesDeclared(("q", "r", "d"), ()), "queues: found q, r, d"),
        (e.Stopping("SIGTERM", 20.0), "stopping (SIGTERM): no task is running"),
        (
            e.Stopping("SIGTERM", 20.0, running=2),
            "stopping (SIGTERM): the tasks of 2 messages have 20 s to end; a second signal ends at once",
        ),
        (
            e.Stopping("SIGINT", 20.0, poll_s=18.0),
            "stopping (SIGINT): a receive under way can't be cut and ends within 18 s; Ctrl-C again ends at once",
        ),
        (
            e.Stopping("the queues are empty", 20.0, running=1, poll_s=18.0),
            "stopping (the queues are empty): the tasks of 1 message have 20 s to end; a receive under way can't be cut"
            " and ends within 18 s; two signals (Ctrl-C twice) end at once",
        ),
        (
            e.StoppingAtOnce("SIGINT", 3),
            "ending at once (SIGINT again): workers are killed, the tasks of 3 messages are cut short, and what is held"
            " is given back",
        ),
        (
            e.Started("sqs://eu-west-1", 5, 3, 2, 10),
            "up on sqs://eu-west-1: 5 workers, consumers: 3 of requests, 2 of rejects, so 30 messages of requests and "
            "20 of rejects at once",
        ),
        (e.WorkerStarted(1, 77, 10, 0), "worker 1 (pid 77) is up: 10 slots for requests"),
        (e.WorkerStarted(1, 77, 0, 10), "worker 1 (pid 77) is up: 10 slots for rejects"),
        (e.WorkerStarted(1, 77, 20, 10), "worker 1 (pid 77) is up: 20 slots for requests, 10 for rejects"),
        (e.Stopped(10, 2, 1), "stopped: 10 done, 2 rejected, 1 buried"),
        (
            e.StateTooNew(QueueName("r"), UID, 12, 2, 1, (), 240.0),
            "r: 12 copies with a state of version 2, this program knows 1: left alone and checked again in 4 min, the"
            " last is 018c. Upgrade this program, or let the newer one run that wrote them",
        ),
        (
            e.StateTooNew(QueueName("r"), UID, 1, 2, 1, ("a",), 60.0),
            "r: 1 copy with a state of version 2, this program knows 1: left alone and checked again in 60 s, the"
            " last is 018c; group a waits. Upgrade this program, or let the newer one run that wrote them",
        ),
        (
            e.SettlementFailed(UID, "ack", "no right", "it will come back", 47),
            f"{UID} ack (and of 47 others since the last report) failed: no right; it will come back",
        ),
        (
            e.RowDamaged(QueueName("r"), UID, 2, "ledger database x: no", (), 60.0),
            "r: 2 copies whose row in the ledger can't be read (ledger database x: no): left alone and checked again "
            f"in 60 s, the last is {UID}. Repair the row's progress there; or remove the row, and all tasks of that "
            "message run again",
        ),
        (
            e.StateDamaged(QueueName("r"), UID, 2, "it is not JSON", ("a", "b"), 60.0),
            "r: 2 copies with a state that can't be read (it is not JSON): left alone and checked again in 60 s, the"
            " last is 018c; groups a, b wait. Look at them with `mulligan peek` and mend or remove them at the broker",
        ),
        (
            e.TaskMissing(TaskName("Jira"), QueueName("r"), UID, 1, ("a",), 86_400.0),
            "r: 1 message waits for task Jira, which is not in tasks.xml here: the last is 018c; group a waits. Let a"
            " process run that has the task; 24 h after it was due it has failed permanently (TASK_MISSING_GRACE_S)",
        ),
    ],
)
def test_sentence_tells_what_happened(event, expected):
    assert sentence(event) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-1, "0 s"), (0, "0 s"), (0.00012, "0.12 ms"), (0.9999, "1 s"), (7.3, "7.3 s"), (119.0, "119 s"),
        (600, "10 min"), (9000, "2.5 h"), (864_000, "10 days"),
    ],
)  # fmt: skip
def test_duration_has_a_unit_that_fits(seconds, expected):
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    "event",
    [
        e.BrokerWarning("queues", "x" * 500 + ". To correct it: aws"),
        e.ReceiveRefused("orders", "x" * 500 + ". To correct it: aws"),
        e.BrokerDown("receiving", "x" * 500 + ". To correct it: aws"),
        e.LedgerDown("x" * 500 + ". To correct it: aws"),
    ],
)
def test_what_mends_a_service_is_not_cut_off(event):
    """The log named the command for a short redrive as far as `aws sqs get-queu ...`."""
    assert sentence(event).endswith("To correct it: aws")


def test_first_line_is_cut():
    assert first_line("\n a \nb") == "a ..."
    assert len(first_line("x" * 5000)) == 300
