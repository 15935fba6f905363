"""One simulated history: a service, its messages, its faults, its end. Everything random comes from the seed."""

import asyncio
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from mulligan.cli.dead_letter import copy_of, dead_letter_of, nothing_runs, renewed
from mulligan.core import fingerprint
from mulligan.core.delivery import Outgoing, Queues
from mulligan.core.error import LeftUndoneError, MulliganError, PackingError
from mulligan.core.message import QueueName
from mulligan.core.progress import State, merge
from mulligan.ledger.memory import MemoryLedger
from mulligan.settings.model import Settings
from mulligan.telemetry.hub import Hub
from mulligan.worker.ipc.lease_table import LeaseTable
from mulligan.worker.supervisor.supervisor import Supervisor
from tests.simulation.broker import FEATURES, SimBroker, SimQueues
from tests.simulation.loop import BEGINS_AT, Process, SimLoop
from tests.simulation.mover import Mover
from tests.simulation.newer import Newer
from tests.simulation.plan import Plan
from tests.simulation.stand_in import SimHost
from tests.simulation.watch import Watch

__all__ = ["EPOCH", "World"]

EPOCH = 1_700_000_000.0

_RATES = {
    "false_empty": 0.3, "reorder": 0.5, "twin": 0.05, "twin_send": 0.02, "returns": 0.03, "lost_request": 0.05,
    "lost_reply": 0.04, "partial": 0.06, "slow": 0.04, "stuck": 0.004, "refused_call": 0.004, "no_child": 0.1,
}  # fmt: skip


class _Clock:
    """The wall clock may jump, of all or of one host; the other never does. host: None for the servers'."""

    def __init__(self, world: "World", host: int | None = None) -> None:
        self._world = world
        self._host = host
        self.random = world.dice.random

    def now(self) -> float:
        ahead_s = 0.0 if self._host is None else self._world.ahead_s[self._host]
        return self._world.true_now() + self._world.jumped_s + ahead_s

    def monotonic(self) -> float:
        return self._world.loop.time()


class World:
    """faults: the kinds that this history has, with their rates. is_calm: none of them."""

    def __init__(self, seed: int, loop: SimLoop) -> None:
        self.seed = seed
        self.loop = loop
        loop.world = self
        dice = self.dice = random.Random(f"mulligan/{seed}")
        self.kind = dice.choice(list(FEATURES))
        ending = ".fifo" if self.kind == "fifo" else ""
        self.queues = Queues("t", QueueName(f"t-requests-q{ending}"), QueueName("t-rejects-q"), QueueName("t-dead-q"))
        self.bodies_hidden_until = 0.0
        self.damaged: dict[str, float] = {}
        self.features = FEATURES[self.kind]
        if self.kind == "short" and seed % 2:  # what waits there for long is in flight
            most = random.Random(f"crowd/{seed}").choice((2, 6, 20))
            self.features = replace(self.features, max_in_flight=most)
        self.is_calm = dice.random() < 0.2
        # dice of its own, as for all that came later: the other histories are as they would be
        own = random.Random(f"redrive/{seed}")
        has_redrive = seed % 8 == 3 and seed % 7 != 4 and self.features.keeps_lease
        self.receives = dict.fromkeys(self.queues.all[:2], own.choice((2, 3, 5))) if has_redrive else {}
        """How often a queue gives a message before it moves it away."""
        self.is_calm |= bool(self.receives) and own.random() < 0.7
        away = random.Random(f"away/{seed}")
        self.ledger_away_s = 0.0
        """How long the ledger is away once, though nothing else goes wrong; as a share of a lease until below."""
        if seed % 5 == 1 and seed % 7 != 4:
            self.ledger_away_s = away.choice((0.6, 0.9, 1.5))
            self.is_calm = True
        self.ledger_away_at = 20.0 * away.random()
        self._away = away
        self.is_bad = False
        self.is_estimating = dice.random() < 0.3
        self.is_lenient = dice.random() < 0.2
        strength = dice.choice((0.3, 1.0, 2.0))
        self.rates = {} if self.is_calm else {k: v * strength for k, v in _RATES.items() if dice.random() < 0.6}
        if self.kind == "fifo" and self.rates:
            self.rates["ends_early"] = 0.15  # not drawn: it would change the histories of all other brokers, too
        self.broker_down_until = self.ledger_down_until = 0.0
        self.outage_hang_s = dice.choice((0.0, 5.0, 25.0))
        self.jumped_s = 0.0
        self.has_jumped = False
        own = random.Random(f"clocks/{seed}")
        self.has_host_clocks = seed % 5 == 3 and not self.is_calm
        """There are two hosts, and a jump is of one's clock."""
        self.ahead_s = [0.0, own.choice((-3600.0, 0.0, 3600.0)) if self.has_host_clocks else 0.0]
        """Seconds by which the clock of a host is ahead of those of the servers."""
        self.clock = _Clock(self)
        self.clocks = [_Clock(self, host) for host in (0, 1)]
        self.rows = MemoryLedger(self.clock)  # type: ignore[arg-type]
        self.newer = Newer(self)
        self.mover = Mover(self)
        self.watch = Watch(self)
        self.stored = SimQueues(self)
        self.plan = Plan(self, dice)
        self.plan.is_wild &= not (self.receives and self.is_calm)
        self.has_changed = self.plan.lacking is not None  # on one host, from the start
        self.bodies: dict[str, bytes] = {}
        self.workers: list[Process] = []
        self.supervisors: list[Process] = []
        self.tables: list[LeaseTable] = []
        self.thread_act: Any = None
        self.connections: list[SimBroker] = []
        self.isolated_hit: set[tuple[str, int]] = set()
        self._lives = 0
        self._running: dict[int, Supervisor] = {}
        self._drains: dict[int, bool] = {}
        self._lost: set[int] = set()
        self._scarce = random.Random(f"scarce/{seed}")
        self.is_scarce = seed % 17 in (9, 11, 12, 14) and not self.is_calm
        """At times the system has no process, and services that are down can't be opened either."""
        self.isolated = 1 + seed % 3
        """Processes for suspects, of each worker's queues."""
        self.left_undone = False
        """How the last `--drain` ended."""
        self.messages = dice.choice((4, 10, 20, 30))
        self.lease_s = dice.choice((10.0, 20.0, 60.0))
        self.ledger_away_s *= self.lease_s
        self.settings = Settings(
            common_prefix="t",
            requests_queue=self.queues.requests,
            fifo_on_failure=dice.choice(("block_group", "continue_group")),
            unknown_on_rejects="dead" if self.mover.is_there or seed % 9 == 5 else "run",
            broker_url="sim:",
            ledger_url="sim:",
            lease_s=self.lease_s,
            no_of_requests_consumers=dice.randint(1, 3),
            no_of_rejects_consumers=dice.randint(1, 2),
            pool_size=dice.randint(1, 3),
            concurrency=dice.choice((1, 2, 4, 8)),
            shutdown_s=dice.choice((2.0, 10.0, 25.0)),
            receive_linger_s=20.0 if seed % 7 == 3 else 0.1,  # long: then much is asked for ahead
            task_missing_grace_s=random.Random(f"grace/{seed}").choice((0.0, 100.0, 3000.0)),
            start_wait_s=5.0 if self.is_scarce else 60.0,
            max_unrecorded_results=1 + seed % 3 if seed % 11 == 7 else 0,
        )  # fmt: skip

    # -- what the stand-ins ask

    def true_now(self) -> float:
        return EPOCH + self.loop.time() - BEGINS_AT

    def chance(self, name: str) -> bool:
        return self.is_bad and name in self.rates and self.dice.random() < self.rates[name]

    def has_no_process(self, rate: float) -> bool:
        return self.is_bad and self.is_scarce and self._scarce.random() < rate

    def is_away_at_start(self, until: float) -> bool:
        """Whether a service that is down until then can't be opened."""
        return self.is_bad and self.is_scarce and until > self.loop.time()

    def latency(self) -> float:
        return self.dice.choice((0.0, 0.001, 0.01)) if self.is_bad else 0.001

    async def ledger_hangs(self) -> None:
        """A ledger that is away may be silent: then a call takes its limit to find out."""
        if self.ledger_away_s and self._away.random() < 0.5:
            await asyncio.sleep(10.0)

    async def reconnect(self) -> None:
        """What a ledger that was away takes for its first answers."""
        if self.ledger_down_until < self.loop.time() < self.ledger_down_until + 5.0 and self.ledger_away_s:
            await asyncio.sleep(2.0 * self._away.random())

    async def slow(self) -> None:
        if self.chance("slow"):
            await asyncio.sleep(self.dice.random() * 8)
        elif self.chance("stuck"):
            await asyncio.sleep(self.dice.random() * 2.5 * self.lease_s)

    def body(self, number: int) -> bytes:
        size = 800 if self.kind == "small" and number % 3 == 0 else 0
        return f"{number} of {self.seed} ".encode() + random.Random(number).randbytes(size // 2).hex().encode()

    def loaded(self, name: str) -> bytes:
        if name not in self.bodies or self.bodies_hidden_until > self.loop.time():
            raise PackingError(f"there is no body {name}")
        return self.bodies[name]

    def table(self, table: LeaseTable) -> LeaseTable:
        self.tables.append(table)
        return table

    def lives(self) -> int:
        self._lives += 1
        return self._lives

    def listener(self, process: Process) -> Any:
        return lambda one: self.watch.heard(process, one)

    def plan_death(self, process: Process) -> None:
        """Some workers are killed at one of their steps, any of them."""
        if self.is_bad and self.rates and self.dice.random() < 0.15:
            process.dies_at = int(2 ** (self.dice.random() * 11))

    def stop(self, process: Process, seconds: float) -> None:
        """As SIGSTOP does, or a task that holds the interpreter."""
        self.loop.told(process, f"stands still for {seconds:g} s")
        self.watch.disturb(process)
        process.stop_for(seconds)

    # -- hosts

    def begin(self, host: int, *, drains: bool = False) -> None:
        """Start `python main.py` on a host."""
        self._drains[host] = drains
        process = Process(self.loop, f"s{host}.{self.lives()}")
        self.supervisors.append(process)
        process.spawn(self._main(host, process, drains))

    async def _main(self, host: int, process: Process, drains: bool) -> None:
        hub = Hub([self.listener(process)])
        machine, folder = SimHost(self, host), Path()
        broker, ledger = machine.open_broker("sim:", hub.emit, folder), machine.open_ledger("sim:", folder)
        mine = Supervisor(self.settings, broker, ledger, hub, machine, folder)
        self._running[host] = mine
        self.left_undone = False
        try:
            await mine.run(drains=drains, for_s=None)
        except LeftUndoneError:
            self.left_undone = True
        except MulliganError:
            pass
        process.end(0)

    def lose_host(self, process: Process, context: Any) -> None:
        """A task takes its whole host down: every process of it is gone at once, and a new one is started."""
        if process.is_dead:
            return
        host = int(process.name[1 : process.name.index(".")])
        self.loop.told(process, f"takes down host {host}")
        if not self.watch.host_lost((context.uid, context.generation)):
            process.end(-9)  # it is known that this goes on and on
            return
        is_alone = "/" in process.name
        self.kill_host(host, blames_alone=not is_alone)
        wait_s = self.lease_s * random.Random(f"{self.seed}/{self._lives}").random()
        self._lost.add(host)
        self.loop.call_plainly(wait_s, lambda: self._begin_again(host))  # not of the process that is gone

    def _begin_again(self, host: int) -> None:
        self._lost.discard(host)
        if not self.alive(host):  # else somebody was faster
            self.begin(host, drains=self._drains[host])

    def is_lost(self, host: int) -> bool:
        """Whether a task has taken the host down, and it is not there again."""
        return host in self._lost

    def kill_host(self, host: int, *, blames_alone: bool = True) -> None:
        """All of its processes are gone at once. blames_alone: it is not a doing of what runs alone there."""
        if blames_alone:
            self.watch.blamed(host)
        for one in self.alive(host):
            one.kill()

    def stop_host(self, host: int) -> None:
        """SIGTERM to a supervisor."""
        if host in self._running:
            self._running[host].stop("SIGTERM")

    def is_down(self) -> bool:
        """Whether an outage goes on."""
        return max(self.broker_down_until, self.ledger_down_until) > self.loop.time()

    def alive(self, host: int) -> list[Process]:
        """The processes of a host."""
        mine = (f"s{host}.", f"w{host}.")
        return [one for one in (*self.supervisors, *self.workers) if not one.is_dead and one.name.startswith(mine)]

    def is_held(self, stored: Any) -> bool:
        """Whether nothing of a message is pending but tasks that are in no tasks.xml of the first host."""
        row = self.rows._rows.get((stored.uid, stored.generation))
        known = row.progress if row is not None else None
        progress = merge(known, stored.progress) if known and stored.progress else known or stored.progress
        if progress is None:
            return False
        marks = progress.alerts if progress.is_buried else progress.marks
        pending = {task for task, mark in marks.items() if mark.state is State.PENDING}
        return bool(pending) and not pending & {spec.name for spec in self.plan.specs}

    def held(self) -> int:
        """How many messages wait for nothing but such tasks."""
        names = (self.queues.requests, self.queues.rejects)
        return sum(self.is_held(one) for name in names for one in self.stored.queues[name].stored.values())

    # -- messages

    def publish(self, number: int) -> None:
        """Have a message accepted, by one of the ways in which they come."""
        dice, attributes = self.dice, {}
        way = dice.random()
        if way < 0.6:
            hexed = f"{dice.getrandbits(32):08x}"
            attributes["mulligan-uid"] = fingerprint.new_id(self.true_now(), hexed)
        if way > 0.9:  # a producer that would like to choose which tasks run
            tasks = {spec.name: ["d", 1] for spec in self.plan.specs if not spec.is_default}
            attributes["mulligan"] = _forged(tasks)
        group = f"group{number % 3}" if self.kind == "fifo" else None
        outgoing = Outgoing(self.body(number), attributes, group=group, dedup_id=f"{number}")
        queue = self.queues.rejects if 0.85 < way <= 0.9 else self.queues.requests
        self.loop.told("PRODUCER", f"sends message {number} to {queue}")
        self.stored.put(queue, outgoing)
        # not where the ledger is away: the claim of the one runs out meanwhile, and the other's is asked for first
        if way < 0.6 and dice.random() < 0.15 and not self.ledger_away_s:
            self.stored.put(queue, outgoing)

    def replay(self) -> None:
        """Replay the dead letters, as `mulligan dead replay` does; now and then one stays on dead all the same."""
        dead = self.stored.queues[self.queues.dead]
        for name, stored in list(dead.stored.items()):
            letter = dead_letter_of(stored.delivery, self.queues.prefix, lambda name, size: self.loaded(name))
            if letter.is_too_new:  # as `mulligan dead replay` does
                continue
            registry = self.plan.registry()
            try:
                progress = renewed(letter, registry.route(letter.message), registry.names)
            except SystemExit:  # of a task's `accepts`: it ends the command
                continue
            if letter.body_problem is not None and self.bodies_hidden_until > self.loop.time():
                continue
            if letter.body_problem is not None:
                self.watch.wrong(f"the body of dead letter {letter.uid} is gone: {letter.body_problem}")
                continue
            if nothing_runs(letter, progress, registry.names) is not None:
                continue
            packed, _ = copy_of(letter, progress, self.features.limits)
            if packed.stored is not None:
                self.bodies[packed.stored.name] = packed.stored.content
            self.loop.told("PERSON", f"replays {letter.uid}")
            self.stored.put(self.queues.rejects, Outgoing(packed.body, packed.attributes, group=letter.group))
            if self.dice.random() < 0.9:
                del dead.stored[name]


def _forged(tasks: dict[str, list[Any]]) -> str:
    uid = f"{int(EPOCH * 1000):012x}-forged"
    return json.dumps({"v": 1, "uid": uid, "gen": 0, "hop": 3, "seen": EPOCH, "tasks": tasks})
