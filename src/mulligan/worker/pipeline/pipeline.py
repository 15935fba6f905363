"""One queue's parts in a worker process, in the order in which a message passes through them.

pollers -> intake -> dispatcher -> runner -> recorder -> settler. Each is given those that it hands messages on to; what
happened comes back to the dispatcher as a report.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import field

from mulligan.brokers.base import Broker, Queues
from mulligan.core.event import Event
from mulligan.core.queue_role import QueueRole
from mulligan.core.value import value
from mulligan.ledger.base import Ledger
from mulligan.tasks.registry import TaskRegistry
from mulligan.worker.claim_watch import ClaimWatch
from mulligan.worker.extension import Middleware
from mulligan.worker.host import Host
from mulligan.worker.ipc.channel import OtherVersion, Setup
from mulligan.worker.ipc.lease_table import LeaseTable
from mulligan.worker.isolation.gate import Gate
from mulligan.worker.isolation.isolated_handle import START_S, isolated_handles
from mulligan.worker.isolation.isolated_runner import IsolatedRunner
from mulligan.worker.pipeline.admission import Admission
from mulligan.worker.pipeline.backpressure import Backpressure
from mulligan.worker.pipeline.capacity import Capacity
from mulligan.worker.pipeline.claims import Claims
from mulligan.worker.pipeline.decider import Decider
from mulligan.worker.pipeline.dispatcher import Dispatcher, Stages
from mulligan.worker.pipeline.held_copies import HeldCopies, MissingTasks
from mulligan.worker.pipeline.intake import Intake
from mulligan.worker.pipeline.packer import Packer
from mulligan.worker.pipeline.patient_ledger import PatientLedger
from mulligan.worker.pipeline.poller import Pace, Pollers
from mulligan.worker.pipeline.recorder import Recorder
from mulligan.worker.pipeline.reporter import EventReporter
from mulligan.worker.pipeline.runner import Runner
from mulligan.worker.pipeline.runtime import Runtime
from mulligan.worker.pipeline.settler import Settler
from mulligan.worker.pipeline.slots import Slots
from mulligan.worker.pipeline.state_reader import StateReader
from mulligan.worker.reports import Reports

__all__ = ["PipelineDeps", "QueuePipeline"]


@value
class PipelineDeps:
    """What all pipelines of a process share.

    wants: whether anybody hears events of a kind. new_token: called for the token of each claim. misses: counts what
    waits for tasks that this process doesn't know. changed: called when a child is of another build. executor: for sync
    tasks behind middleware. isolated_start_s: seconds that an isolated process has to load the tasks.
    """

    runtime: Runtime
    broker: Broker
    ledger: Ledger
    queues: Queues
    host: Host
    registry: TaskRegistry
    table: LeaseTable
    packer: Packer
    setup: Setup
    wants: Callable[[type[Event]], bool]
    new_token: Callable[[], str]
    misses: MissingTasks
    changed: Callable[[OtherVersion], None] = lambda _: None
    middleware: Sequence[Middleware] = ()
    executor: Executor | None = None
    isolated_start_s: float = START_S
    gate: Gate = field(default_factory=Gate)


class QueuePipeline:
    """All consumers of one queue in one process.

    index: 0 requests, 1 rejects. slots: of the lease table, at most; more than pace.capacity, because a message keeps
    its slot until its settlement is confirmed. receives: as in `QueueRole`.
    """

    def __init__(
        self,
        deps: PipelineDeps,
        index: int,
        pace: Pace,
        slots: int,
        *,
        holds_groups: bool = False,
        receives: int | None = None,
    ) -> None:
        runtime, settings, features = deps.runtime, deps.setup.settings, deps.broker.features
        role = QueueRole(
            index, index == 1, deps.queues.prefix, pace.lease_s,
            suspects_repeats=not deps.ledger.is_durable, holds_groups=holds_groups,
            holds_deliveries=not features.keeps_lease, counts_releases=features.counts_releases,
            buries_strays=settings.unknown_on_rejects == "dead", max_bytes=features.limits.max_bytes,
            missing_grace_s=settings.task_missing_grace_s, receives=receives,
            max_delay_s=features.max_delay_s, max_lease_s=features.max_lease_s,
        )  # fmt: skip
        reports = Reports()
        ledger = PatientLedger(deps.ledger, runtime.clock, runtime.emit)
        self.slots = Slots(deps.table, index, slots)
        backpressure = Backpressure(settings.max_unrecorded_results)
        held_copies = HeldCopies(runtime.clock, runtime.emit, counts_releases=role.counts_releases)
        reporter = EventReporter(deps.table, runtime.clock, runtime.emit, deps.wants)

        self.settler = Settler(runtime, deps.broker, deps.queues, role, ledger, deps.packer, self.slots, reports)
        admission = Admission(runtime, role, deps.registry, self.slots, deps.misses, held_copies)
        decider = Decider(role, runtime.clock)
        self.recorder = Recorder(runtime, ledger, admission, decider, reporter, backpressure, deps.gate, reports)
        self.watch = ClaimWatch(deps.table, runtime.clock)
        self.claims = Claims(runtime, ledger, deps.table, reports, pace.lease_s)
        self.runner = Runner(
            runtime, self.watch, self.recorder, backpressure, deps.middleware, deps.executor, deps.host.threads
        )
        self.isolated = IsolatedRunner(
            isolated_handles(deps.host, deps.setup, runtime.emit, deps.isolated_start_s, deps.changed),
            reports,
            deps.gate,
            self.watch,
            runtime.failed,
        )
        self.capacity = Capacity(pace.capacity, self.slots, reports, runtime.failed)
        if role.suspects_repeats:
            self.capacity.hold_off()
        self.dispatcher = Dispatcher(
            runtime,
            role,
            Stages(
                self.slots, self.claims, self.watch, self.capacity, admission, decider, self.runner, self.isolated,
                deps.gate, self.recorder, self.settler, reporter,
            ),
            reports,
        )  # fmt: skip
        reader = StateReader(runtime, role, deps.packer, ledger, deps.new_token)
        self._intake = Intake(role, reader, held_copies, ledger, self.claims, self.slots, self.capacity, reports)
        self.pollers = Pollers(runtime, deps.broker, deps.queues.all[index], pace, self.capacity, self._intake)
        self._ledger = ledger
        self._decider = decider

    @property
    def is_idle(self) -> bool:
        """Nothing is in flight, and nothing waits to be saved or settled."""
        is_kept = self.recorder.is_idle and self.claims.is_idle
        return not self.capacity.in_flight and is_kept and self.settler.is_idle

    def stop_running(self) -> None:
        """From now on start no attempt: what is unfinished is released or handed on."""
        self._decider.can_run = False
        self._intake.stop()
        self.capacity.open()

    def give_up(self) -> None:
        """From now on neither the ledger nor the broker is waited for."""
        self._ledger.give_up()
        self.settler.give_up()
