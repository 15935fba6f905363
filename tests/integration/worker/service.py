"""A whole service in one process and in virtual time: queues and ledger in memory, real workers, a network that fails
as it is told to.
"""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from mulligan.brokers.memory import MemoryBroker, MemoryQueues
from mulligan.core import retry_state
from mulligan.core.delivery import Delivery, EntryFault, Fault, Outgoing, Queues
from mulligan.core.error import BrokerUnavailable, LedgerUnavailable
from mulligan.core.event import Event
from mulligan.core.message import QueueName, TaskName
from mulligan.core.policy import Backoff, Policy
from mulligan.ledger.base import Ledger
from mulligan.ledger.memory import MemoryLedger
from mulligan.settings.model import Settings
from mulligan.storage.body import BodyFolder
from mulligan.tasks.context import TaskContext
from mulligan.tasks.registry import LoadedTask, TaskRegistry
from mulligan.worker.in_flight import InFlight
from mulligan.worker.ipc.channel import LeftAlone, Setup
from mulligan.worker.ipc.lease_table import LeaseTable
from mulligan.worker.isolation.gate import Gate
from mulligan.worker.pipeline.held_copies import MissingTasks
from mulligan.worker.pipeline.packer import Packer
from mulligan.worker.pipeline.pipeline import PipelineDeps, QueuePipeline
from mulligan.worker.pipeline.poller import Pace
from mulligan.worker.pipeline.runtime import Runtime
from mulligan.worker.process.drain import drain
from mulligan.worker.supervisor.lease_keeper import LeaseKeeper
from mulligan.worker.system_host import SystemHost
from tests.support.virtual_loop import VirtualClock, VirtualLoop

QUEUES = Queues("t", QueueName("t-requests-q"), QueueName("t-rejects-q"), QueueName("t-dead-q"))
LEASE_S = 60.0
T = TypeVar("T")

NO_FOLDER = BodyFolder(Path("/dev/null/bodies"))
"""Can't be made: a test that stores a body has to say where."""

DOWN = BrokerUnavailable("the network is down")
LEDGER_DOWN = LedgerUnavailable("the disk is full")
RETRY = EntryFault(Fault.RETRY, "try again")
REFUSED = EntryFault(Fault.REFUSED, "no such thing")
LOST = EntryFault(Fault.LEASE_LOST, "somebody else has it")


class Network:
    """A broker or ledger behind a network that can be told to fail.

    `faults[method]` holds what becomes of the next calls, one each: None (it works), an exception (raised, nothing
    done), a list of answers (those that are None are done, the others are not), or a coroutine function (awaited first:
    a slow call). `cut[method]` is an exception for every call until it is taken away. `calls` tells who was called.
    """

    def __init__(self, real: Any, **features: Any) -> None:
        self._real = real
        self._features = features
        self.faults: dict[str, list[Any]] = defaultdict(list)
        self.cut: dict[str, BaseException] = {}
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.lost_replies: set[str] = set()
        self.is_gone = False
        self.group: str | Callable[[Delivery], str] | None = None
        """The message group of every delivery, or of each, as on a FIFO queue."""

    @property
    def features(self) -> Any:
        return replace(self._real.features, **self._features)

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if not asyncio.iscoroutinefunction(real):
            return real

        async def call(*args: Any, **more: Any) -> Any:
            self.calls.append((name, args))
            if self.is_gone:
                await asyncio.Event().wait()
            if name in self.cut:
                raise self.cut[name]
            fault = self.faults[name].pop(0) if self.faults[name] else None
            if isinstance(fault, BaseException):
                raise fault
            if isinstance(fault, list):
                return await self._partly(real, fault, args)
            if fault is not None:
                await fault()
            answer = await real(*args, **more)
            if self.is_gone:
                await asyncio.Event().wait()
            if name == "receive" and self.group is not None:
                group_of = self.group if callable(self.group) else lambda _, group=self.group: group
                answer = [replace(delivery, group=group_of(delivery)) for delivery in answer]
            if name in self.lost_replies:
                self.lost_replies.discard(name)
                raise BrokerUnavailable("the reply was lost")
            return answer

        return call

    async def _partly(self, real: Callable[..., Awaitable[list[Any]]], told: list[Any], args: tuple[Any, ...]) -> Any:
        *before, entries = args
        good = [entry for entry, fault in zip(entries, told, strict=True) if fault is None]
        answers = iter(await real(*before, good))
        return [next(answers) if fault is None else fault for fault in told]

    def count(self, name: str) -> int:
        return sum(1 for called, _ in self.calls if called == name)


class Worker:
    """The pipelines of one worker process, and a lease keeper as the supervisor has it."""

    def __init__(self, service: "Service", tasks: Sequence[LoadedTask], **more: Any) -> None:
        self.service = service
        capacity, lease_s = more.pop("capacity", 10), more.pop("lease_s", LEASE_S)
        slots = more.pop("slots", 2 * capacity + 256)
        broker = more.pop("broker", None) or MemoryBroker(service.clock, service.queues)
        self.network = Network(broker, **more.pop("features", {}))
        self.ledger: Any = Network(more.pop("ledger", service.ledger))
        self.failed: list[BaseException] = []
        self.stuck: list[Any] = []
        self.table = LeaseTable.create(slots * 2)
        number, tokens = next(service.numbers), itertools.count(1)
        grace_s = more.pop("missing_grace_s", 86_400.0)
        settings = more.pop("settings", None) or Settings(task_missing_grace_s=grace_s)
        registry = TaskRegistry({task.name: task for task in tasks}, drops_unrouted=more.pop("drops_unrouted", False))
        emit = service.events.append
        self.left: list[LeftAlone] = []
        """What the supervisor is told of messages that are left alone."""
        deps = PipelineDeps(
            Runtime(service.clock, emit, self.failed.append, self.stuck.append, self.left.append),
            self.network, self.ledger, QUEUES, SystemHost(), registry, self.table,
            packer=StillPacker(more.pop("bodies", NO_FOLDER)),
            setup=more.pop("setup", None) or Setup(number, settings.for_worker(), 1, 1, slots, str(Path.cwd())),
            wants=lambda kind: True, new_token=lambda: f"w{number}-{next(tokens)}",
            misses=MissingTasks(service.clock, emit), middleware=more.pop("middleware", ()),
            gate=more.pop("gate", None) or Gate(),
        )  # fmt: skip
        stages = more.pop("stages", (0, 1))
        holds_groups, receives = more.pop("holds_groups", False), more.pop("receives", None)
        self.pipelines = [
            QueuePipeline(
                deps,
                index,
                Pace(capacity, lease_s, more.get("receive_linger_s", 0.1)),
                slots,
                holds_groups=holds_groups,
                receives=receives,
            )
            for index in stages
        ]
        self.keeper = LeaseKeeper(
            Network(MemoryBroker(service.clock, service.queues)), service.ledger, QUEUES, service.clock, emit, lease_s
        )
        keeping = (self._keep_leases(), self._keep_claims()) if more.pop("keeps", True) else ()
        self.keeping = [asyncio.get_running_loop().create_task(one) for one in keeping]
        self.has_drained = False
        if more.pop("starts", True):
            self.start()

    def start(self) -> None:
        for pipeline in self.pipelines:
            pipeline.pollers.start()

    @property
    def in_flight(self) -> int:
        return sum(pipeline.capacity.in_flight for pipeline in self.pipelines)

    @property
    def flights(self) -> list[InFlight]:
        return [flight for pipeline in self.pipelines for flight in pipeline.slots]

    async def drain(self, grace_s: float = 5.0) -> None:
        self.has_drained = True
        await drain(self.pipelines, grace_s)
        # the process would end here: whatever it has not finished gets no answer any more
        self.network.is_gone = self.ledger.is_gone = True

    async def sweep(self) -> int:
        """What the supervisor does once the process has ended in order."""
        return await self.keeper.sweep(self.table, blamed=None)

    async def close(self) -> None:
        if not self.has_drained:
            await self.drain(0.0)
        for one in self.keeping:
            one.cancel()
        self.table.close()

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self.keeper.interval_s)
            lost = await self.keeper.extend_leases([(0, self.table)])
            for slot, sequence in lost.get(0, ()):
                for pipeline in self.pipelines:
                    pipeline.dispatcher.lose(slot, sequence)

    async def _keep_claims(self) -> None:
        while True:
            await asyncio.sleep(self.keeper.interval_s)
            asked_at = self.service.clock.monotonic()
            lost = await self.keeper.extend_claims([(0, self.table)])
            for slot, sequence in lost.get(0, ()):
                for pipeline in self.pipelines:
                    pipeline.dispatcher.lose_claim(slot, sequence, asked_at)


class Service:
    """Queues, a ledger, and the workers on them."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.queues = MemoryQueues()
        self.broker = MemoryBroker(clock, self.queues)
        self.ledger: Ledger = MemoryLedger(clock)
        self.events: list[Event] = []
        self.numbers = itertools.count(1)
        self.workers: list[Worker] = []

    def worker(self, *tasks: LoadedTask, **more: Any) -> Worker:
        self.workers.append(Worker(self, tasks, **more))
        return self.workers[-1]

    async def send(self, *bodies: str, queue: QueueName = QUEUES.requests, **attributes: str) -> None:
        for body in bodies:
            await self.broker.send(queue, [Outgoing(body.encode(), attributes)])

    async def total(self, queue: QueueName) -> int:
        return (await self.broker.depth(queue)).total

    async def totals(self) -> tuple[int, int, int]:
        """Messages on requests, rejects and dead, leased and delayed ones too."""
        return await self.total(QUEUES.requests), await self.total(QUEUES.rejects), await self.total(QUEUES.dead)

    async def until(self, is_true: Callable[[], Any], within_s: float = 600.0) -> None:
        """Let time pass until it is true."""
        loop = asyncio.get_running_loop()
        end = loop.time() + within_s
        while True:
            found = is_true()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            if loop.time() > end:
                names = [type(event).__name__ for event in self.events[-30:]]
                held = [worker.table.used for worker in self.workers if not worker.has_drained]
                raise AssertionError(f"not true within {within_s} s; {await self.totals()}; {held}; last: {names}")
            await asyncio.sleep(0.05)

    async def until_empty(self, within_s: float = 600.0) -> None:
        """Let time pass until requests and rejects hold nothing, and nothing is in flight."""

        async def is_empty() -> bool:
            requests, rejects, _ = await self.totals()
            working = [worker for worker in self.workers if not worker.has_drained]
            return requests == rejects == 0 and not any(worker.in_flight for worker in working)

        await self.until(is_empty, within_s)

    def told(self, *kinds: type[Event]) -> list[Any]:
        """The events of these kinds, in order."""
        return [event for event in self.events if isinstance(event, kinds)]

    async def dead(self) -> list[retry_state.RetryState]:
        """The stories of the dead letters."""
        letters = await self.broker.receive(QUEUES.dead, 100, wait_s=0.0, lease_s=1.0)
        return [retry_state.decode(letter.attributes[retry_state.ATTRIBUTE]) for letter in letters]

    async def close(self) -> None:
        for worker in self.workers:
            await worker.close()
        faults = [fault for worker in self.workers for fault in worker.failed]
        assert not faults, faults


class StillPacker(Packer):
    """The packer. Virtual time stands still while a body is packed, in a thread of which the loop knows nothing."""

    def _in_thread(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        async def wait(loop: VirtualLoop) -> T:
            with loop.standing_still():
                return await packing

        packing = super()._in_thread(work)
        loop = asyncio.get_running_loop()
        return asyncio.ensure_future(wait(loop)) if isinstance(loop, VirtualLoop) else packing


class Recording:
    """The `run` of a task: keeps each run's (body, attempt), and does what its script says, then succeeds.

    ends: one item a run: None (return), an exception (raise), seconds (sleep), or a coroutine function of the context.
    """

    def __init__(self, *ends: Any) -> None:
        self.ends = list(ends)
        self.runs: list[tuple[str, int]] = []
        self.contexts: list[TaskContext] = []
        self.now = 0
        self.most = 0

    async def __call__(self, message: Any, context: TaskContext) -> Any:
        self.runs.append((message.text, context.attempt))
        self.contexts.append(context)
        end = self.ends.pop(0) if self.ends else None
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if isinstance(end, BaseException):
                raise end
            if isinstance(end, int | float):
                await asyncio.sleep(end)
            elif end is not None:
                return await end(context)
        finally:
            self.now -= 1
        return None


def task(
    name: str, run: Callable[..., Any], *, attempts: int = 2, backoff_s: float = 10.0, timeout_s: float = 60.0,
    is_default: bool = False, **more: Any,
) -> LoadedTask:  # fmt: skip
    """A task whose `run` gets (message, context)."""
    policy = Policy(attempts, Backoff(backoff_s, 2.0, 3600.0), timeout_s)
    is_async = isinstance(run, Recording) or asyncio.iscoroutinefunction(run)
    return LoadedTask(TaskName(name), policy, is_default, is_async, True, run, **more)
