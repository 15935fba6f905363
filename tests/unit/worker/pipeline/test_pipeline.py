"""One queue's parts together, with a broker and a ledger in memory."""

import asyncio
from itertools import count
from pathlib import Path

import pytest

from mulligan.brokers.memory import MemoryBroker
from mulligan.core.delivery import Outgoing
from mulligan.core.error import LedgerUnavailable
from mulligan.core.message import TaskName
from mulligan.settings.model import Settings
from mulligan.storage.body import BodyFolder
from mulligan.tasks.registry import TaskRegistry
from mulligan.worker.ipc.channel import Setup
from mulligan.worker.pipeline.held_copies import MissingTasks
from mulligan.worker.pipeline.packer import Packer
from mulligan.worker.pipeline.pipeline import PipelineDeps, QueuePipeline
from mulligan.worker.pipeline.poller import Pace
from mulligan.worker.system_host import SystemHost
from tests.integration.worker.service import Network

TASK_S = 10.0
DOWN = LedgerUnavailable("the disk is full")


@pytest.fixture
def ran():
    """The bodies that the task has begun with."""
    return []


@pytest.fixture
def registry(make_task, ran):
    async def run(message, context):
        ran.append(message.text)
        await asyncio.sleep(TASK_S)

    return TaskRegistry({TaskName("One"): make_task(run)})


@pytest.fixture
async def broker(clock, queues):
    made = Network(MemoryBroker(clock))
    await made.declare(queues, create=True)
    return made


@pytest.fixture
async def make_pipeline(runtime, broker, ledger, queues, registry, table, tmp_path, failed):
    made = []

    def make_pipeline(capacity=2):
        """Requests, of which so many messages are worked on at once."""
        tokens = count(1)
        deps = PipelineDeps(
            runtime, broker, ledger, queues, SystemHost(), registry, table, Packer(BodyFolder(tmp_path)),
            Setup(0, Settings(log_file=None).for_worker(), 1, 1, 10, str(Path.cwd())),
            wants=lambda kind: True, new_token=lambda: f"t{next(tokens)}",
            misses=MissingTasks(runtime.clock, runtime.emit),
        )  # fmt: skip
        made.append(QueuePipeline(deps, 0, Pace(capacity, 60.0, 0.1), 100))
        return made[-1]

    yield make_pipeline
    for pipeline in made:
        pipeline.stop_running()
        pipeline.give_up()
        await pipeline.pollers.stop()
        pipeline.runner.interrupt()
        await asyncio.sleep(1)
        await pipeline.recorder.drain()
        await pipeline.settler.drain()
        pipeline.runner.close()
    assert failed == []


@pytest.fixture
def send(broker, queues):
    async def send(*bodies):
        await broker.send(queues.requests, [Outgoing(body.encode(), {}) for body in bodies])

    return send


async def test_messages_pass_through_a_pipeline_no_more_at_once_than_it_has_capacity_for(
    make_pipeline, send, ran, broker, queues
):
    await send("a", "b", "c")
    pipeline = make_pipeline()
    pipeline.pollers.start()
    await asyncio.sleep(1)
    assert len(ran) == 2
    assert not pipeline.is_idle

    await asyncio.sleep(2 * TASK_S + 1)

    assert sorted(ran) == ["a", "b", "c"]
    assert pipeline.is_idle
    assert (await broker.depth(queues.requests)).total == 0


async def test_pipeline_is_not_idle_while_an_end_waits_for_its_record(make_pipeline, send, ledger):
    await send("a")
    pipeline = make_pipeline()
    pipeline.pollers.start()
    ledger.cut["save"] = DOWN

    await asyncio.sleep(TASK_S + 5)
    assert not pipeline.is_idle
    del ledger.cut["save"]
    await asyncio.sleep(5)

    assert pipeline.is_idle


async def test_pipeline_starts_nothing_once_it_has_to_stop_and_gives_back_what_it_receives(
    make_pipeline, send, ran, ledger, broker, queues
):
    await send("a")
    pipeline = make_pipeline()
    ledger.faults["claim"] = [lambda: asyncio.sleep(5)]
    pipeline.pollers.start()
    await asyncio.sleep(1)

    pipeline.stop_running()
    await pipeline.pollers.stop()
    await asyncio.sleep(1)

    assert ran == []
    assert broker.count("release") == 1
    assert (await broker.depth(queues.requests)).ready == 1


async def test_pipeline_lets_what_runs_end_when_it_has_to_stop(make_pipeline, send, broker, queues):
    await send("a")
    pipeline = make_pipeline()
    pipeline.pollers.start()
    await asyncio.sleep(1)

    pipeline.stop_running()
    await pipeline.pollers.stop()
    await asyncio.sleep(TASK_S + 1)

    assert pipeline.is_idle
    assert (await broker.depth(queues.requests)).total == 0


async def test_pipeline_waits_for_no_ledger_once_it_gives_up_and_settles_nothing(
    make_pipeline, send, ledger, broker, queues, table
):
    await send("a")
    pipeline = make_pipeline()
    pipeline.pollers.start()
    ledger.cut["save"] = DOWN
    await asyncio.sleep(TASK_S + 5)

    pipeline.give_up()
    async with asyncio.timeout(5):
        await pipeline.recorder.drain()

    assert (await broker.depth(queues.requests)).total == 1
    assert table.used == 1
