"""A copy that a newer version wrote is left alone on every broker: by the worker's own parts, on a queue as it is."""

import asyncio
import random
from pathlib import Path

import pytest

from mulligan.core import retry_state
from mulligan.core.delivery import Outgoing
from mulligan.core.event import StateTooNew
from mulligan.core.message import TaskName
from mulligan.core.policy import Policy
from mulligan.ledger.memory import MemoryLedger
from mulligan.settings.model import Settings
from mulligan.storage.body import BodyFolder
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

UID = "018bcfe56800-0b090fd81c3e1612c0f0"
NEWER = f'{{"v":2,"uid":"{UID}","gen":0,"jobs":{{"Work":"done"}}}}'


class Asked(MemoryLedger):
    """Counts what it is asked."""

    calls = 0

    async def claim(self, claims, now):
        self.calls += 1
        return await super().claim(claims, now)

    async def give_back(self, tokens):
        self.calls += 1
        await super().give_back(tokens)


@pytest.fixture
def worker_of(queues, clock, tmp_path):
    clock.random = random.random
    ran, told, ledger = [], [], Asked(clock)
    table = LeaseTable.create(50)

    async def run(message, context):
        ran.append(message.body)

    def make(broker):
        task = LoadedTask(TaskName("Work"), Policy(), False, True, True, run)
        deps = PipelineDeps(
            Runtime(clock, told.append, told.append, recycle=ran.append, left_alone=left.append),
            broker, ledger, queues, SystemHost(), TaskRegistry({task.name: task}), table,
            packer=Packer(BodyFolder(Path(tmp_path))), setup=Setup(0, Settings().for_worker(), 1, 1, 50, str(tmp_path)),
            wants=lambda kind: True, new_token=iter(map(str, range(10**6))).__next__,
            misses=MissingTasks(clock, told.append),
        )  # fmt: skip
        return QueuePipeline(deps, 1, Pace(10, 60.0, 0.01), 50)

    left = []
    yield make, ran, told, left, ledger
    table.close()


async def test_worker_leaves_a_copy_of_a_newer_version_on_its_queue_as_it_came(
    connect, queues, worker_of, pass_time, service
):
    make, ran, told, left, ledger = worker_of
    broker, other = await connect(), await connect()
    await broker.send(queues.rejects, [Outgoing(b"hello", {retry_state.ATTRIBUTE: NEWER, "kind": "order"})])
    line = make(broker)

    line.pollers.start()
    async with asyncio.timeout(20):
        while not left:
            await asyncio.sleep(0.01)
    await drain([line], 1.0)

    assert ran == []
    assert [(one.uid, one.version, one.again_in_s) for one in told if isinstance(one, StateTooNew)] == [(UID, 2, 60.0)]
    assert ledger.calls == 0
    assert (await other.depth(queues.rejects)).total == 1
    assert (await other.depth(queues.dead)).total == 0
    assert await other.receive(queues.rejects, 10, wait_s=0.0, lease_s=5.0) == []
    if not service.has_own_clock:
        await pass_time(61.0)
        (delivery,) = await other.receive(queues.rejects, 10, wait_s=1.0, lease_s=5.0)
        assert (delivery.body, delivery.attributes) == (b"hello", {retry_state.ATTRIBUTE: NEWER, "kind": "order"})
        assert delivery.receive_count == 2


async def test_copy_that_was_released_with_a_delay_is_counted_or_the_broker_says_that_it_is_not(
    broker, queues, pass_time
):
    """Else a copy that is left alone would be looked at every minute for ever."""
    await broker.send(queues.rejects, [Outgoing(b"hello", {retry_state.ATTRIBUTE: NEWER})])
    counts, ids, sent = [], set(), set()
    for _ in range(2):
        (delivery,) = await broker.receive(queues.rejects, 1, wait_s=20.0, lease_s=30.0)
        counts.append(delivery.receive_count)
        ids.add(delivery.id)
        sent.add(delivery.sent_at)
        assert await broker.release(queues.rejects, [(delivery.receipt, 1.0)]) == [None]
        await pass_time(1.1)

    assert counts == ([1, 2] if broker.features.counts_releases else [1, 1])
    assert len(ids) == len(sent) == 1
