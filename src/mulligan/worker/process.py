"""A worker process: `main`, with DESCRIPTOR and TABLE as arguments. Started by the supervisor only (see `interrupt`).

It loads the tasks, tells that it is ready, works from `Go` on, and drains at `Stop`, at SIGTERM, or when the supervisor
is gone. An exit without `Drained` counts as a crash, whatever its code.
"""

import asyncio
import os
import secrets
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import TypeVar

from mulligan.brokers.base import Broker
from mulligan.brokers.open import open_broker
from mulligan.clock import SystemClock
from mulligan.core.error import ConfigurationError, MulliganError, StorageBroken
from mulligan.core.event import WorkerStarted
from mulligan.ledger.open import open_ledger
from mulligan.storage.body import BodyFolder
from mulligan.tasks import loader
from mulligan.tasks.catalogue import Catalogue
from mulligan.telemetry.hub import Hub
from mulligan.telemetry.log import configure
from mulligan.worker import stack
from mulligan.worker.channel import (
    Channel,
    Drained,
    Fatal,
    Go,
    LeasesLost,
    Problems,
    Ready,
    Recycle,
    Requests,
    Setup,
    Stop,
    from_supervisor,
)
from mulligan.worker.drain import drain
from mulligan.worker.extension import named
from mulligan.worker.line import Line, Shop
from mulligan.worker.loop import run
from mulligan.worker.packer import Packer
from mulligan.worker.poller import Pace
from mulligan.worker.runner import Attempt
from mulligan.worker.table import LeaseTable

__all__ = ["main", "slots_for"]

T = TypeVar("T")

FATAL = 70  # EX_SOFTWARE of sysexits.h
TICK_S = 1.0

FromSupervisor = Setup | Go | Stop | LeasesLost


def main() -> None:
    """Serve until told to stop."""
    end, table = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    stack.register(table)  # the supervisor asks for stacks before it kills
    run(_serve_and_exit(end, table))


def slots_for(capacity: int) -> int:
    """Slots of the lease table for one queue: messages in flight, and as many again being settled."""
    return 2 * capacity + 256


async def _serve_and_exit(end: socket.socket, table: int) -> None:
    """Serve, then end the process from inside the loop.

    The loop's own end waits for tasks that swallow their cancellation, and the interpreter's for threads.
    """
    try:
        code = await _serve(end, table)
    except BaseException:  # noqa: BLE001 - whatever it was, it must not keep a process that does nothing any more
        traceback.print_exc()
        code = FATAL
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _serve(end: socket.socket, table_descriptor: int) -> int:
    channel = await Channel.open(end, from_supervisor)
    setup = await channel.receive()
    if not isinstance(setup, Setup):
        return FATAL
    settings = setup.settings
    clock = SystemClock()
    problems: list[str] = []
    middleware = _checked(problems, lambda: named(settings.middleware, "MIDDLEWARE"))
    listeners = _checked(problems, lambda: named(settings.listeners, "LISTENERS"))
    hub = _checked(
        problems,
        lambda: configure(settings, worker=setup.worker, rotates=False, now=clock.now, listeners=listeners or ()),
    )
    catalogue = _checked(
        problems,
        lambda: loader.load(
            Path.cwd(),
            tasks_file=settings.tasks_xml_file,
            defaults=settings.policy,
            drops_unrouted=settings.unrouted == "drop",
        ),
    )
    if middleware is None or hub is None or catalogue is None:
        channel.send(Problems(problems))
        await channel.flush()
        return 2
    worker = Worker(setup, channel, LeaseTable(table_descriptor, setup.table_slots), catalogue, hub, clock)
    return await worker.serve(middleware)


def _checked(problems: list[str], make: Callable[[], T]) -> T | None:
    """What `make` gives; None when it has problems, which are added to the others."""
    try:
        return make()
    except ConfigurationError as exc:
        problems.extend(exc.problems)
        return None


class Worker:
    """What the process is made of, and what it does with the supervisor's messages."""

    def __init__(
        self,
        setup: Setup,
        channel: Channel[FromSupervisor],
        table: LeaseTable,
        catalogue: Catalogue,
        hub: Hub,
        clock: SystemClock,
    ) -> None:
        self._setup = setup
        self._settings = setup.settings
        self._channel = channel
        self._table = table
        self._catalogue = catalogue
        self._hub = hub
        self._clock = clock
        self._stop: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._error: BaseException | None = None
        self._broker: Broker | None = None
        self._told_requests: dict[str, int] = {}
        self._lines: list[Line] = []

    async def serve(self, middleware: Sequence[Callable[..., object]]) -> int:
        """Work until told to stop; the exit code."""
        settings, setup = self._settings, self._setup
        broker = open_broker(settings.broker_url, clock=self._clock, emit=self._hub.emit, base_dir=Path.cwd())
        ledger = open_ledger(settings.ledger_url, clock=self._clock, base_dir=Path.cwd())
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._ask_to_stop, settings.grace_s)
        total = (setup.requests + setup.rejects) * settings.concurrency
        loop.set_default_executor(ThreadPoolExecutor(max(8, total * len(self._catalogue.names))))
        self._broker = broker
        try:
            shop = Shop(
                broker, ledger, settings.queues, self._catalogue, self._table, self._clock, self._hub.emit,
                self._hub.wants, packer=Packer(BodyFolder(Path.cwd() / settings.bodies_url)),
                setup=setup, new_token=_tokens(), stuck=self._recycle, failed=self._fail,
                middleware=middleware,  # type: ignore[arg-type] # the user's; checked to be callable only
            )  # fmt: skip
            self._channel.send(Ready())
            match await self._channel.receive():
                case Go():
                    pass
                case Stop():
                    return await self._leave()
                case _:
                    return FATAL  # the supervisor is gone
            await ledger.open()
            await broker.declare(settings.queues, create=False)
            self._lines = [
                Line(
                    shop,
                    index,
                    Pace(capacity, settings.lease_s, settings.latency_s, settings.grace_s),
                    slots_for(capacity),
                    holds_groups=index == 0 and settings.holds_groups,
                )
                for index, capacity in enumerate(
                    (setup.requests * settings.concurrency, setup.rejects * settings.concurrency)
                )
                if capacity
            ]
            await self._work()
        except MulliganError as exc:
            self._error = self._error or exc
        finally:
            if self._error is None:
                await broker.close()
                await ledger.close()
        return await self._leave()

    async def _work(self) -> None:
        setup, loop = self._setup, asyncio.get_running_loop()
        listener = loop.create_task(self._listen())
        ticker = loop.create_task(self._tick())
        for task in (listener, ticker):
            task.add_done_callback(self._ended)
        concurrency = self._settings.concurrency
        self._hub.emit(
            WorkerStarted(setup.worker, os.getpid(), setup.requests * concurrency, setup.rejects * concurrency)
        )
        for line in self._lines:
            line.pollers.start()
        grace_s = await self._stop
        if self._error is None:
            await drain(self._lines, grace_s)
        listener.cancel()
        ticker.cancel()

    async def _leave(self) -> int:
        if self._error is not None:
            if isinstance(self._error, StorageBroken):
                self._channel.send(Fatal(str(self._error)))
            elif isinstance(self._error, MulliganError):
                sys.stderr.write(f"{self._error}\n")
            else:  # a fault of ours: the supervisor counts it as a crash and starts another worker
                traceback.print_exception(self._error)
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
                case Stop(grace_s):
                    self._ask_to_stop(grace_s)
                case LeasesLost(slots):
                    for slot, sequence in slots:
                        for line in self._lines:
                            line.consumer.lose(slot, sequence)
                case None:
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
            await asyncio.sleep(TICK_S)

    def _tell_requests(self) -> None:
        requests = dict(self._broker.billed) if self._broker is not None else {}
        if requests != self._told_requests:
            self._told_requests = requests
            self._channel.send(Requests(requests))

    def _ask_to_stop(self, grace_s: float) -> None:
        if not self._stop.done():
            self._stop.set_result(grace_s)

    def _recycle(self, attempt: Attempt) -> None:
        reason = f"task {attempt.task.name} goes on although its {attempt.task.policy.timeout_s:g} s are over"
        self._channel.send(Recycle(reason))
        self._ask_to_stop(self._settings.grace_s)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self._ask_to_stop(0.0)


def _tokens() -> Callable[[], str]:
    """Tokens for claims: a random part a process, a number a claim."""
    stem, numbers = secrets.token_hex(6), count(1)
    return lambda: f"{stem}{next(numbers):x}"
