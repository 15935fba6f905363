"""What takes the place of pipes, child processes and threads; all else of the worker is the real code."""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from mulligan.telemetry.hub import Hub
from mulligan.worker.ipc.channel import Job, JobEnd, Setup
from mulligan.worker.ipc.child import ends_with
from mulligan.worker.ipc.lease_table import LeaseTable
from mulligan.worker.isolation import isolated_process
from mulligan.worker.isolation.isolated_runner import IsolatedProcess, IsolatedRunner
from mulligan.worker.pipeline import pipeline, runner
from mulligan.worker.process import worker_process
from mulligan.worker.supervisor import supervisor
from mulligan.worker.supervisor.supervisor import Supervisor, WorkerExit, WorkerHandle
from tests.simulation.broker import SimBroker
from tests.simulation.ledger import SimLedger
from tests.simulation.loop import PROCESS, Process
from tests.simulation.plan import raise_for

__all__ = ["SimSupervisor", "standing_in"]

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


class SimSupervisor(Supervisor):
    """The supervisor, whose workers are processes of the simulation."""

    def __init__(self, world: Any, host: int, settings: Any, broker: Any, ledger: Any, hub: Any) -> None:
        super().__init__(settings, broker, ledger, hub, world.clocks[host], Path())
        self.world = world
        self.host = host

    async def _live(self, seat: WorkerHandle) -> WorkerExit:
        world, hand, capacity = self.world, seat.hand, self._settings.concurrency
        slots = sum(supervisor.slots_for(count * capacity) for count in (hand.requests, hand.rejects) if count)
        table = seat.table = world.table(LeaseTable.create(slots))
        ours, theirs = Pipe.pair(world.loop)
        child = Process(world.loop, f"w{self.host}.{seat.number}.{world.lives()}")  # survives its supervisor
        _close_at_end(world, child, theirs)
        supervising = PROCESS.get()
        assert supervising is not None
        supervising.at_end.append(ours.close)
        child.keeper = supervising
        world.workers.append(child)
        child.at_end.append(lambda: world.watch.worker_ended(child))
        world.watch.places[child.name] = (hand.requests + hand.rejects) * capacity
        seat.process = child  # type: ignore[assignment] # as much of a process as the supervisor asks of one
        setup = Setup(seat.number, self._settings.for_worker(), hand.requests, hand.rejects, slots, "", world.isolated)
        child.spawn(_worker(world, child, setup, theirs, table))
        world.plan_death(child)
        seat.channel = ours  # type: ignore[assignment] # the same methods
        watcher = self._start(ends_with(child, ours))  # type: ignore[arg-type]
        try:
            return await self._listen(seat, ours, child)  # type: ignore[arg-type]
        finally:
            watcher.cancel()
            seat.ready.clear()
            seat.channel = None
            ours.close()


async def _worker(world: Any, child: Process, setup: Setup, channel: Pipe, table: LeaseTable) -> None:
    await asyncio.sleep(0.2)
    hub = Hub([world.listener(child)])
    catalogue = world.plan.catalogue(host=_host(child))
    world.watch.catalogues[child.name] = set(catalogue.tasks)
    worker = worker_process.Worker(
        setup, channel, table, catalogue, hub, world.clocks[_host(child)],  # type: ignore[arg-type]
    )  # fmt: skip
    code = await worker.serve((_passing,) if world.plan.has_middleware else ())
    child.end(code)


def _host(process: Process) -> int:
    """Of a worker, or of a solo process of one."""
    return int(process.name[1 : process.name.index(".")])


async def _passing(call_next: Any, context: Any) -> Any:
    return await call_next()


class SimCell(IsolatedProcess):
    """The real one, whose child is a process of the simulation."""

    async def _open(self) -> Any:
        parent = PROCESS.get()
        assert parent is not None
        world = parent.loop.world
        await asyncio.sleep(0.1)
        if world.chance("no_child"):
            raise OSError("no more processes")
        ours, theirs = Pipe.pair(parent.loop)
        child = Process(parent.loop, f"{parent.name}/solo", parent)
        child.parent = parent
        _close_at_end(world, child, theirs)
        child.spawn(_solo(world, child, theirs))
        self._child = child  # type: ignore[assignment]
        self._channel = ours  # type: ignore[assignment]
        ours.send(self._setup)
        self._watch(child, ours)  # type: ignore[arg-type]
        return ours


class SimSolo(IsolatedRunner):
    """The real one, with cells of the simulation."""

    cell = SimCell


def _close_at_end(world: Any, child: Process, end: Pipe) -> None:
    """Have the channel end with its process; now and then a child that a task left behind holds it open."""
    is_held = world.is_bad and random.Random(f"{world.seed} {child.name}").random() < HELD_OPEN
    if not is_held:
        child.at_end.append(end.close)


async def _solo(world: Any, child: Process, channel: Pipe) -> None:
    catalogue = world.plan.catalogue(is_alone=True, host=_host(child))
    world.watch.catalogues[child.parent.name] &= set(catalogue.tasks)  # tasks.xml may have changed since
    await channel.receive()
    channel.send(JobEnd("ready"))
    while isinstance(job := await channel.receive(), Job):
        outcome = await isolated_process._run(job, catalogue)
        channel.send(isolated_process._told(outcome))
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
        context = runner.context_of(attempt)
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
            outcome = runner.outcome_of_result(None)
        except Exception as exc:
            error = type(exc).__name__
            outcome = runner.outcome_of_error(attempt.task, exc)
        process.loop.world.watch.left(process, attempt.flight.message, context, error)
        self._tell(attempt, outcome)

    def _tell(self, attempt: Any, outcome: Any) -> None:
        if not self._is_closed:
            self._ended([(attempt, outcome)])


class _Folder:
    """Stored bodies in memory."""

    def __init__(self, world: Any) -> None:
        self._world = world

    def keep(self, name: str, content: bytes) -> None:
        self._world.bodies[name] = content

    def load(self, name: str, size: int) -> bytes:
        return self._world.loaded(name)

    def drop(self, name: str) -> None:
        self._world.bodies.pop(name, None)


@contextlib.contextmanager
def standing_in(world: Any) -> Iterator[None]:
    """Have the worker's modules use what is simulated."""

    def slots_for(capacity: int) -> int:
        return 2 * capacity + 6  # the supervisor reads every slot at every look

    def tokens() -> Any:
        numbers, name = iter(range(1, 1_000_000)), PROCESS.get()
        return lambda: f"{name}-{next(numbers)}"

    with contextlib.ExitStack() as stack:
        for module, name, new in (
            (worker_process, "open_broker", lambda url, **more: SimBroker(world)),
            (worker_process, "open_ledger", lambda url, **more: SimLedger(world)),
            (worker_process, "slots_for", slots_for),
            (worker_process, "_tokens", tokens),
            (worker_process, "BodyFolder", lambda path: _Folder(world)),
            (supervisor, "slots_for", slots_for),
            (supervisor.run_stats, "write", lambda totals, file: None),
            (pipeline, "IsolatedRunner", SimSolo),
            (runner, "Threads", SimThreads),
        ):
            stack.enter_context(patch.object(module, name, new))
        yield
