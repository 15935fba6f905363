import asyncio

import pytest

from mulligan.brokers.memory import MemoryBroker
from mulligan.core import retry_state
from mulligan.core.delivery import EntryFault, Fault, Outgoing
from mulligan.core.error import BrokerRefused, BrokerUnavailable
from mulligan.core.event import BrokerDown, BrokerUp, MessageRejected, SettlementFailed
from mulligan.core.lifecycle import Report
from mulligan.core.message import Message, TaskName
from mulligan.core.progress import Mark, Progress, State
from mulligan.core.step import ACK, Reject, Release
from mulligan.ledger.base import OUTDATED, Claim, Granted
from mulligan.ledger.memory import MemoryLedger
from mulligan.storage.body import BodyFolder
from mulligan.worker.ipc.lease_table import Counter
from mulligan.worker.pipeline.packer import Packer
from mulligan.worker.pipeline.patient_ledger import PatientLedger
from mulligan.worker.pipeline.settler import Settler
from tests.integration.worker.service import Network

DOWN = BrokerUnavailable("down")
RETRY = EntryFault(Fault.RETRY, "busy")
REFUSED = EntryFault(Fault.REFUSED, "too big")
LOST = EntryFault(Fault.LEASE_LOST, "gone")
ONCE = Progress({TaskName("One"): Mark(State.PENDING, 1, 1_700_000_010.0, "no")}, deaths=2)
UID = "018bcfe56800-0000000000000000000"


@pytest.fixture
async def broker(clock, queues):
    made = Network(MemoryBroker(clock))
    await made.declare(queues, create=True)
    return made


@pytest.fixture
async def ledger(clock):
    return Network(MemoryLedger(clock))


@pytest.fixture
def over(reported):
    """Called for those whose settlement has ended so far."""
    return lambda: reported.of(Report.SETTLED)


@pytest.fixture
def buried(reported):
    """Called for those whose dead letter is confirmed so far."""
    return lambda: reported.of(Report.BURIED)


@pytest.fixture
def folder(tmp_path):
    return BodyFolder(tmp_path / "bodies")


@pytest.fixture
async def settler(runtime, broker, queues, role, ledger, folder, slots, reports, failed):
    patient = PatientLedger(ledger, runtime.clock, runtime.emit)
    made = Settler(runtime, broker, queues, role, patient, Packer(folder), slots, reports)
    yield made
    assert failed == []


@pytest.fixture
def receive(broker, ledger, queues, clock, make_flight):
    async def receive(number=0, **attributes):
        """A flight whose message is leased and claimed."""
        await broker.send(queues.requests, [Outgoing(b"hello", attributes)])
        (delivery,) = await broker.receive(queues.requests, 1, wait_s=0, lease_s=60.0)
        flight = make_flight("One", uid=f"{UID}{number}", receipt=delivery.receipt)
        flight.message = Message(flight.message.uid, b"hello", attributes, 1.0)
        now = clock.now()
        await ledger.claim([Claim(flight.message.uid, 0, 0, flight.token, now + 60)], now)
        broker.calls.clear()
        ledger.calls.clear()
        return flight

    return receive


async def claimed(ledger, clock, flight, hop=0):
    now = clock.now()
    (answer,) = await ledger.claim([Claim(flight.message.uid, 0, hop, "another", now + 60)], now)
    return answer


async def totals(broker, queues):
    return tuple([(await broker.depth(name)).total for name in queues.all])


def names(network):
    return [name for name, _ in network.calls]


# -- ack


async def test_settler_acknowledges(settler, receive, broker, queues, over):
    flight = await receive()

    settler.put([flight.resolve(ACK)])
    await settler.drain()

    assert over() == [flight]
    assert settler.is_idle
    assert await totals(broker, queues) == (0, 0, 0)


async def test_settler_ends_the_claim_of_a_message_that_was_found_finished(settler, receive, ledger, clock):
    flight = await receive()

    settler.put([flight.resolve(ACK)])
    await settler.drain()

    assert isinstance(await claimed(ledger, clock, flight), Granted)


async def test_settler_repeats_an_acknowledgement_a_few_times_only(settler, receive, broker, over, events):
    broker.faults["ack"] = [[RETRY]] * 9
    flight = await receive()

    settler.put([flight.resolve(ACK)])
    await settler.drain()

    assert broker.count("ack") == 4
    assert over() == [flight]
    assert [(event.settlement, event.reason) for event in events] == [("ack", "busy")]


async def test_settler_says_nothing_when_the_lease_of_a_finished_message_is_lost(
    settler, receive, broker, over, events
):
    broker.faults["ack"] = [[LOST]]
    flight = await receive()

    settler.put([flight.resolve(ACK)])
    await settler.drain()

    assert over() == [flight]
    assert events == []
    assert broker.count("ack") == 1


async def test_settler_waits_for_a_broker_that_is_down_and_tells_it_once(settler, receive, broker, over, events):
    broker.faults["ack"] = [DOWN] * 20
    flight = await receive()

    settler.put([flight.resolve(ACK)])
    await settler.drain()

    assert over() == [flight]
    assert broker.count("ack") == 21
    assert [type(event) for event in events] == [BrokerDown, BrokerUp]


async def test_settler_asks_a_broker_that_is_down_less_and_less_often(settler, receive, broker):
    """Five times a second for each batch, for as long as it throttled: 34 requests a second of one idle process."""
    broker.cut["ack"] = DOWN
    flight = await receive()
    settler.put([flight.resolve(ACK)])

    await asyncio.sleep(61)

    assert broker.count("ack") == 19  # six within 6 s, then one in 4 s
    settler.give_up()
    await settler.drain()


async def test_settler_ends_at_once_when_it_has_to_end_amid_a_pause(settler, receive, broker, over):
    broker.cut["ack"] = DOWN
    flight = await receive()
    settler.put([flight.resolve(ACK)])
    await asyncio.sleep(60)
    loop = asyncio.get_running_loop()
    began_at = loop.time()

    settler.give_up()
    await settler.drain()

    assert over() == [flight]
    assert loop.time() - began_at < 0.01


async def test_settler_tells_once_a_minute_that_calls_are_refused(settler, receive, broker, events):
    """A right that is missing was told for each message: hundreds of lines a second."""
    broker.cut["ack"] = BrokerRefused("no right to delete")
    for number in range(4):
        settler.put([(await receive(number)).resolve(ACK)])
        await settler.drain()
    await asyncio.sleep(60)

    settler.put([(await receive(4)).resolve(ACK)])
    await settler.drain()

    assert [(event.uid, event.others) for event in events] == [(f"{UID}0", 0), (f"{UID}4", 3)]


async def test_settler_does_not_wait_for_a_broker_that_is_down_when_it_has_to_end(settler, receive, broker, over):
    broker.cut["ack"] = DOWN
    flight = await receive()
    settler.put([flight.resolve(ACK)])
    await asyncio.sleep(60)

    settler.give_up()
    await settler.drain()

    assert over() == [flight]


async def test_settler_is_done_with_entries_when_the_broker_refuses_the_call(settler, receive, broker, over, events):
    broker.faults["ack"] = [BrokerRefused("no rights")]
    flight = await receive()

    settler.put([flight.resolve(ACK)])
    await settler.drain()

    assert over() == [flight]
    assert [event.reason for event in events] == ["no rights"]


# -- release


async def test_settler_gives_the_claim_back_before_it_releases(settler, receive, broker, ledger, clock, queues, over):
    flight = await receive()
    order = []

    async def giving_back():
        order.append((await broker.depth(queues.requests)).ready)

    ledger.faults["give_back"] = [giving_back]
    settler.put([flight.resolve(Release(0.0))])
    await settler.drain()

    assert order == [0]
    assert (await broker.depth(queues.requests)).ready == 1
    assert over() == [flight]


async def test_settler_releases_for_a_while(settler, receive, broker, queues):
    settler.put([(await receive()).resolve(Release(30.0))])
    await settler.drain()

    depth = await broker.depth(queues.requests)
    assert (depth.ready, depth.delayed, depth.in_flight) == (0, 1, 0)


# -- reject


async def test_settler_records_and_copies_before_it_removes(settler, receive, broker, ledger):
    flight = await receive()
    flight.progress = ONCE

    settler.put([flight.resolve(Reject(10.0))])
    await settler.drain()

    assert names(broker) == ["send", "ack"]
    assert names(ledger) == ["save"]


async def test_settler_does_not_remove_a_message_whose_copy_may_not_be_there(settler, receive, broker, queues, over):
    flight = await receive()
    flight.progress = ONCE
    broker.faults["send"] = [[RETRY]] * 4

    settler.put([flight.resolve(Reject(10.0))])
    await settler.drain()

    assert names(broker) == ["send"] * 4 + ["release"]
    assert await totals(broker, queues) == (1, 0, 0)
    assert over() == [flight]


async def test_settler_copies_the_story_with_the_next_hop_and_forgets_deaths(settler, receive, broker, queues, clock):
    flight = await receive(color="red", number=0)
    flight.progress = ONCE

    settler.put([flight.resolve(Reject(10.0))])
    await settler.drain()
    await asyncio.sleep(10)

    (copy,) = await broker.receive(queues.rejects, 1, wait_s=0, lease_s=60)
    told = retry_state.decode(copy.attributes[retry_state.ATTRIBUTE])
    assert (told.uid, told.generation, told.hop) == (flight.message.uid, 0, 1)
    assert told.progress == Progress(ONCE.marks)
    assert copy.attributes["color"] == "red"
    assert copy.body == b"hello"


async def test_settler_makes_older_copies_outdated_once_the_new_one_is_confirmed(settler, receive, ledger, clock):
    flight = await receive()
    flight.progress = ONCE

    settler.put([flight.resolve(Reject(10.0))])
    await settler.drain()

    assert await claimed(ledger, clock, flight, hop=0) == OUTDATED
    assert isinstance(await claimed(ledger, clock, flight, hop=1), Granted)


async def test_settler_removes_the_original_when_its_claim_was_lost_after_the_copy(
    settler, receive, ledger, broker, queues
):
    flight = await receive()
    flight.progress = ONCE
    await ledger.give_back([flight.key])

    settler.put([flight.resolve(Reject(10.0))])
    await settler.drain()

    assert await totals(broker, queues) == (0, 1, 0)


async def test_settler_tells_a_reject_only_when_its_copy_is_confirmed(settler, receive, broker, events, table):
    first, second = await receive(0), await receive(1)
    broker.faults["send"] = [[REFUSED]]
    settler.put([first.resolve(Reject(10.0))])
    await settler.drain()
    assert [type(event) for event in events] == [SettlementFailed]

    settler.put([second.resolve(Reject(10.0))])
    await settler.drain()

    assert [(event.uid, event.hop) for event in events if isinstance(event, MessageRejected)] == [(f"{UID}1", 1)]
    assert table.count(Counter.REJECTED) == 1


# -- bury


async def test_settler_buries_and_leaves_the_message_where_it_is(settler, receive, broker, queues, buried, over):
    flight = await receive()
    flight.progress = Progress({TaskName("One"): Mark(State.EXHAUSTED, 2, reason="no")})

    settler.bury(flight)
    await settler.drain()

    assert buried() == [flight]
    assert over() == []
    assert await totals(broker, queues) == (1, 0, 1)
    (letter,) = await broker.receive(queues.dead, 1, wait_s=0, lease_s=60)
    assert retry_state.decode(letter.attributes[retry_state.ATTRIBUTE]).hop == 0


async def test_settler_releases_a_message_whose_burial_is_refused(settler, receive, broker, queues, buried, over):
    flight = await receive()
    broker.faults["send"] = [[REFUSED]]

    settler.bury(flight)
    await settler.drain()

    assert buried() == []
    assert over() == [flight]
    depth = await broker.depth(queues.requests)
    assert (depth.ready, depth.delayed) == (0, 1)


# -- batches


async def test_settler_reads_every_answer_of_a_batch(settler, receive, broker, over, events):
    flights = [await receive(number) for number in range(4)]
    broker.faults["ack"] = [[None, RETRY, REFUSED, RETRY], [None, RETRY]]

    for flight in flights:
        settler.put([flight.resolve(ACK)])
    await settler.drain()

    assert over() == flights
    assert [len(args[1]) for name, args in broker.calls if name == "ack"] == [4, 2, 1]
    assert [event.uid for event in events] == [f"{UID}2"]


async def test_settler_gives_up_on_entries_that_stay_busy_but_not_on_their_neighbours(
    settler, receive, broker, queues, over
):
    flights = [await receive(number) for number in range(2)]
    broker.faults["send"] = [[None, RETRY], [RETRY], [RETRY], [RETRY]]

    for flight in flights:
        settler.put([flight.resolve(Reject(0.0))])
    await settler.drain()

    assert sorted(over(), key=id) == sorted(flights, key=id)
    assert await totals(broker, queues) == (1, 1, 0)
