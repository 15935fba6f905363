"""Messages that fill their queue's limit and whose task fails: their copies carry a story, too, and must fit all the
same. On real queues and a real disk, so in real time.
"""

import asyncio
import random
from dataclasses import replace

import pytest

from mulligan.brokers.memory import MemoryBroker
from mulligan.brokers.sqlite.broker import SqliteBroker
from mulligan.brokers.sqs.broker import SqsBroker
from mulligan.cli.dead_letter import as_data, dead_letter_of, slim
from mulligan.cli.render import picture
from mulligan.cli.replay import Replay
from mulligan.cli.session import Session
from mulligan.clock import SystemClock
from mulligan.core.delivery import Outgoing
from mulligan.core.event import (
    BodyMissing,
    DuplicateSkipped,
    MessageDeadLettered,
    MessageDone,
    MessageRejected,
    SettlementFailed,
)
from mulligan.core.packing import size_bytes
from mulligan.servers.sqs.server import serve
from mulligan.settings.model import Settings
from mulligan.storage.body import BodyFolder
from mulligan.tasks.registry import TaskRegistry
from tests.integration.worker.service import QUEUES, Recording, Service, task

REAL_TIME = True

ALPHABET = bytes(range(33, 127))
SQS_LIMITS = {"sqs of 1 MiB": 1_048_576, "sqs of 256 KiB": 262_144}


@pytest.fixture
async def service():
    made = Service(SystemClock())
    yield made
    await made.close()


@pytest.fixture(params=["memory", "sqlite", *SQS_LIMITS])
async def broker(request, service, tmp_path, monkeypatch):
    """A broker of each kind whose queues are there."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mulligan")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mulligan")
    server = None
    if request.param == "memory":
        made = MemoryBroker(service.clock, service.queues)
    elif request.param == "sqlite":
        made = SqliteBroker(tmp_path / "queue.db", service.clock)
    else:
        server = await serve(clock=service.clock)
        made = SqsBroker(f"sqs://eu-west-1?endpoint={server.url}", clock=service.clock, emit=service.events.append)
        client = await made._open()
        for name in QUEUES.all:
            attributes = {"MaximumMessageSize": str(SQS_LIMITS[request.param])}
            await client.call_object("CreateQueue", {"QueueName": name, "Attributes": attributes}, where=name)
    await made.declare(QUEUES, create=True)
    yield made
    await made.close()
    if server is not None:
        await server.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "bodies"


def stored(path):
    return sorted(one.name for one in path.iterdir()) if path.exists() else []


class Failing(Recording):
    """A task that keeps the messages it was given and fails so many times."""

    def __init__(self, times):
        super().__init__(*[ValueError("x" * 3000) for _ in range(times)])
        self.seen = []

    async def __call__(self, message, context):
        self.seen.append(message)
        if self.ends:
            raise self.ends.pop(0)


def worker(service, broker, path, *tasks, **more):
    more["features"] = {"long_poll_s": 0.2} | more.get(
        "features", {}
    )  # SQS can't break off a poll: a drain waits for it
    return service.worker(*tasks, broker=broker, bodies=BodyFolder(path), keeps=False, **more)


def full(broker, kind, attributes):
    """A body that fills the limit to the last byte. kind: "noise" can't be compressed, "text" can."""
    room = broker.features.max_message_bytes - size_bytes(b"", attributes, broker.features.type_bytes)
    if kind == "text":
        return b"a" * room
    noise = random.Random(7).randbytes(room)
    if not broker.features.is_text:
        return noise
    return noise.translate(bytes(ALPHABET[at % len(ALPHABET)] for at in range(256)))  # base64 makes it longer again


async def put(broker, body, attributes):
    assert await broker.send(QUEUES.requests, [Outgoing(body + b"x", attributes)]) != [None]
    assert await broker.send(QUEUES.requests, [Outgoing(body, attributes)]) == [None]


async def until(is_true, within_s=30.0):
    async with asyncio.timeout(within_s):
        while not is_true():
            await asyncio.sleep(0.02)


async def totals(broker):
    return [(await broker.depth(name)).total for name in QUEUES.all]


def session(broker, path, clock):
    return Session(Settings(bodies_url=str(path)), broker, QUEUES, clock.now)


TEN = {f"k{at}": f"v{at}" for at in range(10)}


@pytest.mark.parametrize("attributes", [{"a": "b"}, TEN], ids=["one attribute", "ten attributes"])
@pytest.mark.parametrize("kind", ["noise", "text"])
async def test_full_message_is_done_on_retry(service, broker, path, kind, attributes):
    body = full(broker, kind, attributes)
    one = Failing(1)
    await put(broker, body, attributes)

    working = worker(service, broker, path, task("One", one, backoff_s=0.0))
    await until(lambda: service.told(MessageDone))
    await working.drain()

    assert [(seen.body == body, dict(seen.attributes) == attributes) for seen in one.seen] == [(True, True)] * 2
    assert len({seen.uid for seen in one.seen}) == 1
    assert service.told(SettlementFailed, BodyMissing) == []
    assert await totals(broker) == [0, 0, 0]
    assert stored(path) == []


@pytest.mark.parametrize("kind", ["noise", "text"])
async def test_full_message_is_buried_shown_and_replayed_byte_for_byte(service, broker, path, kind):
    body = full(broker, kind, TEN)
    one, alert = Failing(2), Failing(1)
    tasks = task("One", one, backoff_s=0.0), task("Alert", alert, backoff_s=0.0, is_default=True)
    await put(broker, body, TEN)

    first = worker(service, broker, path, *tasks)
    await until(lambda: len(alert.seen) == 2 and not first.in_flight)
    await first.drain()

    assert len(service.told(MessageDeadLettered)) == 1
    assert await totals(broker) == [0, 0, 1]
    assert [name.split("-")[3] for name in stored(path)] == (["dead"] if kind == "noise" else [])
    (delivery,) = await broker.receive(QUEUES.dead, 1, wait_s=0.0, lease_s=60.0)
    letter = dead_letter_of(delivery, QUEUES.prefix, BodyFolder(path).load)
    assert letter.message.body == body
    assert letter.message.attributes == TEN
    assert f"{len(body):,} bytes" in picture(letter, whole_body=False)
    await broker.release(QUEUES.dead, [(delivery.receipt, 0.0)])

    job = Replay(session(broker, path, service.clock), TaskRegistry({one.name: one for one in tasks}))
    await job.these([])
    assert job.problems == []
    assert [name.split("-")[2:4] for name in stored(path)] == ([["1", "rejects"]] if kind == "noise" else [])

    second = worker(service, broker, path, *tasks)
    await until(lambda: service.told(MessageDone))
    await second.drain()

    assert [seen.body == body and seen.attributes == TEN for seen in one.seen + alert.seen] == [True] * 5
    assert len({seen.uid for seen in one.seen + alert.seen}) == 1
    assert await totals(broker) == [0, 0, 0]
    assert stored(path) == []


# -- when the file is gone, on the memory broker


@pytest.fixture
async def memory(service):
    made = MemoryBroker(service.clock, service.queues)
    await made.declare(QUEUES, create=True)
    return made


async def rejected(service, memory, path):
    """A full message that failed once, its body in a file, and the task that will succeed."""
    body = full(memory, "noise", {})
    one = Failing(1)
    await put(memory, body, {})
    working = worker(service, memory, path, task("One", one, backoff_s=0.0), stages=(0,))
    await until(lambda: service.told(MessageRejected))
    await working.drain()
    assert await totals(memory) == [0, 1, 0]
    return body, one


async def test_message_whose_file_is_gone_is_kept_told_and_done_once_the_file_is_back(service, memory, path):
    body, one = await rejected(service, memory, path)
    (name,) = stored(path)
    (path / name).rename(path / "elsewhere")

    first = worker(service, memory, path, task("One", one, backoff_s=0.0))
    await until(lambda: service.told(BodyMissing))
    await until(lambda: not first.in_flight)
    await first.drain()

    (told,) = service.told(BodyMissing)
    assert str(path / name) in told.problem
    assert told.again_in_s == 60.0
    assert len(one.seen) == 1
    depth = await memory.depth(QUEUES.rejects)
    assert (depth.delayed, depth.total) == (1, 1)

    (path / "elsewhere").rename(path / name)
    copies = [stored.outgoing for stored in service.queues.get(QUEUES.rejects).stored.values()]
    await memory.purge(QUEUES.rejects)
    await memory.send(QUEUES.rejects, copies)  # the same copy, without the wait
    second = worker(service, memory, path, task("One", one, backoff_s=0.0))
    await until(lambda: service.told(MessageDone))
    await second.drain()

    assert [seen.body == body for seen in one.seen] == [True, True]
    assert await totals(memory) == [0, 0, 0]
    assert stored(path) == []


async def test_message_whose_file_is_gone_is_looked_at_less_often_also_where_the_broker_counts_no_releases(
    service, memory, path
):
    """On RabbitMQ it was looked at, and told, once a minute for ever."""
    _, one = await rejected(service, memory, path)
    (name,) = stored(path)
    (path / name).unlink()
    (copy,) = service.queues.get(QUEUES.rejects).stored.values()
    copy.sent_at -= 500.0

    working = worker(service, memory, path, task("One", one), features={"counts_releases": False})
    await until(lambda: service.told(BodyMissing))
    await working.drain()

    (told,) = service.told(BodyMissing)
    assert told.again_in_s == pytest.approx(500.0, abs=60.0)
    assert (await memory.depth(QUEUES.rejects)).delayed == 1


async def test_message_whose_file_is_gone_is_acknowledged_when_the_ledger_knows_it_is_finished(service, memory, path):
    _, one = await rejected(service, memory, path)
    (copy,) = [stored.outgoing for stored in service.queues.get(QUEUES.rejects).stored.values()]
    first = worker(service, memory, path, task("One", one, backoff_s=0.0))
    await until(lambda: service.told(MessageDone))
    await first.drain()
    assert stored(path) == []

    await memory.send(QUEUES.rejects, [copy])  # a twin, late
    second = worker(service, memory, path, task("One", one, backoff_s=0.0))
    await until(lambda: service.told(DuplicateSkipped))
    await second.drain()

    assert service.told(BodyMissing) == []
    assert len(one.seen) == 2
    assert await totals(memory) == [0, 0, 0]


async def test_message_whose_body_can_not_be_stored_is_kept_and_done_once_it_can(service, memory, path):
    body, one = full(memory, "noise", {}), Failing(1)
    await put(memory, body, {})
    path.write_text("in the way")

    first = worker(service, memory, path, task("One", one, backoff_s=0.0))
    await until(lambda: service.told(SettlementFailed))
    await until(lambda: not first.in_flight)
    await first.drain()

    (told,) = service.told(SettlementFailed)
    assert f"can't be kept in {path} (BODIES_URL)" in told.reason
    depth = await memory.depth(QUEUES.requests)
    assert (depth.delayed, depth.total) == (1, 1)
    assert len(one.seen) == 1


async def test_dead_letter_whose_file_is_gone_says_so_and_is_not_replayed(service, memory, path):
    body, one = full(memory, "noise", {}), Failing(1)
    await put(memory, body, {})
    tasks = [task("One", one, attempts=1)]
    first = worker(service, memory, path, *tasks)
    await until(lambda: service.told(MessageDeadLettered) and not first.in_flight)
    await first.drain()
    (name,) = stored(path)
    (path / name).unlink()

    job = Replay(session(memory, path, service.clock), TaskRegistry({one.name: one for one in tasks}))
    await job.these([])

    (problem,) = job.problems
    assert f"can't be replayed: its body is not where it was stored: there is no file {path / name}" in problem
    assert await totals(memory) == [0, 0, 1]
    (delivery,) = await memory.receive(QUEUES.dead, 1, wait_s=0.0, lease_s=60.0)
    letter = dead_letter_of(delivery, QUEUES.prefix, BodyFolder(path).load)
    shown = picture(letter, whole_body=False)
    assert str(path / name) in shown
    assert "One failed permanently" in shown
    assert as_data(letter)["body_problem"] == letter.body_problem
    assert as_data(slim(letter))["body_bytes"] == letter.body_bytes


async def test_stored_body_of_a_dead_letter_stays_while_a_twin_of_it_can_not_be_seen(service, memory, path):
    await put(memory, full(memory, "noise", {}), {})
    tasks = [task("One", Failing(1), attempts=1)]
    first = worker(service, memory, path, *tasks)
    await until(lambda: service.told(MessageDeadLettered) and not first.in_flight)
    await first.drain()
    (copy,) = [stored.outgoing for stored in service.queues.get(QUEUES.dead).stored.values()]
    (held,) = await memory.receive(QUEUES.dead, 1, wait_s=0.0, lease_s=60.0)
    await memory.send(QUEUES.dead, [copy])
    registry = TaskRegistry({one.name: one for one in tasks})

    await Replay(session(memory, path, service.clock), registry).these([])
    kinds_before = [name.split("-")[3] for name in stored(path)]
    await memory.release(QUEUES.dead, [(held.receipt, 0.0)])
    await Replay(session(memory, path, service.clock), registry).these([])

    assert kinds_before == ["dead", "rejects"]
    assert [name.split("-")[3] for name in stored(path)] == ["rejects"]
    assert (await memory.depth(QUEUES.dead)).total == 0


async def test_stored_body_stays_when_a_copy_goes_that_a_later_one_has_outdated(service, memory, path):
    await put(memory, full(memory, "noise", {}), {})
    one = Failing(3)
    first = worker(service, memory, path, task("One", one, attempts=3, backoff_s=0.0), stages=(0,))
    await until(lambda: service.told(MessageRejected))
    await first.drain()
    (twin,) = [stored.outgoing for stored in service.queues.get(QUEUES.rejects).stored.values()]
    second = worker(service, memory, path, task("One", one, attempts=3, backoff_s=10_000.0), stages=(1,))
    await until(lambda: len(service.told(MessageRejected)) == 2)

    await memory.send(QUEUES.rejects, [twin])
    await until(lambda: service.told(DuplicateSkipped))
    await until(lambda: second.pipelines[0].is_idle)
    await second.drain()

    assert service.told(DuplicateSkipped)[0].reason == "a later copy exists"
    assert len(one.seen) == 2
    assert len(stored(path)) == 1
    assert await totals(memory) == [0, 1, 0]


async def test_damaged_copy_is_kept_and_looked_at_again_after_longer_and_longer(service, memory, path):
    await put(memory, b"a" * memory.features.max_message_bytes, {})
    one = Failing(1)
    first = worker(service, memory, path, task("One", one, backoff_s=0.0), stages=(0,))
    await until(lambda: service.told(MessageRejected))
    await first.drain()
    (copy,) = [stored.outgoing for stored in service.queues.get(QUEUES.rejects).stored.values()]
    await memory.purge(QUEUES.rejects)
    await memory.send(QUEUES.rejects, [replace(copy, body=copy.body[:-1])])
    for _ in range(2):
        (held,) = await memory.receive(QUEUES.rejects, 1, wait_s=0.0, lease_s=60.0)
        await memory.release(QUEUES.rejects, [(held.receipt, 0.0)])

    second = worker(service, memory, path, task("One", one))
    await until(lambda: service.told(BodyMissing) and not second.in_flight)
    await second.drain()

    (told,) = service.told(BodyMissing)
    assert "its packed body is damaged" in told.problem
    assert told.again_in_s == 240.0
    assert len(one.seen) == 1
    assert await totals(memory) == [0, 1, 0]
