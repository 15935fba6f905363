"""One round: an application is started as a user starts it, messages flow in, and its plan is carried out on it."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mulligan.core.value import value
from tests.acceptance import fate, killing
from tests.acceptance.conftest import App, System, until
from tests.soak.broker import SqliteBroker
from tests.soak.plan import Plan

__all__ = ["Outcome", "carry_out"]

LEASE_S = 5
ENOUGH = 50
END_S = 420.0
"""A round that takes longer to become empty than this hangs."""

CODE = (
    fate.CODE.replace('"SLOW_S", "0.02"', '"SLOW_S", "0.5"')  # or all is done between two kills
    + """
    class Poison(Task):
        def accepts(self, message):
            return message.body.startswith(b"crash")

        async def run(self, data, context: TaskContext):
            with effect(data, context):
                await asyncio.sleep(0.01)
                [lambda: os._exit(0), lambda: ctypes.string_at(0), os.abort][int(data.split("-")[1]) % 3]()
"""
)
POISON_SHARE = 0.002


@value
class Outcome:
    """What a round was and came to. violations: by kind; empty when the promise was kept.

    kills: of workers, with a task in flight. in_flight: attempts that were in them. again_s: seconds until each of
    those began again, sorted. up_s: seconds until a killed worker was replaced, sorted. poison_starts: of each poison
    message.
    """

    seed: int
    faults: tuple[str, ...]
    messages: int
    took_s: float
    kills: int
    supervisor_kills: int
    in_flight: int
    repeated: int
    dead: int
    again_s: list[float]
    up_s: list[float]
    poison_starts: list[int]
    violations: dict[str, list[str]]


def carry_out(app: App, broker: SqliteBroker, plan: Plan) -> Outcome:
    """Carry a plan out in a laid-out folder. Raises AssertionError with the end of the log when the system hangs."""
    return _Round(app, broker, plan).run()


class _Round:
    def __init__(self, app: App, broker: SqliteBroker, plan: Plan) -> None:
        self._app = app
        self._broker = broker
        self._plan = plan
        self._rand = random.Random(plan.seed)
        self._bodies = _bodies(plan, self._rand)
        self._sent = 0
        self._killer = killing.Killer(app, until, self._rand, plan.messages)
        self._supervisor_kills = 0
        self._up_s: list[float] = []
        self._system: System

    def run(self) -> Outcome:
        app, plan = self._app, self._plan
        killing.lay_out(app, LEASE_S=LEASE_S)
        app.task("all", CODE)
        app.manifest("all First", "all Second", "all Third", "all Poison", "all Alert default")
        self._broker.point(app)
        began_at = time.monotonic()
        self._send(3)
        self._system = app.start().until_up()
        self._broker.begin(plan.seed, plan.faults)
        for share, what in plan.deeds:
            self._killer.wait_for_share(share, self._system)
            self._do(what)
        self._send(10)
        self._end()
        self._broker.behave()
        return self._outcome(time.monotonic() - began_at)

    def _do(self, what: str) -> None:
        deeds: dict[str, Callable[[], None]] = {
            "send": lambda: self._send(1),
            "kill worker": self._kill_worker,
            "kill supervisor": self._kill_supervisor,
            "stop worker": self._stop_worker,
            "stop supervisor": lambda: _stand_still(self._system.pid),
            "restart": self._restart,
        }
        deeds.get(what, lambda: self._broker.strike(what))()

    def _send(self, tenths: int) -> None:
        """A producer that is told of its failures sends through a service that does right."""
        self._broker.behave()
        until_now, self._sent = self._sent, min(len(self._bodies), self._sent + tenths * len(self._bodies) // 10)
        if until_now < self._sent:
            self._app.send(self._bodies[until_now : self._sent])
        self._broker.begin(self._plan.seed + self._sent, self._plan.faults)

    def _has_work(self) -> bool:
        """Whether so much is left to do that a task will be in flight when a worker is killed; more is sent if not."""
        while True:
            status = self._app.status()
            if sum(_depth(status[name]) for name in ("requests", "rejects")) >= ENOUGH:
                return True
            if self._sent == len(self._bodies):
                return False
            self._send(1)

    def _is_busy(self) -> bool:
        """Wait until a task is in flight; False when nothing is left to do. Depths of queues may be estimates."""
        deadline = time.monotonic() + END_S
        while not self._killer.busy(self._system):
            if not self._has_work():
                return False
            assert time.monotonic() < deadline, f"nothing is done for {END_S:g} s:\n{self._system.log()[-3000:]}"
            time.sleep(0.2)
        return True

    def _kill_worker(self) -> None:
        if not self._is_busy():
            return  # a kill counts only with a task in flight
        before = set(self._system.workers())
        self._killer.kill_worker(self._system)
        killed_at = time.monotonic()
        until(lambda: set(self._system.workers()) - before, "another worker takes the place of the killed one")
        self._up_s.append(time.monotonic() - killed_at)

    def _kill_supervisor(self) -> None:
        self._system.kill()
        self._supervisor_kills += 1
        self._killer.snapshot()
        self._system = self._app.start().until_up()

    def _stop_worker(self) -> None:
        _stand_still(self._rand.choice(until(self._system.workers, "there is a worker")))

    def _restart(self) -> None:
        self._system.terminate()
        code = self._system.wait()
        assert code == 0, f"it was told to end, and ended with {code}:\n{self._system.log()[-3000:]}"
        self._killer.snapshot()
        self._system = self._app.start().until_up()

    def _end(self) -> None:
        """Let the rest of the work be done under the faults that last; then end, and see whether all is empty."""
        self._system.terminate()
        code = self._system.wait()
        assert code == 0, f"it was told to end, and ended with {code}:\n{self._system.log()[-3000:]}"
        self._app.drain(END_S)

    def _outcome(self, took_s: float) -> Outcome:
        plan, killer, effects = self._plan, self._killer, self._app.effects()
        killer.snapshot()
        poison = {body for body in self._bodies if body.startswith("crash")}
        failing = fate.failing(self._bodies) | {(body, "Poison") for body in poison}
        letters = self._app.dead()
        found = killing.examine(effects, self._bodies, failing, letters, killer.snapshots)
        violations = {name: [str(one) for one in some] for name, some in found.violations.items()}
        begun = Counter(one.body for one in effects if (one.task, one.what) == ("Poison", "start"))
        starts = [begun[body] for body in poison]
        started = Counter((one.uid, one.task, one.attempt) for one in effects if one.what == "start")
        if plan.is_calm and (again := [str(one) for one, times in started.items() if times > 1]):
            violations["repeated without a fault"] = again
        # one that a restart or a lost connection cuts short does not count, one that a kill cuts short does
        if any(one < 1 for one in starts):
            violations["starts of poison"] = [str(starts)]
        status = self._app.status()
        if left := {name: one for name in ("requests", "rejects") if (one := _depth(status[name]))}:
            violations["left on queues"] = [str(left)]
        return Outcome(
            plan.seed, plan.faults, plan.messages, round(took_s, 1), len(killer.in_flight), self._supervisor_kills,
            sum(killer.in_flight), found.repeated, len(letters), killing.waits(killer.cut_off, effects),
            sorted(self._up_s), sorted(starts), violations,
        )  # fmt: skip


def _bodies(plan: Plan, rand: random.Random) -> list[str]:
    once, never = int(plan.messages * killing.FAIL_ONCE), int(plan.messages * killing.FAIL_ALWAYS)
    crash = max(1, int(plan.messages * POISON_SHARE)) if "crash" in plan.faults else 0
    kinds = ["once"] * once + ["never"] * never + ["crash"] * crash
    kinds += ["ok"] * (plan.messages - len(kinds))
    rand.shuffle(kinds)
    return [f"{kind}-{number}" for number, kind in enumerate(kinds)]


def _stand_still(pid: int) -> None:
    """For two leases, as a machine does that swaps, or that is moved."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(2 * LEASE_S)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _depth(queue: dict[str, Any]) -> int:
    return sum(queue[kind] or 0 for kind in ("ready", "delayed", "in_flight"))
