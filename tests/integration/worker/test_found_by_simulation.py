"""Faults that the simulation found, each as a user would have seen it."""

import asyncio

from mulligan.core.event import LeaseLost, SuspectIsolated
from mulligan.core.progress import DONE_AT_FIRST_TRY, Progress
from mulligan.ledger.base import Claim, Record
from tests.integration.worker.service import LEASE_S, LEDGER_DOWN, LOST, Recording, task


async def test_message_is_not_held_up_and_suspected_of_a_death_when_its_lease_was_lost_but_not_its_claim(service):
    one = Recording(50.0)
    worker = service.worker(task("One", one), stages=(0,))
    worker.keeper._broker.faults["extend"] = [[LOST]]
    await service.send("hello")
    await service.until(lambda: service.told(LeaseLost))
    lost_at = asyncio.get_running_loop().time()

    await service.until(lambda: len(one.runs) == 2)
    await service.until_empty()

    # its lease was extended to a minute from its receipt, half a minute ago
    assert asyncio.get_running_loop().time() - lost_at < 40
    assert service.told(SuspectIsolated) == []


async def test_task_is_not_run_twice_when_the_answer_to_a_claim_comes_later_than_the_claim_lasts(service):
    """Asked again, the ledger knows that another worker has finished the message by now."""
    worker = service.worker(task("One", one := Recording()), keeps=False)
    ledger, real = service.ledger, service.ledger.claim

    async def late(claims, now):
        ledger.claim = real
        answers = await real(claims, now)
        await asyncio.sleep(2 * LEASE_S)
        (claim,) = claims
        await real([Claim(claim.uid, 0, 0, "other", now + 3 * LEASE_S)], now + 2 * LEASE_S)
        await ledger.save([Record(claim.uid, 0, "other", Progress({"One": DONE_AT_FIRST_TRY}), is_final=True)])
        return answers

    ledger.claim = late
    await service.send("hello")
    await service.until_empty()

    assert one.runs == []
    assert worker.table.used == 0


async def test_task_that_waited_behind_one_that_does_not_wait_is_not_started_without_a_claim(service):
    """The machine stood still under the first task; the second was to start at the same moment."""

    async def run(message, context):
        begun.append(message.text)
        if len(begun) == 1:
            asyncio.get_running_loop().jump(2 * LEASE_S)

    begun: list[str] = []
    service.worker(task("One", run, timeout_s=1000.0), keeps=False)
    await service.send("first", "second")

    await service.until(lambda: service.told(LeaseLost))

    assert begun == ["first"]
    assert service.told(LeaseLost)[0].reason == "its claim had run out before its tasks could start"


async def test_default_task_starts_long_after_the_receipt_when_the_supervisor_keeps_the_claim(service):
    alert = Recording()
    slow = Recording(ValueError("no"))

    async def run(message, context):
        await asyncio.sleep(2.5 * LEASE_S)
        await slow(message, context)

    service.worker(task("Slow", run, attempts=1, timeout_s=1000.0), task("Alert", alert, is_default=True))
    await service.send("hello")
    await service.until_empty()

    assert len(slow.runs) == len(alert.runs) == 1
    assert service.told(LeaseLost) == []


async def test_dropped_delivery_comes_back_at_once_where_it_is_held_as_long_as_its_connection_lives(service):
    one = Recording(50.0)
    worker = service.worker(
        task("One", one), stages=(0,), lease_s=10_000.0, keeps=False, features={"keeps_lease": False}
    )
    await service.send("hello")
    await service.until(lambda: one.runs)
    (flight,) = worker.flights
    dropped_at = asyncio.get_running_loop().time()

    worker.pipelines[0].dispatcher.lose(flight.slot, worker.table.sequence(flight.slot))
    await service.until_empty()

    assert len(one.runs) == 2
    assert asyncio.get_running_loop().time() - dropped_at < 60


async def test_message_of_a_killed_worker_runs_soon_when_it_came_back_before_its_claim_was_ended(service):
    """RabbitMQ gave it back at once, and it waited for as long as the dead worker's claim would have lasted."""
    ledger, real = service.ledger, service.ledger.claim

    async def taken(claims, now):
        ledger.claim = real
        (claim,) = claims
        await real([Claim(claim.uid, 0, 0, "the dead worker's", now + LEASE_S)], now)
        asyncio.get_running_loop().call_later(0.5, end, claim.uid)
        return await real(claims, now)

    def end(uid):
        ending.append(asyncio.ensure_future(ledger.give_back([(uid, 0, "the dead worker's")])))

    ending = []
    ledger.claim = taken
    service.worker(task("One", one := Recording()), stages=(0,), features={"keeps_lease": False})
    await service.send("hello")
    began_at = asyncio.get_running_loop().time()

    await service.until_empty()

    assert len(one.runs) == 1
    assert asyncio.get_running_loop().time() - began_at < 5


async def test_claim_of_a_message_whose_lease_is_lost_is_ended_when_the_worker_dies_before_the_ledger_has_it(service):
    worker = service.worker(task("One", Recording(50.0)), stages=(0,))
    worker.keeper._broker.faults["extend"] = [[LOST]]
    worker.ledger.cut["give_back"] = LEDGER_DOWN
    await service.send("hello")
    await service.until(lambda: service.told(LeaseLost))
    await asyncio.sleep(1)

    assert worker.in_flight == 0
    assert await worker.sweep() == 1
