"""One queue's parts in a worker process, wired to each other: pollers, dispatcher, runner, recorder, settler."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from mulligan.brokers.base import Broker, Queues
from mulligan.clock import SystemClock
from mulligan.core.event import Event
from mulligan.ledger.base import Ledger
from mulligan.tasks.registry import TaskRegistry
from mulligan.worker.in_flight import InFlight
from mulligan.worker.ipc.channel import OtherVersion, Setup
from mulligan.worker.ipc.lease_table import LeaseTable
from mulligan.worker.isolation.gate import Gate
from mulligan.worker.isolation.isolated_runner import START_S, IsolatedRunner
from mulligan.worker.pipeline.admission import QueueRole
from mulligan.worker.pipeline.backpressure import Backpressure
from mulligan.worker.pipeline.dispatcher import Dispatcher
from mulligan.worker.pipeline.held_copies import MissingTasks
from mulligan.worker.pipeline.packer import Packer
from mulligan.worker.pipeline.poller import Pace, Pollers
from mulligan.worker.pipeline.recorder import Recorder
from mulligan.worker.pipeline.runner import Attempt, Middleware, Runner
from mulligan.worker.pipeline.settler import Settler

__all__ = ["PipelineDeps", "QueuePipeline"]


class PipelineDeps:
    """What all pipelines of a process share."""

    def __init__(
        self,
        broker: Broker,
        ledger: Ledger,
        queues: Queues,
        catalogue: TaskRegistry,
        table: LeaseTable,
        clock: SystemClock,
        emit: Callable[[Event], None],
        wants: Callable[[type[Event]], bool],
        *,
        packer: Packer,
        setup: Setup,
        new_token: Callable[[], str],
        stuck: Callable[[Attempt], None],
        left_alone: Callable[[InFlight, float, bool], None] = lambda _flight, _until, _is_copy: None,
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
        self.misses = MissingTasks(clock, emit)
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


class QueuePipeline:
    """All consumers of one queue in one process.

    index: 0 requests, 1 rejects. slots: of the lease table, at most; more than pace.capacity, because a message keeps
    its slot until its settlement is confirmed. receives: as in `QueueRole`.
    """

    def __init__(
        self,
        shop: PipelineDeps,
        index: int,
        pace: Pace,
        slots: int,
        *,
        holds_groups: bool = False,
        receives: int | None = None,
    ) -> None:
        queue, features = shop.queues.all[index], shop.broker.features
        stage = QueueRole(
            index, index == 1, shop.queues.prefix, pace.lease_s, pace.capacity,
            suspects_repeats=not shop.ledger.is_durable, holds_groups=holds_groups,
            holds_deliveries=not features.keeps_lease, counts_releases=features.counts_releases,
            buries_strays=shop.setup.settings.unknown_on_rejects == "dead", max_bytes=features.limits.max_bytes,
            missing_grace_s=shop.setup.settings.task_missing_grace_s, receives=receives,
            max_delay_s=features.max_delay_s, max_lease_s=features.max_lease_s,
        )  # fmt: skip
        self.dispatcher = Dispatcher(
            stage, shop.catalogue, shop.table, shop.clock, shop.emit, shop.wants,
            packer=shop.packer, misses=shop.misses, gate=shop.gate, new_token=shop.new_token,
        )  # fmt: skip
        brake = Backpressure(shop.setup.settings.unrecorded_max)
        self.runner = Runner(
            self.dispatcher.ended, shop.stuck, shop.emit, shop.middleware, self.dispatcher.holds, brake, shop.executor
        )
        brake.wire(self.runner.go_on)
        self.recorder = Recorder(
            shop.ledger, shop.clock, shop.emit, pace.lease_s,
            kept=self.dispatcher.kept, lost=self._lost, left=self.dispatcher.over, failed=shop.failed,
            brake=brake,
        )  # fmt: skip
        self.settler = Settler(
            shop.broker, shop.queues, queue, self.recorder, shop.packer, shop.table, shop.clock, shop.emit,
            buried=self.dispatcher.buried, over=self.dispatcher.over, left_alone=shop.left_alone, failed=shop.failed,
            receives=receives,
        )  # fmt: skip
        self.solo = IsolatedRunner(
            shop.setup,
            self.dispatcher.isolated,
            shop.emit,
            self.dispatcher.holds,
            shop.solo_start_s,
            shop.changed,
            shop.failed,
            self.dispatcher.begins_alone,
        )
        self.pollers = Pollers(
            shop.broker, queue, pace, shop.clock, shop.emit,
            take=self.dispatcher.take, in_flight=lambda: self.dispatcher.in_flight,
            free_slots=lambda: slots - self.dispatcher.held, ending=self.dispatcher.ending, failed=shop.failed,
        )  # fmt: skip
        self.dispatcher.wire(self.runner, self.recorder, self.settler, self.solo, self.pollers.freed, shop.failed)

    @property
    def is_idle(self) -> bool:
        """Nothing is in flight, and nothing waits to be saved or settled."""
        return not self.dispatcher.in_flight and self.recorder.is_idle and self.settler.is_idle

    def give_up(self) -> None:
        """From now on neither the ledger nor the broker is waited for."""
        self.recorder.give_up()
        self.settler.give_up()

    def _lost(self, flight: InFlight) -> None:
        self.dispatcher.drop(flight, "its claim was taken by another worker")
