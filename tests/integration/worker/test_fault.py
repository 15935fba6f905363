"""What becomes of messages when the broker, the ledger or a lease fails."""

import asyncio
import contextlib

import pytest

from mulligan.core.delivery import Outgoing
from mulligan.core.error import BrokerRefused, StorageBroken
from mulligan.core.event import (
    BrokerDown,
    BrokerUp,
    DuplicateSkipped,
    LeaseLost,
    LedgerDown,
    LedgerUp,
    MessageDeadLettered,
    MessageDone,
    MessageRejected,
    MessageReleased,
    ReceiveRefused,
    SettlementFailed,
    SuspectIsolated,
    TaskSucceeded,
)
from mulligan.ledger.base import Claim
from mulligan.tasks.exceptions import GiveUp
from mulligan.worker.ipc.lease_table import Counter as Count
from tests.integration.worker.service import DOWN, LEASE_S, LEDGER_DOWN, LOST, QUEUES, REFUSED, RETRY, Recording, task

# -- the broker: receiving


async def test_outage_of_receiving_is_told_once_and_ends(service, clock):
    worker = service.worker(task("One", one := Recording()))
    worker.network.cut["receive"] = DOWN
    await service.send("hello")

    await asyncio.sleep(120)
    calls = worker.network.count("receive")
    del worker.network.cut["receive"]
    await service.until_empty()

    assert len(one.runs) == 1
    assert [event.where for event in service.told(BrokerDown)] == [
        "receiving from t-rejects-q",
        "receiving from t-requests-q",
    ] or len(service.told(BrokerDown)) == 2
    assert len(service.told(BrokerUp)) >= 1
    assert calls < 80  # both queues, two minutes: it does not spin


async def test_queue_that_is_refused_is_asked_again_once_a_minute_and_the_other_goes_on(service):
    worker = service.worker(task("One", one := Recording()), stages=(0,))
    worker.network.faults["receive"] = [BrokerRefused("no such queue")] * 3
    await service.send("hello")

    await asyncio.sleep(170)
    assert one.runs == []
    await service.until_empty()

    assert len(one.runs) == 1
    assert [event.queue for event in service.told(ReceiveRefused)] == [QUEUES.requests] * 3


# -- the broker: settling


async def test_acknowledgement_that_fails_is_tried_again_and_folds_nothing(service):
    worker = service.worker(task("One", one := Recording()))
    worker.network.faults["ack"] = [DOWN, [RETRY], DOWN]

    await service.send("hello")
    await service.until_empty()

    assert len(one.runs) == 1
    assert worker.network.count("ack") == 4
    assert service.told(DuplicateSkipped) == []
    assert worker.table.used == 0


async def test_acknowledgements_that_fail_in_part_are_repeated_for_those_only(service):
    worker = service.worker(task("One", Recording()), starts=False)
    worker.network.faults["ack"] = [[None, RETRY, None]]
    await service.send("a", "b", "c")

    worker.start()
    await service.until_empty()

    sizes = [len(args[1]) for name, args in worker.network.calls if name == "ack"]
    assert sizes == [3, 1]
    assert len(service.told(MessageDone)) == 3


async def test_message_is_folded_when_its_acknowledgement_is_refused_for_good(service):
    worker = service.worker(task("One", one := Recording()))
    worker.network.faults["ack"] = [[REFUSED]]

    await service.send("hello")
    await service.until_empty()

    assert len(one.runs) == 1
    assert [event.settlement for event in service.told(SettlementFailed)] == ["ack"]
    assert len(service.told(DuplicateSkipped)) == 1
    assert len(service.told(MessageDone)) == 1


async def test_message_is_released_not_removed_when_the_broker_refuses_its_copy(service):
    bad = Recording(ValueError("once"))
    worker = service.worker(task("Bad", bad))
    worker.network.faults["send"] = [[REFUSED]]

    await service.send("hello")
    await service.until(lambda: service.told(SettlementFailed))
    assert await service.totals() == (1, 0, 0)
    await service.until_empty()

    assert [attempt for _, attempt in bad.runs] == [1, 2]
    assert [event.settlement for event in service.told(SettlementFailed)] == ["copy to t-rejects-q"]
    assert worker.table.used == 0


async def test_copies_that_fail_in_part_release_those_only(service):
    bad = Recording(*[ValueError("once")] * 3)
    worker = service.worker(task("Bad", bad), starts=False)
    worker.network.faults["send"] = [[None, REFUSED, None]]
    await service.send("a", "b", "c")

    worker.start()
    await service.until(lambda: len(service.told(MessageRejected)) == 2)

    assert await service.totals() == (1, 2, 0)
    await service.until_empty()
    assert sorted(bad.runs) == [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("c", 1), ("c", 2)]


async def test_worker_keeps_all_its_slots_when_the_broker_refuses_a_dead_letter(service):
    """Each refused burial cost a slot: after `capacity` of them the worker received nothing any more."""
    worker = service.worker(task("Bad", Recording(*[GiveUp("no")] * 9)), capacity=3)
    worker.network.cut["send"] = BrokerRefused("the queue is full")

    await service.send("a", "b", "c", "d", "e")
    await service.until(lambda: sum(len(entries) for name, (_, entries) in worker.network.calls if name == "send") >= 5)
    await asyncio.sleep(1)
    assert worker.in_flight == 0
    del worker.network.cut["send"]
    await service.until_empty()

    assert len(service.told(MessageDeadLettered)) == 5
    assert await service.totals() == (0, 0, 5)


async def test_default_tasks_wait_for_the_dead_letter_when_the_broker_is_down(service):
    alert = Recording()
    worker = service.worker(task("Bad", Recording(GiveUp("no"))), task("Alert", alert, is_default=True))
    worker.network.cut["send"] = DOWN

    await service.send("fo1")
    await asyncio.sleep(30)
    assert alert.runs == []
    del worker.network.cut["send"]
    await service.until_empty()

    assert len(alert.runs) == 1
    assert await service.totals() == (0, 0, 1)


async def test_worker_takes_no_more_than_the_table_holds_when_acknowledgements_fail(service):
    worker = service.worker(task("One", one := Recording()), capacity=2, slots=5, stages=(0,))
    worker.network.cut["ack"] = DOWN
    await service.send(*(str(number) for number in range(20)))

    await asyncio.sleep(30)
    assert len(one.runs) == 5
    assert worker.table.used == 5
    del worker.network.cut["ack"]
    await service.until_empty()

    assert len(one.runs) == 20


async def test_worker_that_waits_for_acknowledgements_does_not_wait_for_a_whole_batch_of_room(service):
    """One slow neighbour, and slots that come free one by one: the others must not starve."""
    runs = []

    async def run(message, context):
        runs.append(message.text)
        if message.text == "slow":
            await asyncio.sleep(500)

    worker = service.worker(task("One", run, timeout_s=1000.0), capacity=3, slots=5, stages=(0,))
    worker.network.cut["ack"] = DOWN
    await service.send("slow", *(str(number) for number in range(12)))
    await asyncio.sleep(30)
    assert len(runs) <= 5

    del worker.network.cut["ack"]
    await service.until(lambda: len(runs) == 13, within_s=60)


# -- the ledger


async def test_nothing_is_settled_while_the_ledger_is_down(service):
    worker = service.worker(task("One", one := Recording(1.0)))
    await service.send("hello")
    await asyncio.sleep(0.5)
    worker.ledger.cut["save"] = LEDGER_DOWN

    await asyncio.sleep(20)
    assert worker.network.count("ack") == 0
    assert await service.totals() == (1, 0, 0)
    assert len(service.told(LedgerDown)) == 1
    del worker.ledger.cut["save"]
    await service.until_empty()

    assert len(one.runs) == 1
    assert len(service.told(LedgerUp)) == 1


async def test_nothing_is_started_while_the_ledger_can_not_be_asked(service):
    worker = service.worker(task("One", one := Recording()))
    worker.ledger.cut["claim"] = LEDGER_DOWN
    await service.send("hello")

    await asyncio.sleep(20)
    assert one.runs == []
    del worker.ledger.cut["claim"]
    await service.until_empty()

    assert len(one.runs) == 1


async def test_message_is_no_suspect_and_runs_once_when_the_ledger_was_down_for_longer_than_a_lease(service):
    """A claim that waited was granted with an end that had passed, so the next receiver took it for a dead worker's."""
    one = Recording(100.0)
    first = service.worker(task("One", one, timeout_s=600.0), stages=(0,), keeps=False)
    first.ledger.cut["claim"] = LEDGER_DOWN
    await service.send("hello")
    await asyncio.sleep(90)

    del first.ledger.cut["claim"]
    await service.until(lambda: one.runs, within_s=10)
    second = service.worker(task("One", other := Recording()), stages=(0,), keeps=False)
    await asyncio.sleep(30)

    assert other.runs == []
    assert service.told(SuspectIsolated) == []
    assert second.in_flight == 0


async def test_message_that_waits_for_its_claim_runs_once_when_the_ledger_was_away_for_more_than_half_a_lease(service):
    """The keeper asked to extend claims that were never made, and took them for somebody else's."""
    worker = service.worker(task("One", one := Recording(5.0)), stages=(0,))
    worker.ledger.cut["claim"] = LEDGER_DOWN
    await service.send("hello")
    await asyncio.sleep(45)

    del worker.ledger.cut["claim"]
    await service.until_empty(within_s=20)

    assert len(one.runs) == 1
    assert service.told(LeaseLost) == []
    assert len(service.told(MessageDone)) == 1


async def test_task_that_has_just_begun_runs_on_when_its_claim_was_granted_after_its_extension_was_asked_for(
    service, clock
):
    worker = service.worker(task("One", one := Recording(5.0)), stages=(0,), keeps=False)
    worker.ledger.cut["claim"] = LEDGER_DOWN
    await service.send("hello")
    await asyncio.sleep(31)
    asked_at = clock.monotonic()
    del worker.ledger.cut["claim"]
    await service.until(lambda: one.runs, within_s=10)
    (flight,) = worker.flights

    worker.pipelines[0].dispatcher.lose_claim(flight.slot, worker.table.sequence(flight.slot), asked_at)

    await service.until_empty(within_s=20)
    assert len(one.runs) == 1
    assert service.told(LeaseLost) == []


async def test_message_is_settled_when_its_claim_was_asked_for_while_the_answer_to_its_last_record_was_on_its_way(
    service, clock
):
    """Its record had ended the claim: there was nothing to extend, and it came back when its lease was over."""
    worker = service.worker(task("One", one := Recording()), stages=(0,), keeps=False)
    answered = asyncio.Event()
    real = worker.ledger._real

    class SlowToAnswer:
        def __getattr__(self, name):
            return getattr(real, name)

        async def save(self, records):
            answers = await real.save(records)
            await answered.wait()
            return answers

    worker.ledger._real = SlowToAnswer()
    await service.send("hello")
    await service.until(lambda: worker.ledger.count("save"), within_s=10)
    (flight,) = worker.flights

    worker.pipelines[0].dispatcher.lose_claim(flight.slot, worker.table.sequence(flight.slot), clock.monotonic())
    answered.set()

    await service.until_empty(within_s=5)
    assert len(one.runs) == 1
    assert service.told(LeaseLost) == []
    assert len(service.told(MessageDone)) == 1


async def test_messages_that_have_not_begun_go_to_others_when_one_host_alone_has_lost_the_ledger(service, clock):
    """They were kept until the host's own way to the ledger was mended, for as long as that took."""
    cut_off = service.worker(task("One", here := Recording()), stages=(0,), capacity=20)
    cut_off.ledger.cut |= dict.fromkeys(("claim", "look", "give_back"), LEDGER_DOWN)
    await service.send(*(f"message {number}" for number in range(5)))
    await asyncio.sleep(30)
    service.worker(task("One", there := Recording()), stages=(0,))

    await service.until(lambda: len(there.runs) == 5, within_s=40)

    await service.until_empty(within_s=5)
    asked = cut_off.network.count("receive")
    await asyncio.sleep(600)
    assert cut_off.network.count("receive") == asked  # it takes nothing more that it can't begin
    cut_off.ledger.cut.clear()
    await service.send("last")
    await service.until_empty(within_s=10)
    assert len(here.runs) + len(there.runs) == 6
    assert service.told(SuspectIsolated) == []


async def test_worker_that_waits_for_its_ledger_with_nothing_in_hand_ends_at_once_when_it_is_told_to(service, clock):
    worker = service.worker(task("One", Recording()), stages=(0,))
    worker.ledger.cut |= dict.fromkeys(("claim", "look", "give_back"), LEDGER_DOWN)
    await service.send("hello")
    await asyncio.sleep(100)
    began_at = clock.monotonic()

    await worker.drain(20.0)

    assert clock.monotonic() - began_at < 2.0
    assert (await service.broker.depth(QUEUES.requests)).ready == 1


async def test_message_stays_while_the_ledger_is_away_when_its_queue_would_soon_move_it_elsewhere(service):
    """Each host that took it and gave it back would be one receive more."""
    worker = service.worker(task("One", one := Recording()), stages=(0,), receives=2)
    worker.ledger.cut |= dict.fromkeys(("claim", "look", "give_back"), LEDGER_DOWN)
    await service.send("hello")

    await asyncio.sleep(600)
    assert worker.network.count("release") == 0
    worker.ledger.cut.clear()
    await service.until_empty(within_s=10)

    assert len(one.runs) == 1


async def test_leases_are_extended_while_the_ledger_is_down(service):
    """Otherwise every message in flight comes back, and to everybody at once when the ledger does."""
    worker = service.worker(task("One", one := Recording(200.0), timeout_s=600.0), stages=(0,))
    await service.send("hello")
    await asyncio.sleep(1)
    worker.keeper._ledger = type(worker.ledger)(service.ledger)
    worker.keeper._ledger.cut["extend"] = LEDGER_DOWN

    await asyncio.sleep(150)

    depth = await service.broker.depth(QUEUES.requests)
    assert (depth.ready, depth.in_flight) == (0, 1)
    worker.keeper._ledger.cut.clear()
    await service.until_empty()
    assert len(one.runs) == 1
    assert len(service.told(MessageDone)) == 1


@pytest.mark.parametrize("method", ["claim", "save"])
async def test_worker_says_that_it_can_not_go_on_when_the_ledger_is_broken(service, method):
    worker = service.worker(task("One", Recording()))
    worker.ledger.cut[method] = StorageBroken("ledger.db is corrupt")

    await service.send("hello")
    await service.until(lambda: worker.failed)

    assert [str(error) for error in worker.failed] == ["ledger.db is corrupt"]
    assert worker.network.count("ack") == 0
    worker.failed.clear()
    worker.ledger.cut.clear()


async def test_worker_counts_what_it_did(service):
    worker = service.worker(
        task("One", Recording(ValueError("once"), GiveUp("no"))), task("Alert", Recording(), is_default=True)
    )

    await service.send("a")
    await service.until(lambda: service.told(MessageRejected))
    await service.until_empty()
    await service.send("b")
    await service.until_empty()

    names = (Count.RECEIVED, Count.DONE, Count.REJECTED, Count.BURIED, Count.SUCCEEDED, Count.FAILED, Count.FOLDED)
    assert [worker.table.count(name) for name in names] == [3, 1, 1, 1, 2, 2, 0]


# -- leases and claims


async def test_task_longer_than_its_lease_runs_once(service):
    one = Recording(200.0)
    service.worker(task("One", one, timeout_s=600.0))
    service.worker(task("One", one, timeout_s=600.0))

    await service.send("hello")
    await service.until_empty(within_s=1000)

    assert len(one.runs) == 1


async def test_message_whose_lease_is_lost_is_cancelled_and_not_settled(service):
    ends = []

    async def run(message, context):
        try:
            await asyncio.sleep(50)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    worker = service.worker(task("One", run), stages=(0,))
    worker.keeper._broker.faults["extend"] = [[LOST]]
    await service.send("hello")

    await service.until(lambda: service.told(LeaseLost))
    await asyncio.sleep(1)

    assert ends == ["cancelled"]
    assert [name for name, _ in worker.network.calls if name in ("ack", "release", "send")] == []
    assert worker.in_flight == 0
    assert worker.table.used == 0


async def test_what_a_task_brings_after_the_lease_of_its_message_was_lost_is_dropped_and_the_slot_is_free(service):
    async def run(message, context):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(50)

    worker = service.worker(task("One", run), stages=(0,))
    worker.keeper._broker.faults["extend"] = [[LOST]]
    await service.send("hello")

    await service.until(lambda: service.told(LeaseLost))
    await asyncio.sleep(1)

    assert service.told(TaskSucceeded) == []
    assert [name for name, _ in worker.ledger.calls if name == "save"] == []
    assert worker.table.used == 0


async def test_message_whose_claim_was_taken_is_not_settled_and_its_other_tasks_are_cancelled(service):
    """Another worker has it: what still runs here would run beside it."""
    ends = []

    async def slow(message, context):
        try:
            await asyncio.sleep(50)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    worker = service.worker(task("Quick", Recording(5.0)), task("Slow", slow), stages=(0,), keeps=False)
    await service.send("hello")
    await asyncio.sleep(1)
    worker.ledger.faults["save"] = [[False]]

    await service.until(lambda: service.told(LeaseLost))
    await asyncio.sleep(1)

    assert ends == ["cancelled"]
    assert [name for name, _ in worker.network.calls if name in ("ack", "release", "send")] == []
    assert worker.in_flight == 0
    assert worker.table.used == 0


async def test_claim_is_given_back_when_the_lease_was_lost_while_the_ledger_was_asked(service):
    """Otherwise the message is held for a whole lease, and then suspected of a death."""
    worker = service.worker(task("One", one := Recording()), stages=(0,), keeps=False)
    pipeline = worker.pipelines[0]

    async def lose_meanwhile():
        for holding in worker.table.holdings():
            pipeline.dispatcher.lose(holding.slot, holding.sequence)

    worker.ledger.faults["claim"] = [lose_meanwhile]
    await service.send("hello")
    await service.until(lambda: service.told(LeaseLost))
    assert worker.table.used == 0
    await service.until(lambda: all(row.claimed is None for row in service.ledger._rows.values()), within_s=5)

    await service.until_empty()

    assert len(one.runs) == 1
    assert service.told(SuspectIsolated) == []
    assert service.told(DuplicateSkipped) == []


async def test_message_of_a_host_that_vanished_is_a_suspect_when_its_claim_ran_out_for_the_second_time(service):
    """Here they are stopped for longer than their leases, which looks the same."""
    first, second = Recording(1000.0), Recording(1000.0)
    service.worker(task("One", first, timeout_s=2000.0), stages=(0,), keeps=False, capacity=1)
    await service.send("hello")
    await service.until(lambda: first.runs)
    service.worker(task("One", second, timeout_s=2000.0), stages=(0,), keeps=False, capacity=1)
    await service.until(lambda: second.runs, within_s=100)
    before = service.told(SuspectIsolated)

    service.worker(task("One", Recording()), stages=(0,))
    await service.until(lambda: service.told(SuspectIsolated), within_s=100)

    assert before == []
    assert service.told(SuspectIsolated)[0].deaths == 1


async def test_messages_are_all_done_once_when_everything_fails_now_and_then(service, clock):
    bad = {str(number) for number in range(0, 60, 7)}

    async def run(message, context):
        runs.append((message.text, context.attempt))
        await asyncio.sleep(clock.random())
        if message.text in bad and context.attempt == 1:
            raise ValueError("once")

    runs = []
    workers = [service.worker(task("One", run), capacity=5) for _ in range(3)]
    for worker in workers:
        for name, count in (("ack", 40), ("send", 10), ("release", 10), ("receive", 60)):
            worker.network.faults[name] = [DOWN if clock.random() < 0.3 else None for _ in range(count)]
        for name in ("claim", "save"):
            worker.ledger.faults[name] = [LEDGER_DOWN if clock.random() < 0.3 else None for _ in range(40)]

    await service.send(*(str(number) for number in range(60)))
    await service.until_empty(within_s=3000)

    first = sorted(int(text) for text, attempt in runs if attempt == 1)
    second = sorted(int(text) for text, attempt in runs if attempt == 2)
    assert first == list(range(60))
    assert second == sorted(map(int, bad))
    assert len(service.told(MessageDone)) == 60


@pytest.mark.parametrize("copies", [2, 5])
async def test_twins_are_worked_on_one_at_a_time_when_they_fail_first(service, copies):
    one = Recording(ValueError("once"))
    for _ in range(2):
        service.worker(task("One", one))
    twin = Outgoing(b"hello", {"mulligan-uid": "order-1"})

    await service.broker.send(QUEUES.requests, [twin] * copies)
    await service.until_empty()

    assert [attempt for _, attempt in one.runs] == [1, 2]
    assert len(service.told(MessageDone)) == 1


async def test_messages_without_a_claim_go_to_others_while_one_with_a_claim_waits_for_the_ledger(service):
    """They stood behind it, with their leases extended, for as long as the ledger was away."""

    async def long(message, context):
        await asyncio.sleep(10_000)

    cut_off = service.worker(task("One", long, timeout_s=20_000.0), stages=(0,))
    cut_off.network.group = "group"
    await service.send("head", "behind it")
    await service.until(lambda: len(cut_off.flights) == 2 and any(one.running for one in cut_off.flights))
    cut_off.ledger.cut |= dict.fromkeys(("claim", "look", "save", "give_back"), LEDGER_DOWN)
    (head,) = [flight for flight in cut_off.flights if flight.running]
    cut_off.pipelines[0].dispatcher.lose(head.slot, cut_off.table.sequence(head.slot))
    await service.send("not claimed")
    await service.until(lambda: cut_off.network.count("receive") > 2 or len(cut_off.flights) > 2)

    service.worker(task("One", there := Recording()), stages=(0,))

    await service.until(lambda: ("not claimed", 1) in there.runs, within_s=200)


async def test_nothing_more_is_asked_for_while_the_ledger_only_reads(service):
    """Its answer to a question was taken for the end of the outage: every lease each message was one receive more."""
    worker = service.worker(task("One", one := Recording()), stages=(0,))
    writes = ("claim", "save", "extend", "give_back", "end")
    worker.ledger.cut |= dict.fromkeys(writes, LEDGER_DOWN)
    await service.send("hello")

    await asyncio.sleep(20 * LEASE_S)
    told = len(service.told(LedgerUp))
    worker.ledger.cut.clear()
    await service.until_empty(within_s=10)

    assert worker.network.count("receive") <= 4
    assert told == 0
    assert len(one.runs) == 1


async def test_claim_that_was_made_without_an_answer_is_given_back_with_its_message_when_the_ledger_is_back(service):
    """The message waited for the end of that claim, and its next host was told that one had died with it."""
    worker = service.worker(task("One", one := Recording()), stages=(0,))
    worker.ledger.cut |= dict.fromkeys(("claim", "look", "give_back"), LEDGER_DOWN)
    await service.send("hello")
    await service.until(lambda: worker.flights)
    (flight,) = worker.flights
    now = service.clock.now()
    made = Claim(flight.message.uid, flight.generation, flight.hop, flight.token, now + 10 * LEASE_S)
    await service.ledger.claim([made], now)
    await service.until(lambda: service.told(MessageReleased), within_s=2 * LEASE_S)

    worker.ledger.cut.clear()
    await service.until_empty(within_s=10)

    assert len(one.runs) == 1


async def test_messages_go_to_others_when_the_ledger_answers_one_host_too_late(service):
    """They were claimed there again and again for as long as the way to it was slow, and no line told it."""
    slow = service.worker(task("One", Recording()), stages=(0,))
    slow.ledger.faults["claim"] = [lambda: asyncio.sleep(LEASE_S / 3)] * 1000
    await service.send("hello")
    await service.until(lambda: slow.ledger.count("claim"), within_s=10)

    service.worker(task("One", there := Recording()), stages=(0,))

    await service.until(lambda: len(there.runs) == 1, within_s=3 * LEASE_S)
    (told,) = service.told(LedgerDown)
    assert "it answers too late: a claim took 20.0 s" in told.error
    assert service.told(SuspectIsolated) == []
