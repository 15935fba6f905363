"""One round: an application is started as a user starts it, messages flow in, and its plan is carried out on it."""

import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mulligan.core.value import value
from tests.acceptance.harness import fate, killing
from tests.acceptance.harness.app import App, System, until
from tests.acceptance.harness.family import end_all, family, workers
from tests.soak import poison, wild
from tests.soak.broker import SqliteBroker
from tests.soak.inspection import LIFE, going_round, left_behind, missing_workers, suspect_turns
from tests.soak.ledger import FileLedger
from tests.soak.plan import Plan

__all__ = ["Outcome", "carry_out"]

LEASE_S = 5
POOL_SIZE = 3
ENOUGH = 50
END_S = 420.0
"""A round that takes longer to become empty than this hangs."""

CODE = fate.CODE.replace('"SLOW_S", "0.02"', '"SLOW_S", "0.5"') + poison.CODE  # or all is done between two kills
POISON_SHARE = 0.002
DIES_YOUNG = 0.25
STUCK = 4
"""Messages, one of each way to be stuck: each costs a worker or a slot some ten seconds, twice."""
WILD_SHARE = 0.05
HUNG = 2
STOP_S = 8.0
"""What a stop may take beyond the grace: 3.5 s, and as much again for a busy machine."""
BLOCKED_S = 5.0
"""What is waited beyond that for a task that holds the interpreter."""
UNASKED = "it received a stop signal of its own"


@value
class Outcome:
    """What a round was and came to. violations: by kind; empty when the promise was kept.

    kills: of workers, with a task in flight. in_flight: attempts that were in them. again_s: seconds until each of
    those began again, sorted. up_s: seconds until a killed worker was replaced by a supervisor that nobody had stopped,
    sorted. poison_starts: of each message that ends its process. stop_s: seconds that stops in order took, sorted.
    suspect_turns: how often each suspect was taken up to be run alone, sorted. told: processes of tasks that outlived
    their supervisor's end in order, and are named in its log.
    """

    seed: int
    ledger: str
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
    wild: str | None = None
    stop_s: list[float] = field(default_factory=list)
    suspect_turns: list[int] = field(default_factory=list)
    told: int = 0


def carry_out(app: App, broker: SqliteBroker, ledger: FileLedger, plan: Plan) -> Outcome:
    """Carry a plan out in a laid-out folder. When the system hangs, that is a violation with the end of the log."""
    return _Round(app, broker, ledger, plan).run()


class _Round:
    def __init__(self, app: App, broker: SqliteBroker, ledger: FileLedger, plan: Plan) -> None:
        self._app = app
        self._broker = broker
        self._ledger = ledger
        self._plan = plan
        self._rand = random.Random(plan.seed)
        self._bodies = _bodies(plan, self._rand)
        self._sent = 0
        self._killer = killing.Killer(
            app, until, self._rand, plan.messages, lambda: ledger.finished(app), self._victim, self._busy
        )
        self._supervisor_kills = 0
        self._up_s: list[float] = []
        self._hands = ThreadPoolExecutor(2)
        self._stops: list[Future[None]] = []
        self._system: System
        self._lives = 0
        self._stop_s: list[float] = []
        self._told = 0
        self._wrong: dict[str, list[str]] = {}
        """What was seen to be wrong on the way."""

    def run(self) -> Outcome:
        app, began_at = self._app, time.monotonic()
        try:
            self._work()
            outcome = self._outcome(time.monotonic() - began_at, self._examined())
            if outcome.violations:
                self._keep_logs()
            return outcome
        except (Exception, pytest.fail.Exception) as exc:  # the figures of all other rounds are kept
            self._keep_logs()
            wrong = {"did not end": [str(exc)], **self._wrong, **self._wrong_in_log()}
            return self._outcome(time.monotonic() - began_at, _Examined(wrong, 0, 0, [], []))
        finally:
            self._hands.shutdown()
            end_all(lambda: family(app))
            with suppress(Exception):  # it has been told, or the next round will tell
                self._wait_for_services()
                self._broker.behave()
                self._broker.leave(app)

    def _keep_logs(self) -> None:
        self._broker.keep_logs(self._app.folder)
        self._ledger.keep_logs(self._app.folder)

    def _work(self) -> None:
        app, plan = self._app, self._plan
        killing.lay_out(app, POOL_SIZE=POOL_SIZE, CONCURRENCY=10, LEASE_S=LEASE_S)
        app.task("all", CODE + (wild.CODE if plan.wild else ""))
        entries = (*poison.ENTRIES, *(wild.ENTRIES if plan.wild else ()))
        app.manifest("all First", "all Second", "all Third", *entries, "all Alert default")
        for name in wild.LATE:
            (app.folder / f"{name}.py").touch()
        app.environment["AT_IMPORT"] = plan.wild or ""
        self._broker.point(app)
        self._ledger.point(app)
        self._send(3)
        self._start()
        self._broker.begin(plan.seed, plan.faults)
        for share, what in plan.deeds:
            self._killer.wait_for_share(share, self._system)
            self._do(what)
        self._send(10)
        self._end()
        self._broker.behave()

    def _do(self, what: str) -> None:
        """Those that take long go on beside what follows."""
        match what:
            case "send":
                self._send(1)
            case "kill worker":
                self._kill_worker()
            case "kill supervisor":
                self._kill_supervisor()
            case "restart":
                self._restart()
            case "stop worker":
                self._stop(self._rand.choice(until(self._system.workers, "there is a worker")))
            case "stop supervisor":
                self._stop(self._system.pid)
            case _ if what.startswith("ledger"):
                self._ledger.strike(what)
            case _:
                self._broker.strike(what)

    def _stop(self, pid: int) -> None:
        self._stops.append(self._hands.submit(_stand_still, pid))

    def _start(self) -> None:
        """A start needs what it leans on."""
        self._wait_for_services()
        self._lives += 1
        self._app.environment[LIFE] = str(self._lives)
        self._system = self._app.start().until_up()

    def _wait_for_services(self) -> None:
        self._broker.wait()
        self._ledger.wait()

    def _send(self, tenths: int) -> None:
        """A producer that is told of its failures sends through a service that does right."""
        self._broker.wait()
        self._broker.behave()
        until_now, self._sent = self._sent, min(len(self._bodies), self._sent + tenths * len(self._bodies) // 10)
        if until_now < self._sent:
            self._app.send(self._bodies[until_now : self._sent])
        self._broker.begin(self._plan.seed + self._sent, self._plan.faults)

    def _has_work(self) -> bool:
        """Whether so much is left to do that a task will be in flight when a worker is killed; more is sent if not."""
        while True:
            self._wait_for_services()
            status = self._app.status()
            if sum(_depth(status[name]) for name in ("requests", "rejects")) >= ENOUGH:
                return True
            if self._sent == len(self._bodies):
                return False
            self._send(1)

    def _busy(self, system: System) -> list[int]:
        """Workers with a task in flight, once there are some; none when nothing is left to do.

        More is sent meanwhile when all is done. Depths of queues may be estimates.
        """
        deadline = time.monotonic() + END_S
        while not (busy := self._killer.busy(system)):
            if not self._has_work():
                break
            assert time.monotonic() < deadline, f"nothing is done for {END_S:g} s:\n{system.log()[-3000:]}"
            time.sleep(0.2)
        return list(busy)

    def _kill_worker(self) -> None:
        before = set(workers(self._system).values())
        if not self._killer.kill_worker(self._system):
            return  # a kill counts only with a task in flight
        killed_at, was_free = time.monotonic(), self._is_free()
        try:
            until(
                lambda: set(workers(self._system).values()) - before, "another worker is up in place of the killed one"
            )
        except AssertionError:
            self._look_for_missing()
            raise
        if was_free and self._is_free():
            self._up_s.append(time.monotonic() - killed_at)

    def _victim(self, busy: Sequence[int]) -> int:
        """Mostly the oldest: who dies young is replaced later and later, and all would wait for that."""
        if self._rand.random() < DIES_YOUNG:
            return self._rand.choice(busy)
        return min(busy, key=_started)

    def _is_free(self) -> bool:
        return all(stop.done() for stop in self._stops)

    def _kill_supervisor(self) -> None:
        self._system.kill()
        self._supervisor_kills += 1
        self._killer.snapshot()
        self._start()

    def _restart(self) -> None:
        self._stop_in_order()
        self._killer.snapshot()
        self._start()

    def _stop_in_order(self) -> None:
        """SIGTERM; the exit code has to be 0, in time, whatever the tasks have started."""
        was_free, system = self._is_free(), self._system
        began_at = time.monotonic()
        system.terminate()
        code = system.wait()
        took_s = time.monotonic() - began_at
        assert code == 0, f"it was told to end, and ended with {code}:\n{system.log()[-3000:]}"
        if was_free and self._is_free():
            self._stop_s.append(took_s)
            limit_s = self._grace_s + STOP_S + (BLOCKED_S if "stuck" in self._plan.faults else 0.0)
            if took_s > limit_s:
                self._is_wrong("stops that took too long", f"{took_s:.1f} s, at most {limit_s:g} s: {system.stderr}")
        self._look_for_left(system)

    @property
    def _grace_s(self) -> float:
        shutdown_s = float(self._app.settings["SHUTDOWN_S"])
        return max(shutdown_s - 5.0, shutdown_s / 2)

    def _is_wrong(self, kind: str, what: str) -> None:
        self._wrong.setdefault(kind, []).append(what)

    def _look_for_left(self, system: System) -> None:
        found, told = left_behind(self._app, str(self._lives), system)
        self._told += told
        for one in found:
            self._is_wrong("processes of tasks left behind", one)

    def _look_for_missing(self) -> None:
        for one in missing_workers(self._system, POOL_SIZE):
            self._is_wrong("workers missing", one)

    def _look_for_suspects(self) -> None:
        for one in going_round(lambda: suspect_turns(self._log()), self._unended):
            self._is_wrong("suspects that go round", one)

    def _unended(self, uids: Iterable[str]) -> list[str]:
        """Those that are not done yet, and not buried when that is their fate."""
        effects = self._app.effects()
        body_of = {one.uid: one.body for one in effects}
        ended = {(one.body, one.task) for one in effects if one.what == "end"}
        failing = {body for body, _ in self._failing}
        wanted = {(body, task) for body in self._bodies for task in fate.TASKS} | wild.wanted(self._bodies)
        unfinished = {body for body, _ in wanted - ended}
        buried: set[str] | None = None
        found = []
        for uid in uids:
            if (body := body_of.get(uid)) not in failing:
                is_over = body is not None and body not in unfinished
            else:
                buried = {str(letter["uid"]) for letter in self._app.dead()} if buried is None else buried
                is_over = uid in buried
            if not is_over:
                found.append(uid)
        return found

    def _wrong_in_log(self) -> dict[str, list[str]]:
        log = self._log()
        found = {
            "workers that stopped unasked": re.findall(rf".*{UNASKED}.*", log),
            "tasks that hung": re.findall(rf".* (?:{'|'.join(wild.TASKS)}) failed .*timed out after.*", log),
            "deaths without a fault": re.findall(r".* died: .*", log) if self._plan.is_calm else [],
        }
        return {kind: lines for kind, lines in found.items() if lines}

    def _log(self) -> str:
        """Of all systems of this round."""
        return "".join(path.read_text("utf-8", "replace") for path in sorted(self._app.folder.glob("stderr-*.log")))

    @property
    def _failing(self) -> set[tuple[str, str]]:
        return fate.failing(self._bodies) | poison.failing(self._bodies) | wild.failing(self._bodies)

    def _end(self) -> None:
        """Let the rest of the work be done under the faults that last; then end, and see whether all is empty."""
        for stop in self._stops:
            stop.result()
        self._wait_for_services()
        self._look_for_suspects()
        self._look_for_missing()
        self._stop_in_order()
        self._lives += 1
        self._app.environment[LIFE] = str(self._lives)
        self._look_for_left(self._app.drain(END_S))

    def _examined(self) -> "_Examined":
        plan, killer, effects = self._plan, self._killer, self._app.effects()
        killer.snapshot()
        letters = self._app.dead()
        found = killing.examine(effects, self._bodies, self._failing, letters, killer.snapshots)
        violations = {name: [str(one) for one in some] for name, some in found.violations.items()} | self._wrong
        ended = {(one.body, one.task) for one in effects if one.what == "end"}
        if lost := sorted(wild.wanted(self._bodies) - ended):
            violations["lost"] = violations.get("lost", []) + [str(one) for one in lost]
        begun = Counter(one.body for one in effects if (one.task, one.what) == ("Crash", "start"))
        starts = [begun[body] for body in self._bodies if body.startswith("crash")]
        started = Counter((one.uid, one.task, one.attempt) for one in effects if one.what == "start")
        # what was beyond the grace when the round was stopped in order begins again, as it should
        started.subtract((one.uid, one.task, one.attempt) for one in effects if one.what == "cut")
        if plan.is_calm and (again := [str(one) for one, times in started.items() if times > 1]):
            violations["repeated without a fault"] = again
        # one that a restart or a lost connection cuts short does not count, one that a kill cuts short does
        if any(one < 1 for one in starts):
            violations["starts of poison"] = [str(starts)]
        violations |= self._wrong_in_log()
        status = self._app.status()
        if left := {name: one for name in ("requests", "rejects") if (one := _depth(status[name]))}:
            violations["left on queues"] = [str(left)]
        return _Examined(
            violations, found.repeated, len(letters), killing.waits(killer.cut_off, effects), sorted(starts)
        )

    def _outcome(self, took_s: float, examined: "_Examined") -> Outcome:
        plan, in_flight = self._plan, self._killer.in_flight
        return Outcome(
            plan.seed, plan.ledger, plan.faults, plan.messages, round(took_s, 1), len(in_flight),
            self._supervisor_kills, sum(in_flight), examined.repeated, examined.dead, examined.again_s,
            sorted(self._up_s), examined.poison_starts, examined.violations, plan.wild, sorted(self._stop_s),
            sorted(suspect_turns(self._log()).values()), self._told,
        )  # fmt: skip


class _Examined(NamedTuple):
    """What the end of a round says; see Outcome."""

    violations: dict[str, list[str]]
    repeated: int
    dead: int
    again_s: list[float]
    poison_starts: list[int]


def _bodies(plan: Plan, rand: random.Random) -> list[str]:
    once, never = int(plan.messages * killing.FAIL_ONCE), int(plan.messages * killing.FAIL_ALWAYS)
    crash = max(1, int(plan.messages * POISON_SHARE)) if "crash" in plan.faults else 0
    kinds = ["once"] * once + ["never"] * never + ["crash"] * crash
    kinds += (["wild"] * int(plan.messages * WILD_SHARE) + ["hung"] * HUNG) if plan.wild else []
    kinds += ["ok"] * (plan.messages - len(kinds))
    rand.shuffle(kinds)
    if "stuck" in plan.faults:  # among the first, or all else is done and waits for them
        kinds[1 : 1 + STUCK] = ["stuck"] * STUCK
    return [f"{kind}-{number}" for number, kind in enumerate(kinds)]


def _stand_still(pid: int) -> None:
    """For two leases, as a machine does that swaps, or that is moved."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(2 * LEASE_S)
        finally:
            os.kill(pid, signal.SIGCONT)


def _started(pid: int) -> int:
    """The order in which processes were started; one that is gone comes last."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return sys.maxsize


def _depth(queue: dict[str, Any]) -> int:
    return sum(queue[kind] or 0 for kind in ("ready", "delayed", "in_flight"))
