"""What a worker process does once its tasks are loaded: it serves its pipelines until the supervisor stops it.

`worker_process` makes one in the process itself; the simulation makes one in each process of its own.
"""

import asyncio
import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mulligan.brokers.base import Broker, Declared
from mulligan.core.error import (
    BrokerUnavailable,
    LedgerUnavailable,
    Meddled,
    MulliganError,
    StorageBroken,
)
from mulligan.core.event import WorkerStarted
from mulligan.core.secret import redacted
from mulligan.ledger.base import Ledger
from mulligan.tasks.registry import TaskRegistry
from mulligan.telemetry.hub import Hub
from mulligan.worker.background import Background
from mulligan.worker.host import Host
from mulligan.worker.ipc.channel import (
    Channel,
    ClaimsLost,
    Drained,
    Fatal,
    FromSupervisor,
    Go,
    LeasesLost,
    MayIsolate,
    Ready,
    Recycle,
    Requests,
    Setup,
    Stop,
)
from mulligan.worker.ipc.lease_table import LeaseTable
from mulligan.worker.isolation.gate import Gate
from mulligan.worker.isolation.isolated_handle import START_S
from mulligan.worker.opening import insist, unless
from mulligan.worker.outage import of_broker, of_ledger
from mulligan.worker.pipeline.held_copies import MissingTasks
from mulligan.worker.pipeline.packer import Packer
from mulligan.worker.pipeline.pipeline import PipelineDeps, QueuePipeline
from mulligan.worker.pipeline.poller import Pace
from mulligan.worker.pipeline.runtime import Runtime
from mulligan.worker.process.drain import drain
from mulligan.worker.process.impairment import Impairment
from mulligan.worker.process.unknown_tasks import at_start

__all__ = ["FATAL", "Worker", "report_error"]

FATAL = 70  # EX_SOFTWARE of sysexits.h
_TICK_S = 1.0
_SLOWER = 10.0
"""How much longer an isolated process may take to load the tasks than this one did."""


class Worker:
    """What the process is made of, and what it does with the supervisor's messages.

    loaded_s: seconds that it took to load the tasks.
    """

    def __init__(
        self,
        host: Host,
        setup: Setup,
        channel: Channel[FromSupervisor],
        table: LeaseTable,
        registry: TaskRegistry,
        hub: Hub,
        loaded_s: float = 0.0,
    ) -> None:
        self._loaded_s = loaded_s
        self._setup = setup
        self._settings = setup.settings
        self._channel = channel
        self._table = table
        self._registry = registry
        self._hub = hub
        self._host = host
        self._clock = host.clock
        self._stop: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._error: BaseException | None = None
        self._impairment: Impairment | None = None
        self._broker: Broker | None = None
        self._reported_requests: dict[str, int] = {}
        self._pipelines: list[QueuePipeline] = []
        self._gate = Gate(channel.send)
        self._background = Background(self._fail, self._on_cancel)
        self._loop = asyncio.get_running_loop()
        self.is_orphan = False
        """The supervisor is gone."""

    def terminated(self, *_: object) -> None:
        """What SIGTERM does; a handler of `signal.signal`.

        Who sends it to a worker as a rule sends it to all processes, those of its tasks, too (systemd's
        KillMode=control-group, an operator's kill): what fails from now on has been interrupted.
        """
        self._forgive()
        self._loop.call_soon_threadsafe(self._ask_to_stop, self._settings.grace_s)

    async def serve(self, middleware: Sequence[Callable[..., object]]) -> int:
        """Work until stopped; the exit code."""
        settings, setup = self._settings, self._setup
        folder = Path(setup.folder)
        broker = self._host.open_broker(settings.broker_url, self._hub.emit, folder)
        ledger = self._host.open_ledger(settings.ledger_url, folder)
        total = (setup.requests + setup.rejects) * settings.concurrency
        threads = max(8, total * len(self._registry.names))
        self._loop.set_default_executor(ThreadPoolExecutor(threads))  # for the tasks; they may put another in its place
        self._broker = broker
        try:
            runtime = Runtime(self._clock, self._hub.emit, self._fail, self._recycle, self._channel.send)
            deps = PipelineDeps(
                runtime, broker, ledger, settings.queues, self._host, self._registry, self._table,
                packer=Packer(self._host.open_bodies(folder / settings.bodies_url)),
                setup=setup, wants=self._hub.wants, new_token=self._host.tokens(),
                misses=MissingTasks(self._clock, self._hub.emit),
                changed=self._channel.send,
                middleware=middleware,  # type: ignore[arg-type] # the user's; checked to be callable only
                executor=ThreadPoolExecutor(threads, "mulligan-task") if middleware else None,
                isolated_start_s=max(START_S, _SLOWER * self._loaded_s),
                gate=self._gate,
            )  # fmt: skip
            self._channel.send(Ready())
            match await self._channel.receive():
                case Go():
                    pass
                case Stop():
                    return await self._leave()
                case _:
                    self.is_orphan = True
                    return FATAL
            self._background.spawn(self._listen())
            declared = await unless(self._stop, self._open(broker, ledger))
            if declared is None:
                return await self._leave()
            self._impairment = Impairment()
            self._pipelines = _pipelines(deps, declared)
            await self._work()
        except MulliganError as exc:
            self._error = self._error or exc
        finally:
            self._background.cancel()
            if self._error is None:
                await broker.close()
                await ledger.close()
        return await self._leave()

    async def _open(self, broker: Broker, ledger: Ledger) -> Declared:
        """As long as it takes: the system is up, and an outage is waited for."""
        queues, clock, emit = self._settings.queues, self._clock, self._hub.emit
        await insist(ledger.open, LedgerUnavailable, of_ledger(clock, emit), clock)
        outage = of_broker(clock, emit, "looking at the queues")
        declared = await insist(lambda: broker.declare(queues, create=False), BrokerUnavailable, outage, clock)
        if self._setup.worker == 0:
            for event in await at_start(broker, (queues.rejects, queues.dead), self._registry.tasks):
                self._hub.emit(event)
        return declared

    async def _work(self) -> None:
        setup = self._setup
        self._background.spawn(self._tick())
        concurrency = self._settings.concurrency
        self._hub.emit(
            WorkerStarted(setup.worker, os.getpid(), setup.requests * concurrency, setup.rejects * concurrency)
        )
        for pipeline in self._pipelines:
            pipeline.pollers.start()
        grace_s = await self._stop
        if self._error is None:
            await drain(self._pipelines, grace_s)

    async def _leave(self) -> int:
        if self._error is not None:
            found = None if self._impairment is None else self._impairment.found()
            if isinstance(self._error, StorageBroken) and found is None:
                self._channel.send(Fatal(str(self._error)))
            elif isinstance(self._error, StorageBroken):
                report_error(MulliganError(f"this worker ends, for {found}: {self._error}"), is_traced=False)
            elif isinstance(self._error, MulliganError):
                report_error(self._error, is_traced=False)
            else:  # a fault of the program: the supervisor counts it as a crash and starts another worker
                report_error(self._error)
            await self._channel.flush()
            self._hub.close()
            return FATAL
        self._tell_requests()
        self._channel.send(Drained())
        await self._channel.flush()
        self._hub.close()
        return 0

    async def _listen(self) -> None:
        while True:
            message = await self._channel.receive()
            match message:
                case Stop(grace_s, forgives):
                    if forgives:
                        self._forgive()
                    self._ask_to_stop(grace_s)
                case LeasesLost(slots):
                    for slot, sequence in slots:
                        for pipeline in self._pipelines:
                            pipeline.dispatcher.lose(slot, sequence)
                case ClaimsLost(slots, asked_at):
                    for slot, sequence in slots:
                        for pipeline in self._pipelines:
                            pipeline.dispatcher.lose_claim(slot, sequence, asked_at)
                case MayIsolate(number):
                    self._gate.granted(number)
                case None:
                    self.is_orphan = True
                    # nobody extends the leases any more: what runs has the rest of the shortest one
                    self._ask_to_stop(min(self._settings.grace_s, 0.3 * self._settings.lease_s))
                    return
                case _:
                    pass

    async def _tick(self) -> None:
        while True:
            self._table.tick(self._clock.monotonic())
            self._hub.tend()
            self._tell_requests()
            await asyncio.sleep(_TICK_S)

    def _tell_requests(self) -> None:
        requests = dict(self._broker.billed) if self._broker is not None else {}
        if requests != self._reported_requests:
            self._reported_requests = requests
            self._channel.send(Requests(requests))

    def _forgive(self) -> None:
        for pipeline in self._pipelines:
            pipeline.runner.forgive()

    def _ask_to_stop(self, grace_s: float) -> None:
        if not self._stop.done():
            self._stop.set_result(grace_s)

    def _recycle(self, reason: str) -> None:
        self._channel.send(Recycle(reason))
        self._ask_to_stop(self._settings.grace_s)

    def _on_cancel(self) -> BaseException | None:
        return None if self._stop.done() else Meddled("what listens to the supervisor")

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self._ask_to_stop(0.0)


def _pipelines(deps: PipelineDeps, declared: Declared) -> list[QueuePipeline]:
    """One per queue that this worker has consumers of. declared: what the broker knows of the queues."""
    setup, settings = deps.setup, deps.setup.settings
    capacities = (setup.requests * settings.concurrency, setup.rejects * settings.concurrency)
    return [
        QueuePipeline(
            deps,
            index,
            Pace(capacity, settings.lease_s, settings.receive_linger_s, settings.grace_s),
            deps.host.slots_for(capacity),
            holds_groups=index == 0 and settings.holds_groups,
            receives=declared.receives.get(settings.queues.all[index]),
        )
        for index, capacity in enumerate(capacities)
        if capacity
    ]


def report_error(error: BaseException | None, *, is_traced: bool = True) -> None:
    """Write an error to stderr, without passwords: there may be no log, or it may be what failed."""
    text = "".join(traceback.format_exception(error)) if is_traced else f"{error}\n"
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(redacted(text))
