"""One queue's parts in a worker process, wired to each other: pollers, consumer, runner, recorder, settler, solo."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from mulligan.brokers.base import Broker, Queues
from mulligan.clock import SystemClock
from mulligan.core.event import Event
from mulligan.ledger.base import Ledger
from mulligan.tasks.catalogue import Catalogue
from mulligan.worker.brake import Brake
from mulligan.worker.briefing import Stage
from mulligan.worker.channel import OtherVersion, Setup
from mulligan.worker.consumer import Consumer
from mulligan.worker.flight import Flight
from mulligan.worker.gate import Gate
from mulligan.worker.hold import Misses
from mulligan.worker.packer import Packer
from mulligan.worker.poller import Pace, Pollers
from mulligan.worker.recorder import Recorder
from mulligan.worker.runner import Attempt, Middleware, Runner
from mulligan.worker.settler import Settler
from mulligan.worker.solo import START_S, Solo
from mulligan.worker.table import LeaseTable

__all__ = ["Line", "Shop"]


class Shop:
    """What all lines of a process share."""

    def __init__(
        self,
        broker: Broker,
        ledger: Ledger,
        queues: Queues,
        catalogue: Catalogue,
        table: LeaseTable,
        clock: SystemClock,
        emit: Callable[[Event], None],
        wants: Callable[[type[Event]], bool],
        *,
        packer: Packer,
        setup: Setup,
        new_token: Callable[[], str],
        stuck: Callable[[Attempt], None],
        left_alone: Callable[[Flight, float, bool], None] = lambda _flight, _until, _is_copy: None,
        changed: Callable[[OtherVersion], None] = lambda _: None,
        failed: Callable[[BaseException], None],
        middleware: Sequence[Middleware] = (),
        executor: Executor | None = None,
        solo_start_s: float = START_S,
        gate: Gate | None = None,
    ) -> None:
        self.broker = broker
        self.ledger = ledger
        self.queues = queues
        self.catalogue = catalogue
        self.table = table
        self.clock = clock
        self.emit = emit
        self.wants = wants
        self.packer = packer
        self.misses = Misses(clock, emit)
        self.setup = setup
        self.new_token = new_token
        self.stuck = stuck
        self.left_alone = left_alone
        self.changed = changed
        self.failed = failed
        self.middleware = middleware
        self.executor = executor
        self.solo_start_s = solo_start_s
        self.gate = gate or Gate()


class Line:
    """All consumers of one queue in one process.

    index: 0 requests, 1 rejects. slots: of the lease table, at most; more than pace.capacity, because a message keeps
    its slot until its settlement is confirmed. receives: as in `Stage`.
    """

    def __init__(
        self,
        shop: Shop,
        index: int,
        pace: Pace,
        slots: int,
        *,
        holds_groups: bool = False,
        receives: int | None = None,
    ) -> None:
        queue, features = shop.queues.all[index], shop.broker.features
        stage = Stage(
            index, index == 1, shop.queues.prefix, pace.lease_s, pace.capacity,
            suspects_repeats=not shop.ledger.is_durable, holds_groups=holds_groups,
            holds_deliveries=not features.keeps_lease, counts_releases=features.counts_releases,
            buries_strays=shop.setup.settings.unknown_on_rejects == "dead", max_bytes=features.limits.max_bytes,
            missing_grace_s=shop.setup.settings.task_missing_grace_s, receives=receives,
            max_delay_s=features.max_delay_s, max_lease_s=features.max_lease_s,
        )  # fmt: skip
        self.consumer = Consumer(
            stage, shop.catalogue, shop.table, shop.clock, shop.emit, shop.wants,
            packer=shop.packer, misses=shop.misses, gate=shop.gate, new_token=shop.new_token,
        )  # fmt: skip
        brake = Brake(shop.setup.settings.unrecorded_max)
        self.runner = Runner(
            self.consumer.ended, shop.stuck, shop.emit, shop.middleware, self.consumer.holds, brake, shop.executor
        )
        brake.wire(self.runner.go_on)
        self.recorder = Recorder(
            shop.ledger, shop.clock, shop.emit, pace.lease_s,
            kept=self.consumer.kept, lost=self._lost, left=self.consumer.over, failed=shop.failed,
            brake=brake,
        )  # fmt: skip
        self.settler = Settler(
            shop.broker, shop.queues, queue, self.recorder, shop.packer, shop.table, shop.clock, shop.emit,
            buried=self.consumer.buried, over=self.consumer.over, left_alone=shop.left_alone, failed=shop.failed,
            receives=receives,
        )  # fmt: skip
        self.solo = Solo(
            shop.setup,
            self.consumer.isolated,
            shop.emit,
            self.consumer.holds,
            shop.solo_start_s,
            shop.changed,
            shop.failed,
            self.consumer.begins_alone,
        )
        self.pollers = Pollers(
            shop.broker, queue, pace, shop.clock, shop.emit,
            take=self.consumer.take, in_flight=lambda: self.consumer.in_flight,
            free_slots=lambda: slots - self.consumer.held, ending=self.consumer.ending, failed=shop.failed,
        )  # fmt: skip
        self.consumer.wire(self.runner, self.recorder, self.settler, self.solo, self.pollers.freed, shop.failed)

    @property
    def is_idle(self) -> bool:
        """Nothing is in flight, and nothing waits to be saved or settled."""
        return not self.consumer.in_flight and self.recorder.is_idle and self.settler.is_idle

    def give_up(self) -> None:
        """From now on neither the ledger nor the broker is waited for."""
        self.recorder.give_up()
        self.settler.give_up()

    def _lost(self, flight: Flight) -> None:
        self.consumer.drop(flight, "its claim was taken by another worker")
