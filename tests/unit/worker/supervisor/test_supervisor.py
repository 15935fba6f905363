"""When `--drain` takes the queues as empty."""

import asyncio
import os
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from mulligan.brokers.memory import MemoryBroker
from mulligan.core.delivery import Depth
from mulligan.core.event import WorkerDied
from mulligan.ledger.memory import MemoryLedger
from mulligan.settings.model import Settings
from mulligan.telemetry.hub import Hub
from mulligan.worker.ipc.lease_table import LeaseTable
from mulligan.worker.supervisor.supervisor import Supervisor
from mulligan.worker.system_host import SystemHost


class Gauged(MemoryBroker):
    """Whose depths are read as `told` says, one for both queues of a reading, and 0 at the end."""

    told: list[int]
    is_exact: bool
    asked: list[str]

    async def depth(self, queue):
        self.asked.append(queue)
        ready = self.told[(len(self.asked) - 1) // 2] if len(self.asked) <= 2 * len(self.told) else 0
        return Depth(ready, 0, 0, None, is_exact=self.is_exact)


@pytest.fixture
async def supervisor_of(clock, events):
    watching = []

    def make(told: Iterable[int], *, is_exact: bool):
        broker = Gauged(clock)
        broker.told, broker.is_exact, broker.asked = list(told), is_exact, []
        supervisor = Supervisor(
            Settings(pool_size=1), broker, MemoryLedger(clock), Hub([events.append]), SystemHost(clock), Path.cwd()
        )
        watching.append(asyncio.create_task(supervisor._watch_empty()))
        return supervisor, broker

    yield make
    for task in watching:
        task.cancel()


@pytest.mark.parametrize(
    ("told", "is_exact", "readings"),
    [
        ([], True, 2),
        ([0, 1, 0, 2], True, 6),
        ([], False, 5),
        ([0, 0, 0, 0, 1], False, 10),  # one server of several had not heard of a message yet
    ],
)
async def test_drain_ends_once_the_queues_were_read_as_empty_so_often_in_a_row(supervisor_of, told, is_exact, readings):
    supervisor, broker = supervisor_of(told, is_exact=is_exact)

    await asyncio.wait_for(supervisor._stopping.wait(), 60)

    assert broker.asked == ["msgparser-requests-q", "msgparser-rejects-q"] * readings


async def test_drain_goes_on_while_a_worker_holds_a_message_that_no_queue_counts(supervisor_of):
    supervisor, _ = supervisor_of([], is_exact=True)
    table = supervisor._seats[0].table = LeaseTable.create(1)
    slot = table.put(0, "receipt", "uid", 0, "token", 0.0)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(supervisor._stopping.wait(), 60)
    table.remove(slot)
    await asyncio.wait_for(supervisor._stopping.wait(), 60)
    table.close()


@pytest.mark.parametrize(("where", "name"), [(subprocess, "Popen"), (os, "memfd_create"), (socket, "socketpair")])
async def test_worker_that_the_system_can_not_start_is_tried_again(supervisor_of, events, monkeypatch, where, name):
    def refused(*_, **more):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(where, name, refused, raising=False)
    supervisor, _ = supervisor_of([1] * 1000, is_exact=True)
    supervisor._can_go = True
    tending = asyncio.create_task(supervisor._tend(supervisor._seats[0]))

    await asyncio.sleep(10)
    supervisor.stop("enough")
    await tending

    deaths = [event for event in events if isinstance(event, WorkerDied)]
    assert [event.restart_in_s for event in deaths] == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0]
    assert {event.how for event in deaths} == {
        "a worker can't be started: Resource temporarily unavailable. Look at the system's limits and memory."
    }
