"""The simulated machine: pipes, child processes, threads, stores. All of the worker above it is the real code."""

import asyncio
import random
from collections import deque
from itertools import count
from pathlib import Path
from typing import Any

from mulligan.telemetry.hub import Hub
from mulligan.worker.host import Started
from mulligan.worker.ipc.channel import Job, JobEnd, Setup
from mulligan.worker.ipc.lease_table import LeaseTable
from mulligan.worker.isolation import isolated_process
from mulligan.worker.pipeline import invocation
from mulligan.worker.process.worker import Worker
from mulligan.worker.supervisor.allocation import allocate
from tests.simulation.broker import SimBroker
from tests.simulation.ledger import SimLedger
from tests.simulation.loop import PROCESS, Process
from tests.simulation.plan import raise_for

__all__ = ["SimHost"]

HELD_OPEN = 0.2
"""Of the processes: those whose channel stays open at their death."""


class Pipe:
    """One end of a channel: what was sent arrives, also when the sender is dead by then."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._inbox: deque[Any] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._is_over = False
        self.is_closed = False
        self.peer: Pipe

    @classmethod
    def pair(cls, loop: Any) -> "tuple[Pipe, Pipe]":
        one, other = cls(loop), cls(loop)
        one.peer, other.peer = other, one
        return one, other

    def send(self, message: Any) -> None:
        if not (self.is_closed or self.peer.is_closed):
            self.peer._inbox.append(message)
            self.peer._wake()

    async def flush(self) -> None:
        await asyncio.sleep(0)

    async def receive(self) -> Any:
        while not self._inbox:
            if self.is_closed or self.peer.is_closed or self._is_over:
                return None
            self._waiter = self._loop.create_future()
            await self._waiter
        return self._inbox.popleft()

    def end_input(self) -> None:
        self._is_over = True
        self._wake()

    def close(self) -> None:
        self.is_closed = True
        self._wake()
        self.peer._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class SimHost:
    """One machine of the simulation; see `mulligan.worker.host.Host`."""

    def __init__(self, world: Any, number: int) -> None:
        self.world = world
        self.number = number
        self.clock = world.clocks[number]

    def cores(self) -> int:
        """As many as give each worker the processes for suspects that this history is to have."""
        chosen = self.world.settings
        workers = allocate(chosen.no_of_requests_consumers, chosen.no_of_rejects_consumers, chosen.pool_size)
        return int(self.world.isolated * len(workers))

    def is_changed(self) -> bool:
        return False

    def open_broker(self, url: str, emit: Any, folder: Path) -> SimBroker:
        return SimBroker(self.world)

    def open_ledger(self, url: str, folder: Path) -> SimLedger:
        return SimLedger(self.world)

    def open_bodies(self, folder: Path) -> "_Bodies":
        return _Bodies(self.world)

    def replace_file(self, file: Path, text: str) -> None:
        """Nobody reads it here."""

    def tokens(self) -> Any:
        numbers, name = count(1), PROCESS.get()
        return lambda: f"{name}-{next(numbers)}"

    def slots_for(self, capacity: int) -> int:
        return 2 * capacity + 6  # the supervisor reads every slot at every look

    def new_table(self, slots: int) -> LeaseTable:
        table: LeaseTable = self.world.table(LeaseTable.create(slots))
        return table

    def threads(self, loop: Any, work: Any, ended: Any, short: Any) -> "SimThreads":
        return SimThreads(loop, work, ended, short)

    async def start_worker(self, setup: Setup, table: LeaseTable, *, is_first: bool) -> Started[Any]:
        world = self.world
        if world.has_no_process(0.5):
            raise OSError("no more processes")
        ours, theirs = Pipe.pair(world.loop)
        child = Process(world.loop, f"w{self.number}.{setup.worker}.{world.lives()}")  # survives its supervisor
        _close_at_end(world, child, theirs)
        supervising = PROCESS.get()
        assert supervising is not None
        supervising.at_end.append(ours.close)
        child.keeper = supervising
        world.workers.append(child)
        child.at_end.append(lambda: world.watch.worker_ended(child))
        world.watch.places[child.name] = (setup.requests + setup.rejects) * world.settings.concurrency
        child.spawn(self._worker(child, theirs, table))
        world.plan_death(child)
        return Started(child, _connecting(ours, setup))

    async def _worker(self, child: Process, channel: Pipe, table: LeaseTable) -> None:
        """What the process of a worker does."""
        world = self.world
        setup = await channel.receive()
        await asyncio.sleep(0.2)
        hub = Hub([world.listener(child)])
        registry = world.plan.registry(host=self.number)
        world.watch.registries[child.name] = set(registry.tasks)
        worker = Worker(self, setup, channel, table, registry, hub)
        child.end(await worker.serve((_passing,) if world.plan.has_middleware else ()))

    async def start_isolated(self, setup: Setup) -> Started[Any]:
        parent = PROCESS.get()
        assert parent is not None
        await asyncio.sleep(0.1)
        if self.world.chance("no_child") or self.world.has_no_process(0.12):  # four in a row fail the attempt
            raise OSError("no more processes")
        ours, theirs = Pipe.pair(parent.loop)
        child = Process(parent.loop, f"{parent.name}/isolated", parent)
        child.parent = parent
        _close_at_end(self.world, child, theirs)
        child.spawn(_isolated(self.world, self.number, child, theirs))
        return Started(child, _connecting(ours, setup))


def _connecting(end: Pipe, setup: Setup) -> Any:
    async def connect() -> Pipe:
        end.send(setup)
        return end

    return connect


async def _passing(call_next: Any, context: Any) -> Any:
    return await call_next()


def _close_at_end(world: Any, child: Process, end: Pipe) -> None:
    """Have the channel end with its process; now and then a child that a task left behind holds it open."""
    is_held = world.is_bad and random.Random(f"{world.seed} {child.name}").random() < HELD_OPEN
    if not is_held:
        child.at_end.append(end.close)


async def _isolated(world: Any, host: int, child: Process, channel: Pipe) -> None:
    registry = world.plan.registry(is_alone=True, host=host)
    world.watch.registries[child.parent.name] &= set(registry.tasks)  # tasks.xml may have changed since
    await channel.receive()
    channel.send(JobEnd("ready"))
    while isinstance(job := await channel.receive(), Job):
        outcome = await isolated_process._run(job, registry)
        channel.send(isolated_process._job_end(outcome))
    child.end(0)


class SimThreads:
    """Threads in virtual time: an item is begun when it is put, and ends after as long as its task takes."""

    def __init__(self, loop: Any, work: Any, ended: Any, short: Any) -> None:
        self._loop = loop
        self._work = work
        self._ended = ended
        self._is_closed = False

    def put(self, attempt: Any) -> None:
        world = self._loop.world
        world.thread_act = None
        outcome = self._work(attempt)
        act = world.thread_act
        if act is None:  # `accepts` said no
            self._loop.call_later(0.001, self._tell, attempt, outcome)
            return
        process, message = PROCESS.get(), attempt.flight.message
        context = invocation.context_of(attempt)
        runs, timeout_s = world.watch.runs(message, context), attempt.task.policy.timeout_s
        is_bad = attempt.number <= act.times
        takes_s = act.takes_s
        if act.kind in ("kill", "exit") and runs <= act.times:
            self._loop.call_later(takes_s / 4, process.end, 0 if act.kind == "exit" else -9)
            return
        if act.kind == "kill host":
            self._loop.call_later(takes_s / 4, world.lose_host, process, context)
            return
        if act.kind == "block" and runs <= act.times:
            self._loop.call_soon(world.stop, process, act.extra or timeout_s + 40.0)
        if act.kind in ("time out", "hang") and is_bad:
            takes_s = timeout_s + (3.0 if act.kind == "time out" else act.extra or 1e6)
        self._loop.call_later(takes_s, self._end, process, attempt, context, act)

    def close(self) -> None:
        self._is_closed = True

    def _end(self, process: Process, attempt: Any, context: Any, act: Any) -> None:
        def work(message: Any, context: Any) -> None:
            raise_for(act, attempt.number)

        error = None
        try:
            work(attempt.flight.message, context)
            outcome = invocation.outcome_of_result(None)
        except Exception as exc:
            error = type(exc).__name__
            outcome = invocation.outcome_of_error(attempt.task, exc)
        process.loop.world.watch.left(process, attempt.flight.message, context, error)
        self._tell(attempt, outcome)

    def _tell(self, attempt: Any, outcome: Any) -> None:
        if not self._is_closed:
            self._ended([(attempt, outcome)])


class _Bodies:
    """Stored bodies in memory."""

    def __init__(self, world: Any) -> None:
        self._world = world

    def keep(self, name: str, content: bytes) -> None:
        self._world.bodies[name] = content

    def load(self, name: str, size: int) -> bytes:
        return self._world.loaded(name)

    def drop(self, name: str) -> None:
        self._world.bodies.pop(name, None)
