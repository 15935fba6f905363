"""Faults that the simulation found, each as a user would have seen it."""

import asyncio

from mulligan.core.event import LeaseLost, SuspectIsolated
from tests.integration.worker.service import LOST, Recording, task


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
