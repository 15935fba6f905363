"""With all its real parts, and queues in memory."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from mulligan.brokers.memory import MemoryBroker
from mulligan.core.delivery import EntryFault, Fault, Outgoing
from mulligan.core.event import DuplicateSkipped, LeaseLost, MessageDone, SuspectIsolated
from mulligan.core.lifecycle import InvalidReport, Phase, Report
from mulligan.core.message import TaskName
from mulligan.core.progress import FRESH, Mark, Progress, State
from mulligan.ledger.base import GRANTED, Claim, Granted, Held
from mulligan.settings.model import Settings
from mulligan.storage.body import BodyFolder
from mulligan.tasks.registry import TaskRegistry
from mulligan.worker.ipc.channel import Setup
from mulligan.worker.ipc.lease_table import SlotState
from mulligan.worker.isolation.isolated_handle import isolated_handles
from mulligan.worker.isolation.isolated_runner import IsolatedRunner
from mulligan.worker.pipeline.capacity import Capacity
from mulligan.worker.pipeline.dispatcher import Dispatcher, Stages
from mulligan.worker.pipeline.packer import Packer
from mulligan.worker.pipeline.runner import Runner
from mulligan.worker.pipeline.settler import Settler
from mulligan.worker.system_host import SystemHost
from tests.integration.worker.service import Network

TASK_S = 10.0
UID = "018bcfe56800-0000000000000000000"
ONE = TaskName("One")
REFUSED = EntryFault(Fault.REFUSED, "too big")


@pytest.fixture
def ran():
    """The bodies that the task has begun with."""
    return []


@pytest.fixture
def registry(make_task, ran):
    """One task, which takes ten seconds and fails with a body that says so."""

    async def run(message, context):
        ran.append(message.text)
        await asyncio.sleep(TASK_S)
        return message.text != "fails"

    return TaskRegistry({ONE: make_task(run)})


@pytest.fixture
async def broker(clock, queues):
    made = Network(MemoryBroker(clock))
    await made.declare(queues, create=True)
    return made


@pytest.fixture
async def stages(
    runtime, role, queues, broker, patient, slots, claims, watch, admission, decider, recorder, reporter, backpressure,
    gate, reports, failed, tmp_path,
):  # fmt: skip
    setup = Setup(0, Settings(log_file=None).for_worker(), 1, 1, 10, str(Path.cwd()))
    runner = Runner(runtime, watch, recorder, backpressure)
    isolated = IsolatedRunner(isolated_handles(SystemHost(), setup, runtime.emit), reports, gate, watch, failed.append)
    settler = Settler(runtime, broker, queues, role, patient, Packer(BodyFolder(tmp_path)), slots, reports)
    capacity = Capacity(10, slots, reports, failed.append)
    yield Stages(
        slots, claims, watch, capacity, admission, decider, runner, isolated, gate, recorder, settler, reporter
    )
    decider.can_run = False
    runner.interrupt()
    await isolated.close()
    await asyncio.sleep(1)
    runner.close()
    assert failed == []


@pytest.fixture
async def dispatcher(runtime, role, stages, reports):
    return Dispatcher(runtime, role, stages, reports)


@pytest.fixture
def take(dispatcher, stages, make_flight, ledger, clock, broker, queues, reports):
    numbers = iter(range(10))

    async def take(*bodies, group=None, answer=None, **more):
        """Flights that are received and claimed, whose claims are answered, and that are reported as that."""
        flights = []
        for body in bodies:
            await broker.send(queues.requests, [Outgoing(body.encode(), {})])
            (delivery,) = await broker.receive(queues.requests, 1, wait_s=0, lease_s=60.0)
            flight = make_flight(uid=f"{UID}{next(numbers)}", receipt=delivery.receipt)
            flight.delivery = replace(delivery, group=group, **more)
            flight.message = replace(flight.message, body=body.encode())
            flight.progress = flight.carried = flight.saved = Progress({})
            await ledger.claim([Claim(flight.message.uid, 0, 0, flight.token, clock.now() + 60)], clock.now())
            flights.append(flight)
        stages.slots.enter(flights, clock.monotonic() + 60.0)
        stages.capacity.receive(len(flights))
        stages.claims.answered(flights, [answer or GRANTED] * len(flights))
        broker.calls.clear()
        ledger.calls.clear()
        reports.put(Report.CLAIMED, flights)
        return flights

    return take


def names(network):
    return [name for name, _ in network.calls]


def ids(table, flight):
    return flight.slot, table.sequence(flight.slot)


# -- the way of a message


async def test_message_is_recorded_before_it_is_removed_and_then_its_slot_is_free(
    take, ran, broker, ledger, table, stages, events
):
    order = []

    async def look():
        order.append(names(ledger))

    broker.faults["ack"] = [look]

    (flight,) = await take("hello")
    await asyncio.sleep(TASK_S + 1)

    assert ran == ["hello"]
    assert order == [["save"]]
    assert (flight.phase, flight.slot, table.used, stages.capacity.in_flight) == (Phase.OVER, -1, 0, 0)
    assert [type(event) for event in events][-1] is MessageDone


async def test_message_is_a_suspect_of_the_workers_death_while_its_tasks_run(take, table, clock):
    (flight,) = await take("hello")

    (held,) = table.holdings()
    assert (held.slot, held.standing) == (flight.slot, SlotState.RUNNING)
    assert held.deadline == clock.monotonic() + 60.0


async def test_message_whose_task_failed_goes_to_rejects(take, broker, table):
    (flight,) = await take("fails")
    await asyncio.sleep(TASK_S + 1)

    assert names(broker) == ["send", "ack"]
    assert (flight.phase, table.used) == (Phase.OVER, 0)


async def test_copy_of_a_message_that_another_worker_has_is_not_run(take, ran, broker, clock, events):
    await take("hello", answer=Held(clock.now() + 10.0))
    await asyncio.sleep(1)

    assert ran == []
    assert names(broker) == ["release"]
    assert [type(event) for event in events] == [DuplicateSkipped]


async def test_message_whose_claim_may_have_run_out_before_its_tasks_start_is_lost(
    dispatcher, stages, ran, make_flight, reports, clock, events
):
    """This process stood still, and somebody else may have run them."""
    flight = make_flight()
    stages.slots.enter([flight], clock.monotonic() + 60.0)
    stages.capacity.receive(1)
    stages.claims.answered([flight], [GRANTED])
    asyncio.get_running_loop().jump(60.0)

    reports.put(Report.CLAIMED, [flight])
    await asyncio.sleep(1)

    assert ran == []
    assert [type(event) for event in events] == [LeaseLost]
    assert flight.phase is Phase.OVER


async def test_exhausted_message_is_buried_then_recorded_then_removed(take, broker, ledger):
    exhausted = Granted(Progress({ONE: Mark(State.EXHAUSTED, 2, reason="no")}))

    (flight,) = await take("hello", answer=exhausted)
    await asyncio.sleep(5)

    assert names(broker) == ["send", "ack"]
    assert names(ledger) == ["save"]
    assert (flight.phase, flight.saved.is_buried) == (Phase.OVER, True)


async def test_message_whose_letter_is_refused_is_freed_once_it_is_released(take, broker, table, stages):
    broker.faults["send"] = [None, [REFUSED]]  # the message itself is sent first

    (flight,) = await take("hello", answer=Granted(Progress({ONE: Mark(State.EXHAUSTED, 2, reason="no")})))
    await asyncio.sleep(5)

    assert names(broker) == ["send", "release"]
    assert (flight.phase, table.used, stages.capacity.in_flight) == (Phase.OVER, 0, 0)


async def test_suspect_waits_for_its_turn_alone_and_says_so_in_its_slot(take, stages, ran, table, events):
    (flight,) = await take("hello", answer=Granted(Progress({ONE: FRESH}, deaths=1)))

    assert (stages.isolated.waiting, flight.running, ran) == (1, 1, [])
    assert [one.standing for one in table.holdings()] == [SlotState.ISOLATED]
    assert [type(event) for event in events] == [SuspectIsolated]


# -- groups


async def test_message_of_a_group_begins_when_the_one_before_it_is_finished(take, ran):
    await take("first", "second", group="g")
    assert ran == []
    await asyncio.sleep(TASK_S / 2)
    assert ran == ["first"]

    await asyncio.sleep(TASK_S)

    assert ran == ["first", "second"]


async def test_messages_behind_one_that_is_given_back_go_back_at_once(take, ran, dispatcher, broker, table):
    head, behind = await take("first", "second", group="g")
    await asyncio.sleep(1)

    dispatcher.lose(*ids(table, head))
    await asyncio.sleep(1)

    assert ran == ["first"]
    assert names(broker) == ["release"]
    assert (behind.phase, behind.reason) == (Phase.OVER, "the head of its group comes first")


# -- lost


async def test_message_whose_lease_is_lost_is_interrupted_and_its_claim_given_back_and_nothing_settled(
    take, dispatcher, broker, ledger, table, events
):
    (flight,) = await take("hello")
    await asyncio.sleep(1)

    dispatcher.lose(*ids(table, flight))
    await asyncio.sleep(1)

    assert [(type(event), event.reason) for event in events] == [(LeaseLost, "its lease could not be extended")]
    assert names(ledger) == ["give_back"]
    assert names(broker) == []
    assert (flight.phase, table.used) == (Phase.OVER, 0)


async def test_lease_of_the_message_before_in_a_slot_loses_nothing(take, dispatcher, table, events):
    (flight,) = await take("hello")
    slot, sequence = ids(table, flight)

    dispatcher.lose(slot, sequence - 2)

    assert flight.phase is Phase.ACTIVE
    assert events == []


async def test_claim_that_could_not_be_extended_before_it_was_granted_is_not_lost(take, dispatcher, table, clock):
    """There was nothing to extend yet."""
    (flight,) = await take("hello")
    granted_at = clock.monotonic()

    dispatcher.lose_claim(*ids(table, flight), granted_at - 1.0)
    assert flight.phase is Phase.ACTIVE
    dispatcher.lose_claim(*ids(table, flight), granted_at)

    assert flight.phase is Phase.LOST


async def test_claim_that_the_last_record_ends_is_not_lost(take, dispatcher, table, clock):
    (flight,) = await take("hello")
    flight.ends_claim = True

    dispatcher.lose_claim(*ids(table, flight), clock.monotonic())

    assert flight.phase is Phase.ACTIVE


async def test_settlement_that_is_under_way_is_not_called_back(take, dispatcher, broker, table, events):
    may_end = asyncio.Event()
    broker.faults["ack"] = [may_end.wait]
    (flight,) = await take("hello")
    await asyncio.sleep(TASK_S + 1)
    assert flight.phase is Phase.SETTLING

    dispatcher.lose(*ids(table, flight))
    may_end.set()
    await asyncio.sleep(1)

    assert flight.phase is Phase.OVER
    assert LeaseLost not in [type(event) for event in events]


async def test_report_of_some_that_were_lost_meanwhile_moves_each_by_its_own_phase(
    take, dispatcher, reports, table, broker
):
    lost, kept = await take("one", "two")
    lost.phase = Phase.LOST

    reports.put(Report.ABANDONED, [lost, kept])

    assert (lost.phase, kept.phase) == (Phase.LOST, Phase.ABANDONED)


# -- the end of a process


async def test_message_whose_attempt_does_not_end_stays_in_the_lease_table_and_is_not_settled(
    take, dispatcher, stages, broker, table
):
    """Its code runs until the process ends; the supervisor releases it then."""
    (flight,) = await take("hello")
    await asyncio.sleep(1)

    dispatcher.park(stages.runner.abandon())
    await asyncio.sleep(TASK_S + 1)

    assert (flight.phase, flight.running) == (Phase.ABANDONED, 0)
    assert [(one.slot, one.standing) for one in table.holdings()] == [(flight.slot, SlotState.HELD)]
    assert names(broker) == []
    assert stages.capacity.in_flight == 0


async def test_report_that_can_not_come_is_a_fault_that_names_it(take, reports):
    (flight,) = await take("hello")

    with pytest.raises(InvalidReport, match=r"ACTIVE.*BURIED"):
        reports.put(Report.BURIED, [flight])

    assert flight.phase is Phase.ACTIVE
