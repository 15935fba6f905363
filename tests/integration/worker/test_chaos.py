"""Random faults of broker and ledger, twins, slow calls, workers that come and go: nothing lost, nothing done twice."""

import asyncio
import random
from collections import Counter

import pytest

from mulligan.core.delivery import Outgoing
from mulligan.core.event import SuspectIsolated
from tests.integration.worker.service import DOWN, LEDGER_DOWN, QUEUES, REFUSED, RETRY, Network, task
from tests.support.virtual_loop import VirtualClock

MESSAGES = 40


class Bad(Network):
    """A network that fails at random while `is_bad`."""

    def __init__(self, real, dice, error, **features):
        super().__init__(real, **features)
        self.dice = dice
        self.error = error
        self.is_bad = True

    def __getattr__(self, name):
        call = super().__getattr__(name)
        if not asyncio.iscoroutinefunction(call):
            return call

        async def badly(*args, **more):
            chance = self.dice.random() if self.is_bad else 1.0
            if chance < 0.05:
                await asyncio.sleep(self.dice.random() * 8)
            elif chance < 0.12:
                raise self.error
            elif chance < 0.16 and name in ("ack", "send", "release", "save", "claim", "give_back"):
                await call(*args, **more)
                raise self.error  # the reply was lost
            elif chance < 0.25 and name in ("ack", "send", "release"):
                return await self._partly(call, [self.dice.choice((None, None, RETRY, REFUSED)) for _ in args[1]], args)
            return await call(*args, **more)

        return badly


@pytest.mark.parametrize("seed", range(12))
async def test_every_message_ends_once_whatever_fails(service, seed):
    service.clock = VirtualClock(asyncio.get_running_loop(), seed)
    dice = random.Random(seed)
    fails_once = {str(number) for number in range(MESSAGES) if dice.random() < 0.3}
    fails = {str(number) for number in range(MESSAGES) if dice.random() < 0.1}
    done, attempts = Counter(), Counter()
    unsaved = set()

    def running(name):
        async def run(message, context):
            await asyncio.sleep(dice.choice((0.0, 0.0, 0.01, 1.0, 20.0, 100.0)))
            attempts[name, message.text, context.attempt] += 1
            if name == "FailsOnce" and message.text in fails_once and context.attempt == 1:
                raise ValueError("once")
            if name == "Fails" and message.text in fails:
                raise ValueError("for good")
            done[name, message.text] += 1

        return run

    tasks = [task(name, running(name), timeout_s=500.0) for name in ("Good", "FailsOnce", "Fails")]
    tasks.append(task("Alert", running("Alert"), timeout_s=500.0, is_default=True))

    def start():
        worker = service.worker(*tasks, capacity=dice.randint(1, 8), slots=24, starts=False)
        for network, error in ((worker.network, DOWN), (worker.ledger, LEDGER_DOWN)):
            # between the parts and what was made for them
            network._real = Bad(network._real, dice, error)
        worker.start()
        return worker

    workers = [start() for _ in range(3)]
    for number in range(MESSAGES):
        one = Outgoing(str(number).encode(), {"mulligan-uid": f"order-{number}"})
        await service.broker.send(QUEUES.requests, [one, one] if dice.random() < 0.2 else [one])
    for _ in range(4):
        await asyncio.sleep(dice.random() * 200)
        ending = workers.pop(0)
        await ending.drain(grace_s=dice.choice((0.0, 0.5, 20.0)))
        # what the ledger did not take in time is the one thing that may be done again
        unsaved |= {flight.message.text for flight in ending.flights if flight.progress is not flight.saved}
        await ending.sweep()
        workers.append(start())
    for worker in workers:
        worker.network._real.is_bad = worker.ledger._real.is_bad = False
    await service.until_empty(within_s=20_000)

    letters = await service.dead()
    expected = {(name, str(number)): 1 for name in ("Good", "FailsOnce", "Fails") for number in range(MESSAGES)}
    for text in fails:
        del expected["Fails", text]
        expected["Alert", text] = 1
    assert done.keys() == expected.keys()
    assert {text for (_, text), count in done.items() if count > 1} <= unsaved
    assert {text for (_, text, _), count in attempts.items() if count > 1} <= unsaved
    assert len({letter.uid for letter in letters}) == len(fails)
    assert service.told(SuspectIsolated) == []
    assert all(worker.table.used == 0 for worker in workers)
