"""Message groups of standard queues: they order nothing, and are carried along, as the trace is."""

import asyncio
from dataclasses import replace

import pytest

from mulligan.clock import SystemClock
from mulligan.core import retry_state
from mulligan.core.delivery import Outgoing
from mulligan.core.event import MessageDone, MessageRejected, MessageReleased, StateTooNew
from mulligan.settings.model import Settings
from tests.integration.worker.service import QUEUES, Recording, Service, task

TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793"
NEWER = '{"v":2,"uid":"018bcfe56800-1","gen":0}'


@pytest.fixture
async def service(broker_of):  # ends before the brokers do
    made = Service(SystemClock())
    yield made
    await made.close()


@pytest.fixture
async def sqs(server, broker_of):
    """A broker on fresh standard queues, as a worker has them."""
    made = broker_of(server)
    await made.declare(QUEUES, create=True)
    return made


def of_one_tenant(*bodies, **attributes):
    return [Outgoing(body.encode(), attributes, tenant="tenant-1", trace=TRACE) for body in bodies]


async def received(broker, queue):
    (one,) = await broker.receive(queue, 1, wait_s=5.0, lease_s=30.0)
    return one


async def test_ten_messages_of_one_group_on_a_standard_queue_run_side_by_side(service, sqs):
    everybody = asyncio.Event()

    async def meet(_):
        if one.now == 10:
            everybody.set()
        await everybody.wait()

    one = Recording(*[meet] * 10)
    await sqs.send(QUEUES.requests, of_one_tenant(*"0123456789"))

    service.worker(task("One", one), broker=sqs, stages=(0,))
    await service.until(lambda: len(service.told(MessageDone)) == 10, within_s=20.0)

    assert one.most == 10
    assert service.told(MessageReleased) == []


async def test_copies_of_a_standard_queue_carry_group_and_trace_to_rejects_and_dead(service, sqs):
    one = Recording(ValueError("no"), ValueError("no"))
    await sqs.send(QUEUES.requests, of_one_tenant("hello"))
    worker = service.worker(task("One", one, attempts=2, backoff_s=0.0), broker=sqs, stages=(0,))
    await service.until(lambda: service.told(MessageRejected), within_s=10.0)
    await service.until(lambda: worker.in_flight == 0, within_s=10.0)

    rejected = await received(sqs, QUEUES.rejects)
    await sqs.release(QUEUES.rejects, [(rejected.receipt, 0.0)])
    service.worker(task("One", one, attempts=2, backoff_s=0.0), broker=sqs, stages=(1,))
    letter = await received(sqs, QUEUES.dead)

    assert (rejected.group, rejected.tenant, rejected.trace) == (None, "tenant-1", TRACE)
    assert (letter.group, letter.tenant, letter.trace) == (None, "tenant-1", TRACE)
    assert retry_state.decode(letter.attributes[retry_state.ATTRIBUTE]).group is None


async def test_group_of_a_standard_queue_goes_on_beside_a_copy_that_is_left_alone(service, sqs):
    one = Recording()
    await sqs.send(QUEUES.rejects, of_one_tenant("newer", mulligan=NEWER))
    await sqs.send(QUEUES.rejects, of_one_tenant("mine"))

    service.worker(task("One", one), broker=sqs, stages=(1,), settings=Settings(unknown_on_rejects="run"))
    await service.until(lambda: service.told(MessageDone) and service.told(StateTooNew), within_s=10.0)

    assert [body for body, _ in one.runs] == ["mine"]
    assert service.told(StateTooNew)[0].groups == ()


async def test_group_of_a_standard_queue_goes_on_when_one_of_it_is_to_be_tried_again(service, sqs):
    one = Recording(ValueError("no"))
    await sqs.send(QUEUES.requests, of_one_tenant("a", "b", "c"))

    service.worker(task("One", one), broker=sqs, stages=(0,), capacity=1)
    await service.until(lambda: len(service.told(MessageDone)) == 2, within_s=20.0)

    assert [attempt for _, attempt in one.runs] == [1, 1, 1]
    assert {event.reason for event in service.told(MessageReleased)} <= {"no place came free in time"}


async def test_group_of_a_fifo_queue_is_none_of_a_tenant_and_its_trace_goes_along(fifo, fifo_queues):
    outgoing = Outgoing(b"1", {}, group="g", dedup_id="1", tenant="tenant-1", trace=TRACE)

    await fifo.send(fifo_queues.requests, [outgoing, replace(outgoing, dedup_id="2", trace=None)])
    (one,) = await fifo.receive(fifo_queues.requests, 1, wait_s=0.0, lease_s=30.0)

    assert (one.group, one.tenant, one.trace) == ("g", None, TRACE)
