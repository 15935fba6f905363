"""Every move from one of the three queues to another, on every broker: by the worker's own parts, on real queues.

Moved as tools do it: received from one queue, sent to the other with body and attributes, then removed.
"""

import asyncio
import random
from pathlib import Path

import pytest

from mulligan.cli.dead_letter import dead_letter_of
from mulligan.core.delivery import Outgoing
from mulligan.core.event import MessageDeadLettered, MessageDone, MessageMoved, MessageRejected, RetryStateNotTrusted
from mulligan.core.message import TaskName
from mulligan.core.policy import Backoff, Policy
from mulligan.ledger.memory import MemoryLedger
from mulligan.settings.model import Settings
from mulligan.storage.body import BodyFolder
from mulligan.tasks.exceptions import GiveUp
from mulligan.tasks.registry import LoadedTask, TaskRegistry
from mulligan.worker.ipc.channel import Setup
from mulligan.worker.ipc.lease_table import LeaseTable
from mulligan.worker.pipeline.held_copies import MissingTasks
from mulligan.worker.pipeline.packer import Packer
from mulligan.worker.pipeline.pipeline import PipelineDeps, QueuePipeline
from mulligan.worker.pipeline.poller import Pace
from mulligan.worker.pipeline.runtime import Runtime
from mulligan.worker.process.drain import drain
from mulligan.worker.system_host import SystemHost


class Worker:
    """Two tasks on the queues of a broker: Good, and Bad with the errors of its first attempts."""

    def __init__(self, queues, clock, folder, *first):
        self.queues, self.clock, self.folder = queues, clock, folder
        self.first = list(first)
        self.runs, self.told, self.failed = [], [], []
        self.ledger = MemoryLedger(clock)
        self.table = LeaseTable.create(100)

    async def good(self, message, context):
        self.runs.append(("Good", context.uid, context.generation, bytes(message.body), message.attributes.get("kind")))

    async def bad(self, message, context):
        self.runs.append(("Bad", context.uid, context.generation, bytes(message.body), message.attributes.get("kind")))
        if self.first:
            raise self.first.pop(0)

    def ran(self, name):
        return [(uid, generation) for task, uid, generation, *_ in self.runs if task == name]

    def heard(self, kind):
        return [one for one in self.told if isinstance(one, kind)]

    async def until(self, broker, stages, is_over):
        """Work on the queues until something is true."""
        # a copy that comes before the claim of its original has ended waits for that as long as the claim may last
        policy = Policy(2, Backoff(0.5, 2.0, 1.0), 60.0)
        tasks = {
            name: LoadedTask(TaskName(name), policy, False, True, True, run)
            for name, run in (("Good", self.good), ("Bad", self.bad))
        }
        runtime = Runtime(self.clock, self.told.append, self.failed.append, recycle=self.failed.append)
        deps = PipelineDeps(
            runtime, broker, self.ledger, self.queues, SystemHost(), TaskRegistry(tasks), self.table,
            packer=Packer(BodyFolder(Path(self.folder))),
            setup=Setup(0, Settings().for_worker(), 1, 1, 50, str(self.folder)), wants=lambda kind: True,
            new_token=lambda: f"{random.getrandbits(64):x}", misses=MissingTasks(self.clock, self.told.append),
        )  # fmt: skip
        lines = [QueuePipeline(deps, stage, Pace(10, 60.0, 0.01, 1.0), 50) for stage in stages]
        for line in lines:
            line.pollers.start()
        async with asyncio.timeout(30):
            while not (is_over() and all(line.is_idle for line in lines)):
                await asyncio.sleep(0.01)
        await drain(lines, 1.0)
        assert self.failed == []


@pytest.fixture
def work(queues, clock, tmp_path):
    clock.random = random.random
    made = []

    def make(*first):
        made.append(Worker(queues, clock, tmp_path, *first))
        return made[-1]

    yield make
    for one in made:
        one.table.close()


async def move(broker, source, target):
    async with asyncio.timeout(30):
        while not (found := await broker.receive(source, 10, wait_s=1.0, lease_s=30.0)):
            pass
    (delivery,) = found
    assert await broker.send(target, [Outgoing(delivery.body, delivery.attributes)]) == [None]
    assert await broker.ack(source, [delivery.receipt]) == [None]


async def letters(broker, queues, folder):
    found = await broker.receive(queues.dead, 10, wait_s=1.0, lease_s=30.0)
    return [dead_letter_of(one, queues.prefix, BodyFolder(folder).load) for one in found]


HELLO = Outgoing(b"hello", {"kind": "order"})


@pytest.mark.parametrize("target", ["rejects", "requests"])
async def test_dead_letter_that_is_moved_is_replayed_and_what_is_done_stays_done(connect, queues, work, target):
    broker, other = await connect(), await connect()
    worker = work(GiveUp("no"))
    await broker.send(queues.requests, [HELLO])
    await worker.until(broker, (0, 1), lambda: worker.heard(MessageDeadLettered))

    await move(other, queues.dead, getattr(queues, target))
    await worker.until(broker, (0, 1), lambda: worker.heard(MessageDone))

    (uid, _), *_ = worker.ran("Good")
    assert worker.ran("Good") == [(uid, 0)]
    assert worker.ran("Bad") == [(uid, 0), (uid, 1)]
    assert {run[3:] for run in worker.runs} == {(b"hello", "order")}
    assert [(one.uid, one.queue, one.is_replay) for one in worker.heard(MessageMoved)] == [
        (uid, getattr(queues, target), True)
    ]
    assert worker.heard(RetryStateNotTrusted) == []
    for queue in queues.all:
        assert await other.receive(queue, 10, wait_s=0.0, lease_s=5.0) == []


async def test_reject_that_is_moved_to_requests_goes_on_where_it_was(connect, queues, work):
    broker, other = await connect(), await connect()
    worker = work(ValueError("not yet"))
    await broker.send(queues.requests, [HELLO])
    await worker.until(broker, (0,), lambda: worker.heard(MessageRejected))

    await move(other, queues.rejects, queues.requests)
    await worker.until(broker, (0, 1), lambda: worker.heard(MessageDone))

    (uid, _), *_ = worker.ran("Good")
    assert (worker.ran("Good"), worker.ran("Bad")) == ([(uid, 0)], [(uid, 0), (uid, 0)])
    assert [one.is_replay for one in worker.heard(MessageMoved)] == [False]


async def test_reject_that_is_moved_to_dead_is_a_dead_letter_that_names_what_had_not_ended(
    connect, queues, work, tmp_path
):
    broker, other = await connect(), await connect()
    worker = work(ValueError("not yet"))
    await broker.send(queues.requests, [HELLO])
    await worker.until(broker, (0,), lambda: worker.heard(MessageRejected))

    await move(other, queues.rejects, queues.dead)

    (letter,) = await letters(other, queues, tmp_path)
    assert (letter.unfinished, letter.message.body) == (("Bad",), b"hello")


async def test_request_that_is_moved_to_rejects_becomes_a_dead_letter_and_is_not_run(connect, queues, work, tmp_path):
    broker, other = await connect(), await connect()
    worker = work(ValueError("never"))
    await broker.send(queues.requests, [HELLO])

    await move(other, queues.requests, queues.rejects)
    await worker.until(broker, (0, 1), lambda: worker.heard(MessageDeadLettered))

    assert worker.runs == []
    (letter,) = await letters(other, queues, tmp_path)
    assert "without a retry state" in letter.progress.marks["Good"].reason
    assert (letter.message.body, letter.message.attributes["kind"]) == (b"hello", "order")


async def test_request_that_is_moved_to_dead_is_a_dead_letter_without_a_story(connect, queues, tmp_path):
    broker, other = await connect(), await connect()
    await broker.send(queues.requests, [HELLO])

    await move(other, queues.requests, queues.dead)

    (letter,) = await letters(other, queues, tmp_path)
    assert (letter.state, letter.message.body) == (None, b"hello")


async def test_dead_letter_whose_attributes_are_lost_on_the_way_to_rejects_is_a_dead_letter_again(
    connect, queues, work, tmp_path
):
    broker, other = await connect(), await connect()
    worker = work(ValueError("not yet"), GiveUp("no"))
    await broker.send(queues.requests, [HELLO])
    await worker.until(broker, (0, 1), lambda: worker.heard(MessageDeadLettered))

    (delivery,) = await other.receive(queues.dead, 10, wait_s=1.0, lease_s=30.0)
    kept = {name: item for name, item in delivery.attributes.items() if name.startswith("amqp-")}
    await other.send(queues.rejects, [Outgoing(delivery.body, kept)])
    await other.ack(queues.dead, [delivery.receipt])
    await worker.until(broker, (0, 1), lambda: len(worker.heard(MessageDeadLettered)) == 2)

    (letter,) = await letters(other, queues, tmp_path)
    assert letter.message.body == b"hello"
    assert (len(worker.ran("Good")), len(worker.ran("Bad"))) == (1, 2)
