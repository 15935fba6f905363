import asyncio

import pytest

from mulligan.brokers.memory import MemoryBroker, MemoryQueues
from mulligan.core.delivery import EntryFault, Fault, Outgoing
from mulligan.core.error import BrokerUnavailable, LedgerUnavailable
from mulligan.core.event import BrokerDown, BrokerUp, LedgerDown, LedgerUp
from mulligan.ledger.base import Claim, Granted, Held
from mulligan.ledger.memory import MemoryLedger
from mulligan.worker.ipc.lease_table import LeaseTable, SlotState
from mulligan.worker.supervisor.lease_keeper import LeaseKeeper, is_overdue
from tests.integration.worker.service import Network

LEASE_S = 60.0
UID = "018bcfe56800-0000000000000000000"


@pytest.fixture
def content():
    return MemoryQueues()


@pytest.fixture
async def broker(clock, queues, content):
    made = Network(MemoryBroker(clock, content))
    await made.declare(queues, create=True)
    return made


@pytest.fixture
async def ledger(clock):
    return Network(MemoryLedger(clock))


@pytest.fixture
async def keeper(broker, ledger, queues, clock, events):
    return LeaseKeeper(broker, ledger, queues, clock, events.append, LEASE_S)


@pytest.fixture
def table():
    made = LeaseTable.create(20)
    yield made
    made.close()


@pytest.fixture
def make_keeper(clock, queues, ledger, events, content):
    """A keeper, and the broker that its messages are on, with features of its own."""

    async def make(**features):
        broker = Network(MemoryBroker(clock, content), **features)
        return LeaseKeeper(broker, ledger, queues, clock, events.append, LEASE_S), broker

    return make


@pytest.fixture
def hold(broker, ledger, queues, clock, table):
    async def hold(number=0, queue=0):
        """A message that a worker holds: received, in the table, claimed. The number of its slot."""
        name = queues.all[queue]
        await broker.send(name, [Outgoing(b"hello", {})])
        (delivery,) = await broker.receive(name, 1, wait_s=0, lease_s=LEASE_S)
        uid, token = f"{UID}{number}", f"t{number}"
        now = clock.now()
        await ledger.claim([Claim(uid, 0, 0, token, now + LEASE_S)], now)
        slot = table.put(queue, delivery.receipt, uid, 0, token, clock.monotonic() + LEASE_S)
        table.set_claimed([slot])
        return slot

    return hold


async def claim(ledger, clock, number=0):
    now = clock.now()
    (answer,) = await ledger.claim([Claim(f"{UID}{number}", 0, 0, "another", now + LEASE_S)], now)
    return answer


# -- extend


async def test_keeper_leaves_a_fresh_lease_alone(keeper, hold, broker, table):
    await hold()
    await asyncio.sleep(29)

    assert await keeper.extend_leases([(0, table)]) == {}

    assert broker.count("extend") == 0


async def test_keeper_extends_lease_and_claim_when_half_is_over(keeper, hold, broker, ledger, clock, table, queues):
    await hold()
    await asyncio.sleep(31)
    await keeper.extend_leases([(0, table)])
    await keeper.extend_claims([(0, table)])
    await asyncio.sleep(50)

    assert (await broker.depth(queues.requests)).in_flight == 1
    assert isinstance(await claim(ledger, clock), Held)


async def test_keeper_extends_again_half_a_lease_after_it_did(keeper, hold, broker, table):
    await hold()
    for _ in range(121):
        await asyncio.sleep(1)
        await keeper.extend_leases([(0, table)])

    assert broker.count("extend") == 4


async def test_keeper_extends_the_messages_of_many_workers_in_full_batches(make_keeper, ledger, hold, table):
    keeper, broker = await make_keeper(max_batch=10)
    for number in range(15):
        await hold(number)
    await asyncio.sleep(31)

    await keeper.extend_leases([(0, table)])

    assert [len(args[1]) for name, args in broker.calls if name == "extend"] == [10, 5]


async def test_keeper_tells_whose_lease_is_lost(keeper, hold, broker, table):
    await hold(0)
    lost = await hold(1)
    await asyncio.sleep(31)
    broker.faults["extend"] = [[None, EntryFault(Fault.LEASE_LOST, "gone")]]

    assert await keeper.extend_leases([(3, table)]) == {3: [(lost, table.sequence(lost))]}


async def test_keeper_tells_whose_claim_is_lost(keeper, hold, ledger, table):
    slot = await hold()
    await ledger.give_back([(f"{UID}0", 0, "t0")])
    await asyncio.sleep(31)

    assert await keeper.extend_claims([(0, table)]) == {0: [(slot, table.sequence(slot))]}


async def test_keeper_takes_no_lease_for_lost_when_its_extension_failed_for_a_moment(keeper, hold, broker, table):
    await hold()
    await asyncio.sleep(31)
    broker.faults["extend"] = [[EntryFault(Fault.RETRY, "busy")]]

    assert await keeper.extend_leases([(0, table)]) == {}


async def test_keeper_extends_again_at_once_what_failed_for_a_moment(keeper, hold, broker, table):
    """Else its lease would run out in the half that the keeper believed to have gained."""
    await hold()
    await asyncio.sleep(31)
    broker.faults["extend"] = [[EntryFault(Fault.RETRY, "busy")]]
    await keeper.extend_leases([(0, table)])

    await asyncio.sleep(5)
    await keeper.extend_leases([(0, table)])

    assert broker.count("extend") == 2


async def test_keeper_tells_an_outage_once_and_tries_again_each_time(keeper, hold, broker, table, events):
    await hold()
    await asyncio.sleep(31)
    broker.faults["extend"] = [BrokerUnavailable("down")] * 3

    for _ in range(5):
        await keeper.extend_leases([(0, table)])
        await asyncio.sleep(5)

    assert [type(event) for event in events] == [BrokerDown, BrokerUp]
    assert broker.count("extend") == 4


async def test_keeper_goes_on_with_other_batches_when_one_fails(make_keeper, ledger, hold, table):
    keeper, broker = await make_keeper(max_batch=2)
    for number in range(4):
        await hold(number)
    await asyncio.sleep(31)
    broker.faults["extend"] = [BrokerUnavailable("down")]

    await keeper.extend_leases([(0, table)])

    assert broker.count("extend") == 2


async def test_keeper_asks_nobody_when_a_lease_is_the_connection(make_keeper, ledger, hold, table):
    keeper, broker = await make_keeper(keeps_lease=False)
    await hold()
    await asyncio.sleep(31)

    assert await keeper.extend_leases([(0, table)]) == {}

    assert broker.count("extend") == 0


async def test_keeper_takes_no_claim_for_lost_that_was_never_made_when_the_ledger_was_away(
    keeper, broker, ledger, queues, clock, table
):
    await broker.send(queues.requests, [Outgoing(b"hello", {})])
    (delivery,) = await broker.receive(queues.requests, 1, wait_s=0, lease_s=LEASE_S)
    table.put(0, delivery.receipt, f"{UID}0", 0, "t0", clock.monotonic() + LEASE_S)
    await asyncio.sleep(31)

    assert await keeper.extend_claims([(0, table)]) == {}

    assert ledger.count("extend") == 0
    assert await keeper.extend_leases([(0, table)]) == {}
    assert broker.count("extend") == 1


async def test_keeper_extends_a_claim_at_once_when_it_is_granted_after_half_of_its_lease(
    keeper, hold, ledger, table, clock, queues, broker
):
    await broker.send(queues.requests, [Outgoing(b"hello", {})])
    (delivery,) = await broker.receive(queues.requests, 1, wait_s=0, lease_s=LEASE_S)
    slot = table.put(0, delivery.receipt, f"{UID}0", 0, "t0", clock.monotonic() + LEASE_S)
    await asyncio.sleep(40)
    await keeper.extend_claims([(0, table)])
    now = clock.now()
    await ledger.claim([Claim(f"{UID}0", 0, 0, "t0", now + LEASE_S)], now)
    table.set_claimed([slot])

    assert await keeper.extend_claims([(0, table)]) == {}

    assert table.kept_until(slot) == clock.monotonic() + LEASE_S


async def test_keeper_extends_leases_while_the_ledger_does_not_answer(keeper, hold, broker, ledger, table):
    await hold()
    await asyncio.sleep(31)
    answered = asyncio.Event()
    ledger.faults["extend"] = [answered.wait]
    asking = asyncio.create_task(keeper.extend_claims([(0, table)]))
    await asyncio.sleep(10)

    await keeper.extend_leases([(0, table)])

    assert not asking.done()
    assert broker.count("extend") == 1
    answered.set()
    assert await asking == {}


# -- sweep


async def test_keeper_releases_what_a_dead_worker_held_and_counts_the_guilty_only(
    keeper, hold, broker, ledger, clock, table, queues
):
    blamed, other = await hold(0), await hold(1, queue=1)
    table.set_standing(blamed, SlotState.RUNNING, clock.monotonic() + 60)
    table.set_standing(other, SlotState.HELD)

    assert await keeper.sweep(table, blamed={blamed}) == 2

    assert (await broker.depth(queues.requests)).ready == 1
    assert (await broker.depth(queues.rejects)).ready == 1
    answer = await claim(ledger, clock, 0)
    assert isinstance(answer, Granted)
    assert answer.progress.deaths == 1
    assert await claim(ledger, clock, 1) == Granted(None)


async def test_keeper_counts_no_death_when_the_worker_ended_in_order(keeper, hold, ledger, clock, table):
    table.set_standing(await hold(0), SlotState.RUNNING, clock.monotonic() + 60)

    await keeper.sweep(table, blamed=None)

    assert await claim(ledger, clock, 0) == Granted(None)


async def test_keeper_sweeps_nothing_when_nothing_was_held(keeper, broker, ledger, table):
    assert await keeper.sweep(table, blamed=set()) == 0

    assert broker.count("release") == 0
    assert ledger.count("end") == 0


async def test_keeper_ends_claims_before_it_releases_messages(keeper, hold, broker, ledger, table, queues):
    order = []

    async def ending():
        order.append((await broker.depth(queues.requests)).ready)

    slot = await hold(0)
    ledger.faults["end"] = [ending]

    await keeper.sweep(table, blamed={slot})

    assert order == [0]


async def test_keeper_waits_a_little_for_the_ledger_before_it_sweeps(keeper, hold, broker, ledger, table, queues):
    slot = await hold(0)
    ledger.faults["end"] = [LedgerUnavailable("busy")] * 2

    await keeper.sweep(table, blamed={slot})

    assert (await broker.depth(queues.requests)).ready == 1


async def test_keeper_releases_again_only_what_failed_for_a_moment_when_it_sweeps(keeper, hold, broker, table, queues):
    await hold(0)
    await hold(1)
    receipts = [holding.receipt for holding in table.holdings()]
    broker.faults["release"] = [[None, EntryFault(Fault.RETRY, "throttled")]]

    await keeper.sweep(table, blamed=())

    calls = [args for name, args in broker.calls if name == "release"]
    assert [[receipt for receipt, _ in entries] for _, entries in calls] == [receipts, receipts[1:]]
    assert (await broker.depth(queues.requests)).ready == 2


async def test_keeper_extends_the_others_when_a_worker_has_ended_while_the_ledger_is_asked(
    keeper, hold, broker, ledger, table, clock
):
    await hold()
    gone = LeaseTable.create(1)
    gone.set_claimed([gone.put(0, "no receipt", f"{UID}9", 0, "t9", clock.monotonic() + LEASE_S)])
    await asyncio.sleep(31)

    async def ends():
        gone.close()  # as the supervisor does after its sweep

    now = clock.now()
    await ledger.claim([Claim(f"{UID}9", 0, 0, "t9", now + LEASE_S)], now)
    ledger.faults["extend"] = [ends]

    await keeper.extend_claims([(0, gone), (1, table)])

    assert table.kept_until(0) == clock.monotonic() + LEASE_S


async def test_keeper_tells_an_outage_of_the_ledger_as_one(keeper, hold, ledger, table, events):
    await hold()
    await asyncio.sleep(31)
    ledger.faults["extend"] = [LedgerUnavailable("the disk is full")]

    await keeper.extend_claims([(0, table)])
    await keeper.extend_claims([(0, table)])

    assert [type(event) for event in events] == [LedgerDown, LedgerUp]


async def test_keeper_releases_nothing_whose_claim_it_could_not_end(keeper, hold, broker, ledger, table, queues):
    slot = await hold(0)
    ledger.cut["end"] = LedgerUnavailable("gone")

    assert await keeper.sweep(table, blamed={slot}) == 1

    assert broker.count("release") == 0


# -- overdue


async def test_overdue_is_what_runs_beyond_its_deadline(hold, table, clock):
    slot = await hold()
    table.set_standing(slot, SlotState.RUNNING, 2000.0)
    (holding,) = table.holdings()

    assert not is_overdue(holding, 2011.0, 12.0)
    assert is_overdue(holding, 2013.0, 12.0)


async def test_overdue_is_nothing_that_is_only_held(hold, table):
    table.set_standing(await hold(), SlotState.HELD, 2000.0)
    (holding,) = table.holdings()

    assert not is_overdue(holding, 99_999.0, 12.0)
