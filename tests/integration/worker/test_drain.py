"""How a worker ends: what is released, handed on, or left for the supervisor."""

import asyncio
import threading

import pytest

from mulligan.core.event import MessageDone, MessageRejected, MessageReleased, SuspectIsolated, TaskFailed
from mulligan.worker.ipc.lease_table import SlotState
from tests.integration.worker.service import DOWN, LEDGER_DOWN, QUEUES, Recording, task


def loop_time():
    return asyncio.get_running_loop().time()


async def next_worker(service, one, **more):
    """A later worker, which must find everything as it should be."""
    worker = service.worker(task("One", one), **more)
    await service.until_empty()
    return worker


async def test_idle_worker_ends_at_once(service):
    worker = service.worker(task("One", Recording()))
    await asyncio.sleep(5)
    began = loop_time()

    await worker.drain(grace_s=20.0)

    assert loop_time() - began < 0.1
    assert await worker.sweep() == 0


async def test_running_task_has_its_grace_and_its_message_is_done(service):
    worker = service.worker(task("One", Recording(8.0)))
    await service.send("hello")
    await asyncio.sleep(1)
    began = loop_time()

    await worker.drain(grace_s=20.0)

    assert loop_time() - began == pytest.approx(7, abs=0.1)
    assert len(service.told(MessageDone)) == 1
    assert await service.totals() == (0, 0, 0)
    assert await worker.sweep() == 0


async def test_task_beyond_the_grace_is_cancelled_released_at_once_and_burns_no_attempt(service):
    one = Recording(1000.0)
    worker = service.worker(task("One", one, timeout_s=2000.0))
    await service.send("hello")
    await asyncio.sleep(1)

    await worker.drain(grace_s=5.0)

    depth = await service.broker.depth(QUEUES.requests)
    assert (depth.ready, depth.in_flight) == (1, 0)
    assert [(event.reason, event.delay_s) for event in service.told(MessageReleased)] == [("shutting down", 0.0)]
    assert await worker.sweep() == 0
    await next_worker(service, one)
    assert [attempt for _, attempt in one.runs] == [1, 1]
    assert service.told(TaskFailed, SuspectIsolated) == []


async def test_finished_tasks_stay_finished_when_their_sibling_is_interrupted(service):
    done, slow = Recording(), Recording(1000.0)
    worker = service.worker(task("Done", done), task("Slow", slow, timeout_s=2000.0))
    await service.send("hello")
    await asyncio.sleep(1)

    await worker.drain(grace_s=5.0)

    assert await service.totals() == (0, 1, 0)
    assert service.told(MessageRejected)[0].delay_s == 0.0
    service.worker(task("Done", done), task("Slow", slow))
    await service.until_empty()
    assert len(done.runs) == 1
    assert [attempt for _, attempt in slow.runs] == [1, 1]


async def test_task_that_swallows_its_cancellation_is_left_to_the_supervisor(service):
    async def run(message, context):
        runs.append(context.attempt)
        while len(runs) == 1:
            try:
                await asyncio.sleep(100_000)
                return
            except asyncio.CancelledError:
                continue

    runs = []
    worker = service.worker(task("One", run, timeout_s=200_000.0))
    await service.send("hello")
    await asyncio.sleep(1)
    began = loop_time()

    await worker.drain(grace_s=5.0)

    assert loop_time() - began < 5 + 3.5
    (holding,) = worker.table.holdings()
    assert holding.standing is SlotState.HELD
    assert [name for name, _ in worker.network.calls if name in ("ack", "release", "send")] == []
    assert await worker.sweep() == 1
    runs.append("the process is gone")
    service.worker(task("One", run))
    await service.until_empty()
    assert runs == [1, "the process is gone", 1]
    assert service.told(SuspectIsolated, TaskFailed) == []


async def test_sync_task_that_goes_on_is_left_to_the_supervisor_and_its_timeout_is_kept(service):
    may_end, has_begun = threading.Event(), threading.Event()

    def run(message, context):
        has_begun.set()
        may_end.wait(10)

    worker = service.worker(task("One", run, timeout_s=3.0, backoff_s=0.0))
    await service.send("hello")
    await asyncio.sleep(0.5)
    has_begun.wait(10)

    await worker.drain(grace_s=5.0)

    may_end.set()
    assert await worker.sweep() == 1
    assert [event.error for event in service.told(TaskFailed)] == ["timed out after 3 s"]
    one = Recording()
    await next_worker(service, one)
    assert [attempt for _, attempt in one.runs] == [2]


async def test_sync_task_within_the_grace_is_waited_for(service):
    loop = asyncio.get_running_loop()
    may_end, has_begun = threading.Event(), threading.Event()

    def run(message, context):
        has_begun.set()
        may_end.wait(10)

    worker = service.worker(task("One", run))
    await service.send("hello")
    await asyncio.sleep(0.5)
    has_begun.wait(10)
    draining = loop.create_task(worker.drain(grace_s=20.0))
    await asyncio.sleep(2)
    may_end.set()
    with loop.standing_still():
        while worker.pipelines[0].runner.running:
            await asyncio.sleep(0)
    await draining

    assert len(service.told(MessageDone)) == 1
    assert await worker.sweep() == 0


async def test_messages_that_the_receive_under_way_brings_are_released_at_once(service):
    one = Recording()
    worker = service.worker(task("One", one), features={"cancels_receive": False}, stages=(0,))
    await asyncio.sleep(1)
    draining = asyncio.create_task(worker.drain(grace_s=20.0))
    await asyncio.sleep(0.5)

    await service.send("late")
    await draining

    assert one.runs == []
    depth = await service.broker.depth(QUEUES.requests)
    assert (depth.ready, depth.in_flight) == (1, 0)
    assert await worker.sweep() == 0


async def test_messages_of_a_full_receive_are_released_when_the_worker_stops_in_between(service):
    one = Recording(*[1.0] * 50)
    worker = service.worker(task("One", one), capacity=5)
    await service.send(*(str(number) for number in range(20)))
    await asyncio.sleep(0.5)

    await worker.drain(grace_s=20.0)

    assert len(one.runs) == 5
    assert await service.totals() == (15, 0, 0)
    assert (await service.broker.depth(QUEUES.requests)).in_flight == 0


async def test_lingering_acknowledgements_go_out_at_the_end(service):
    worker = service.worker(task("One", Recording()), features={"linger_s": 600.0})
    await service.send("hello")
    await service.until(lambda: service.told(MessageDone))
    assert await service.total(QUEUES.requests) == 1

    await worker.drain(grace_s=20.0)

    assert await service.totals() == (0, 0, 0)


async def test_worker_ends_in_time_when_the_broker_is_down(service):
    one = Recording(2.0)
    worker = service.worker(task("One", one))
    await service.send("hello")
    await asyncio.sleep(1)
    for name in ("ack", "release", "send", "receive"):
        worker.network.cut[name] = DOWN
    began = loop_time()

    await worker.drain(grace_s=5.0)

    assert loop_time() - began < 5 + 5
    worker.network.cut.clear()
    await worker.sweep()
    await next_worker(service, one)
    assert len(one.runs) == 1  # it was recorded; only its acknowledgement was missing


async def test_worker_ends_in_time_and_acknowledges_nothing_when_the_ledger_is_down(service):
    one = Recording(2.0)
    worker = service.worker(task("One", one))
    await service.send("hello")
    await asyncio.sleep(1)
    worker.ledger.cut["save"] = LEDGER_DOWN
    began = loop_time()

    await worker.drain(grace_s=5.0)

    assert loop_time() - began < 5 + 5
    assert worker.network.count("ack") == 0
    assert await worker.sweep() == 1
    assert (await service.broker.depth(QUEUES.requests)).ready == 1


async def test_worker_ends_in_time_when_the_ledger_could_not_be_asked(service):
    one = Recording()
    worker = service.worker(task("One", one))
    worker.ledger.cut["claim"] = LEDGER_DOWN
    await service.send("hello")
    await asyncio.sleep(20)
    began = loop_time()

    await worker.drain(grace_s=5.0)

    assert loop_time() - began < 5 + 10
    await worker.sweep()
    await next_worker(service, one)
    assert len(one.runs) == 1
    assert service.told(SuspectIsolated) == []


@pytest.mark.parametrize("at_s", [0.0, 0.001, 0.5, 1.0, 1.001, 1.5, 2.0, 6.0, 11.0, 11.5, 13.0])
async def test_nothing_is_lost_or_done_twice_when_the_worker_ends_at_any_moment(service, at_s):
    async def fails_once(message, context):
        await asyncio.sleep(1.0)
        runs.append((message.text, context.attempt))
        if context.attempt == 1:
            raise ValueError("once")

    async def fails(message, context):
        await asyncio.sleep(0.5)
        raise ValueError("no")

    runs, good, alert = [], Recording(*[1.0] * 3), Recording(*[1.0] * 9)
    tasks = [
        task("Good", good),
        task("FailsOnce", fails_once),
        task("Fails", fails, backoff_s=0.5),
        task("Alert", alert, is_default=True),
    ]
    worker = service.worker(*tasks, capacity=3)
    await service.send("a", "b", "c")
    await asyncio.sleep(at_s)

    await worker.drain(grace_s=0.2)
    assert worker.table.used == 0
    service.worker(*tasks)
    await service.until_empty()

    assert sorted(runs) == [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("c", 1), ("c", 2)]
    assert await service.totals() == (0, 0, 3)
    assert {context.message.text for context in alert.contexts} == {"a", "b", "c"}
    assert service.told(SuspectIsolated) == []
