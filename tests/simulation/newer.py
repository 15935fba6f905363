"""A newer version of the program beside this one: what it leaves on rejects and dead, and what it takes again.

Its copies have a state of version 2, of which this version knows no more than that. It takes one now and then, when it
is free to be received, and finishes it. What this version does with them is checked in `watch` and at the end, here.
"""

import asyncio
import random
from typing import Any

from mulligan.core import retry_state
from mulligan.core.delivery import Delivery, Outgoing
from mulligan.core.progress import Progress
from tests.simulation.broker import Stored

__all__ = ["FIRST", "Newer"]

FIRST = 1000
"""Number of its first message; those of producers are lower."""


class Newer:
    """is_there: in a seventh of the histories. The dice are its own, so that the others are as they would be."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self._dice = random.Random(f"newer/{world.seed}")
        self.is_there = world.seed % 7 == 4
        self.takes = self._dice.random() < 0.5
        self._numbers = iter(range(FIRST, 2 * FIRST))
        self.left: dict[str, Stored] = {}
        """By the broker's id."""
        self.uids: set[str] = set()

    async def run(self) -> None:
        """Write some copies, in the course of a history; take some of them."""
        dice, world = self._dice, self._world
        for _ in range(dice.choice((1, 2, 10, 40))):
            self._write(world.queues.dead if dice.random() < 0.1 else world.queues.rejects)
            if dice.random() < 0.3:
                await asyncio.sleep(dice.random() * 60)
        while self.takes:
            await asyncio.sleep(dice.random() * 200)
            self._take()

    def _write(self, queue: Any) -> None:
        world, number = self._world, next(self._numbers)
        uid = f"018bcfe56800-newer{number}"
        state = f'{{"v":2,"uid":"{uid}","gen":0,"hop":1,"jobs":{{"Task0":"done"}}}}'
        outgoing = Outgoing(world.body(number), {retry_state.ATTRIBUTE: state})
        world.loop.told("NEWER", f"leaves message {number} on {queue}")
        self.uids.add(uid)
        stored = world.stored.place(queue, outgoing, uid, 0, 0, Progress({}))
        self.left[stored.delivery.id] = stored

    def _take(self) -> None:
        world, now = self._world, self._world.loop.time()
        free = [(name, one) for name, one in self.left.items() if one.visible_at <= now and not one.is_leased]
        free = [(name, one) for name, one in free if one.delivery.queue == world.queues.rejects]
        if free:
            name, stored = self._dice.choice(free)
            world.loop.told("NEWER", f"finishes {stored.uid}")
            del world.stored.queues[stored.delivery.queue].stored[name], self.left[name]

    def count(self, queue: Any) -> int:
        """How many of its copies are on a queue."""
        return sum(one.delivery.queue == queue for one in self.left.values())

    def is_one(self, delivery: Delivery) -> bool:
        """Whether a copy is one of those that were left."""
        return delivery.id in self.left

    def settled(self) -> None:
        """At the end of a history: each is where it was put, as it was put."""
        world = self._world
        for name, stored in self.left.items():
            found = world.stored.queues[stored.delivery.queue].stored.get(name)
            if found is None or found.delivery != stored.delivery:
                world.watch.wrong(f"{stored.uid}, which a newer version left on {stored.delivery.queue}, is gone")
