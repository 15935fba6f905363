"""What `mulligan check` says of messages whose tasks the application doesn't have."""

import asyncio
from dataclasses import replace

import pytest

from mulligan.brokers.sqlite.broker import SqliteBroker
from mulligan.core import retry_state
from mulligan.core.delivery import Outgoing, Queues
from mulligan.core.message import QueueName, TaskName, Uid
from mulligan.core.progress import FRESH, Mark, Progress, State
from mulligan.core.retry_state import RetryState

QUEUES = Queues("msgparser", *(QueueName(f"msgparser-{kind}-q") for kind in ("requests", "rejects", "dead")))
UID = Uid("018bcfe56800-00112233445566778899")


def copy(marks):
    told = RetryState(UID, 0, 1, 1_700_000_000.0, Progress(marks))
    return Outgoing(b"order 7", {retry_state.ATTRIBUTE: retry_state.encode(told)}, delay_s=600)


def put(application, clock, queue, *entries):
    """Have messages lie on a queue of the application."""

    async def sent():
        broker = SqliteBroker(application / "var" / "mulligan.db", clock)
        await broker.declare(QUEUES, create=True)
        assert await broker.send(queue, entries) == [None] * len(entries)
        await broker.close()

    asyncio.run(sent())


def test_check_notes_retries_and_letters_of_tasks_that_the_application_does_not_have(mulligan, application, clock):
    """Two applications on one broker, both called msgparser: check counted the other's messages, and said ok."""
    put(application, clock, QUEUES.rejects, copy({TaskName("Jira"): FRESH}), copy({TaskName("One"): FRESH}))
    put(application, clock, QUEUES.dead, copy({TaskName("Ship"): Mark(State.EXHAUSTED, 2)}))

    code, out, _ = mulligan("check")

    assert code == 0
    assert (
        "note     queues    msgparser-rejects-q: 1 of 2 copies looked at is of tasks that this application doesn't "
        "have: Jira. If it is yours"
    ) in out
    assert "note     queues    msgparser-dead-q: 1 of 1 copy looked at is of tasks that this application" in out


def test_check_says_nothing_of_messages_whose_tasks_the_application_has(mulligan, application, clock):
    put(application, clock, QUEUES.rejects, copy({TaskName("One"): FRESH}))

    assert "doesn't have" not in mulligan("check")[1]


class LikeSqs(SqliteBroker):
    """Shows messages to their receivers only, and moves one of rejects away after so many receives."""

    receives = 1000

    async def declare(self, queues, *, create, only=None):
        declared = await super().declare(queues, create=create, only=only)
        return replace(declared, receives={QUEUES.rejects: self.receives})

    async def attributes(self, queue, max_count):
        return None


@pytest.mark.parametrize(("receives", "count"), [(1000, 3), (2, 1)])
def test_check_does_not_bring_retries_nearer_to_dead_where_their_queue_gives_them_a_few_times(
    mulligan, application, clock, monkeypatch, receives, count
):
    """Two checks, and SQS had moved the retries away."""
    monkeypatch.setattr("mulligan.brokers.sqlite.SqliteBroker", LikeSqs)
    monkeypatch.setattr(LikeSqs, "receives", receives)
    put(application, clock, QUEUES.rejects, replace(copy({TaskName("One"): FRESH}), delay_s=0.0))

    for _ in range(2):
        assert mulligan("check")[0] == 0

    _, out, err = mulligan("peek", "rejects")
    assert f"received {count}x" in out
    assert ("moves a message away after 2 of them" in err) is (receives == 2)
