"""Somebody who moves messages between the queues with a tool that is not ours: what lies there, as it is.

Dead letters to rejects and requests, rejects to requests, requests to rejects; some stay where they were, too. What is
moved to requests is what the ledger vouches for: of the rest nothing is promised but that all its tasks run.
"""

import asyncio
import random
from typing import Any

from mulligan.core import fingerprint, retry_state
from mulligan.core.delivery import Outgoing
from mulligan.core.message import QueueName
from mulligan.core.move import may_be_of, was_dead
from mulligan.core.progress import Progress
from mulligan.core.route import reset_for_replay
from tests.simulation.broker import Stored

__all__ = ["Mover"]


class Mover:
    """is_there: in a fifth of the histories. The dice are its own, so that the others are as they would be."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self._dice = random.Random(f"mover/{world.seed}")
        self.is_there = world.seed % 5 == 2
        self.is_over = False

    async def run(self) -> None:
        """Move messages in the course of a history, until it `is_over`."""
        dice, queues = self._dice, self._world.queues
        pairs = (
            (queues.dead, queues.rejects), (queues.dead, queues.requests), (queues.rejects, queues.requests),
            (queues.requests, queues.rejects),
        )  # fmt: skip
        while not self.is_over:
            await asyncio.sleep(dice.choice((0.1, 1.0, 5.0, 30.0)) * dice.random())
            if self.is_over:
                return
            source, target = dice.choice(pairs)
            free = [one for one in self._world.stored.queues[source].stored.values() if self._may_go(one, target)]
            for stored in dice.sample(free, min(len(free), dice.choice((1, 1, 5)))):
                self._move(stored, source, target)

    def _may_go(self, stored: Stored, target: QueueName) -> bool:
        """Whether a tool can get it, and the promise holds for it there."""
        world, delivery = self._world, stored.delivery
        if stored.visible_at > world.loop.time() or stored.is_leased or stored.uid in world.newer.uids:
            return False
        if target == world.queues.rejects and delivery.queue == world.queues.requests:
            # by the broker's id it would be another message there; and a group's order ends where rejects begin
            return fingerprint.ID_ATTRIBUTE in delivery.attributes and delivery.group is None
        if retry_state.ATTRIBUTE not in delivery.attributes:
            return False
        told = retry_state.decode(delivery.attributes[retry_state.ATTRIBUTE])
        if target == world.queues.rejects:
            return True
        row = world.watch.known((told.uid, told.generation))
        return row is not None and row.progress is not None and may_be_of(told, row.progress, row.hop)

    def _move(self, stored: Stored, source: QueueName, target: QueueName) -> None:
        world, delivery = self._world, stored.delivery
        stays = self._dice.random() < 0.2
        world.loop.told("MOVER", f"moves {stored.uid} from {source} to {target}{', and leaves it, too' * stays}")
        outgoing = Outgoing(delivery.body, delivery.attributes, group=delivery.group)
        if source == world.queues.requests:
            world.watch.strayed.add(stored.uid)
            world.stored.put(target, outgoing)
        else:
            self._place(stored, target, outgoing)
        if not stays:
            del world.stored.queues[source].stored[delivery.id]

    def _place(self, stored: Stored, target: QueueName, outgoing: Outgoing) -> None:
        """Have one of mulligan's copies on a queue; a dead letter is its own replay there."""
        told = retry_state.decode(outgoing.attributes[retry_state.ATTRIBUTE])  # type: ignore[index] # `_may_go` has looked
        generation, hop, progress = told.generation, told.hop, told.progress
        if was_dead(told):
            generation, hop, progress = generation + 1, 0, reset_for_replay(Progress(progress.marks), ())
            self._world.watch.replayed((stored.uid, generation), progress)
        self._world.stored.place(target, outgoing, stored.uid, generation, hop, progress)
