"""A run of thousands of messages under kill -9, and what must be true of it whatever the broker and its faults.

The messages' names tell their fate (`fate`). The seed that chooses victims is printed; MULLIGAN_TEST_SEED replays it.
"""

import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.acceptance import fate
from tests.acceptance.fate import TASKS

FAIL_ONCE = 0.05
FAIL_ALWAYS = 0.02
POOL = 3
CONCURRENCY = 10
TAIL_BYTES = 200_000
"""Of the effect log: some thousand lines, in which all is that can be in flight now."""


class Recorded(NamedTuple):
    """What the ledger had recorded as done at one moment, and how long the effect log was afterwards."""

    done: set[tuple[str, str]]
    log_length: int


class Killer:
    """Kills workers and supervisors of one application, each time when a share of the work is done.

    finished: (uid, task) of every completion that the ledger has recorded; the ledger's file is asked without it.
    choose: one of some pids; any of them without it.
    """

    def __init__(self, app, until, rand: random.Random, messages: int, finished=None, choose=None) -> None:
        self.app = app
        self.choose = choose or rand.choice
        self.finished = finished or app.finished
        self.until = until
        self.rand = rand
        self.messages = messages
        self.snapshots: list[Recorded] = []
        self.in_flight: list[int] = []
        self.cut_off: list[tuple[float, str, str]] = []
        """When, uid and task of what was in flight in a killed worker."""

    def wait_for_share(self, share: float, system) -> None:
        wanted = share * self.messages * len(TASKS)
        log = self.app.folder / "effects.log"

        def is_reached() -> bool:
            assert system.popen.poll() is None, f"the system ended early:\n{system.log()[-2000:]}"
            # about 65 bytes a line, two lines an attempt: only where to strike is read from it
            return log.exists() and log.stat().st_size >= wanted * 2 * 65

        self.until(is_reached, f"{share:.0%} of the work is done")

    def kill_worker(self, system) -> None:
        """SIGKILL to a random worker with a task in flight, which is a start without an end.

        It is stopped before it is looked at: a kill that hits no task would only prolong the wait for the next restart.
        """
        while True:
            pid = self.choose(self.until(lambda: self.busy(system), "a worker has a task in flight"))
            with suppress(ProcessLookupError, FileNotFoundError):  # it was just ending by itself
                os.kill(pid, signal.SIGSTOP)
                self.until(lambda stopped=pid: is_stopped(stopped), "the victim stands still")
                open_starts = in_flight(self.app.effects(tail_bytes=TAIL_BYTES), pid)
                if open_starts:
                    break
                os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGKILL)
        killed_at = time.monotonic()
        self.until(lambda: pid not in system.workers(), "the victim is gone")
        self.snapshot()
        self.in_flight.append(len(open_starts))
        self.cut_off += [(killed_at, uid, task) for uid, task, _ in open_starts]

    def busy(self, system) -> list[int]:
        assert system.popen.poll() is None, f"the system ended before all kills:\n{system.log()[-2000:]}"
        effects = self.app.effects(tail_bytes=TAIL_BYTES)
        return [pid for pid in system.workers() if in_flight(effects, pid)]

    def snapshot(self) -> None:
        done = self.finished()
        self.snapshots.append(Recorded(done, self.app.count()))


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def waits(cut_off, effects) -> list[float]:
    """Seconds until each of the attempts that were cut off began again, the shortest first."""
    starts = defaultdict(list)
    for one in effects:
        if one.what == "start":
            starts[one.uid, one.task].append(one.at)
    found = []
    for killed_at, uid, task in cut_off:
        # none: the end was recorded although the log has it not, or the message's fate was decided before
        found += [at - killed_at for at in starts[uid, task] if at > killed_at][:1]
    return sorted(found)


def in_flight(effects, pid: int) -> list[tuple[str, str, int]]:
    """Attempts (uid, task, number) that a process had begun and not ended."""
    running: Counter[tuple[str, str, int]] = Counter()
    for one in effects:
        if one.pid == pid:
            running[one.uid, one.task, one.attempt] += 1 if one.what == "start" else -1
    return [attempt for attempt, count in running.items() if count > 0]


class Run(NamedTuple):
    """A run that has ended. slots: attempts that one worker may have in flight."""

    app: object
    bodies: Sequence[str]
    killer: Killer
    kills: int
    slots: int

    @property
    def never(self) -> set[str]:
        return {body for body in self.bodies if body.startswith("never")}


def lay_out(app, **settings) -> None:
    """The tasks and settings of a run."""
    fate.lay_out(app)
    app.settings |= {
        "POOL_SIZE": POOL,
        "LEASE_S": 5,
        "CONCURRENCY": CONCURRENCY,
        "LOG_LEVEL": "INFO",
        "TASK_BACKOFF_S": 0.2,
        **settings,
    }


def carry_out(app, until, *, messages: int, worker_kills: int, supervisor_kills: int, sent=lambda: None) -> Run:
    """Send, start, kill, and wait for the end. sent: called between the sending and the start."""
    seed = int(os.environ.get("MULLIGAN_TEST_SEED") or random.SystemRandom().randrange(2**32))
    print(f"seed: MULLIGAN_TEST_SEED={seed}")
    rand = random.Random(seed)
    once, never = int(messages * FAIL_ONCE), int(messages * FAIL_ALWAYS)
    kinds = ["once"] * once + ["never"] * never + ["ok"] * (messages - once - never)
    rand.shuffle(kinds)
    bodies = [f"{kind}-{number}" for number, kind in enumerate(kinds)]
    app.send(bodies)
    sent()
    began_at = time.monotonic()

    killer = Killer(app, until, rand, messages)
    system = app.start("--drain")
    kills = worker_kills + supervisor_kills
    supervisor_at = {(number + 1) * kills // (supervisor_kills + 1) for number in range(supervisor_kills)}
    for number in range(kills):
        killer.wait_for_share(0.9 * (number + 1) / (kills + 1), system)
        if number in supervisor_at:
            system.kill()
            killer.snapshot()
            system = app.start("--drain")
        else:
            killer.kill_worker(system)
    assert system.wait(240) == 0, system.log()[-3000:]
    print(
        f"{messages} messages x {len(TASKS)} tasks in {time.monotonic() - began_at:.1f} s; {worker_kills} kills of "
        f"workers, {supervisor_kills} of the supervisor; "
        f"{sum(killer.in_flight)} attempts in flight in the killed"
    )
    return Run(app, bodies, killer, kills, -(-5 // POOL) * CONCURRENCY)


class Findings(NamedTuple):
    """What the effect log, the ledger and the dead letters say about a run; all but `repeated` must be empty.

    lost: (body, task) that neither ended well nor was to fail. unexpected: bodies that nobody sent, and second uids.
    rerun: starts after a completion that the ledger had recorded. dead: dead letters missing, or too many, by uid.
    alerts: bodies whose default task is missing, or ran without need. repeated: effects beyond the first.
    """

    lost: list[tuple[str, str]]
    unexpected: list[str]
    rerun: list[object]
    dead: list[str]
    alerts: list[str]
    repeated: int

    @property
    def violations(self) -> dict[str, list[object]]:
        """What was wrong, by kind."""
        return {name: list(found) for name, found in self._asdict().items() if name != "repeated" and found}


def examine(effects, bodies, failing, letters, snapshots) -> Findings:
    """Look at a run that has ended. failing: (body, task) that can't end well; letters: its dead letters."""
    uid_of = {one.body: one.uid for one in effects}
    ends = Counter((one.body, one.task) for one in effects if one.what == "end")
    wanted = {(body, task) for body in bodies for task in TASKS} - failing
    never = {body for body, _ in failing}
    unexpected = sorted(uid_of.keys() - set(bodies))
    if len({one.uid for one in effects}) != len(uid_of):
        unexpected += sorted({one.uid for one in effects} - set(uid_of.values()))
    rerun = [
        one
        for snapshot in snapshots
        for one in effects[snapshot.log_length :]
        if one.what == "start" and (one.uid, one.task) in snapshot.done
    ]
    told = Counter((letter["uid"], *letter["failed"]) for letter in letters)
    due = Counter((uid_of.get(body, body), task) for body, task in failing)
    dead = [str(one) for one in ((told - due) + (due - told)).elements()]
    alerted = {one.body for one in effects if one.task == "Alert"}
    ended = {body for body, task in ends if task == "Alert"}
    return Findings(
        sorted(wanted - ends.keys()),
        unexpected,
        rerun,
        dead,
        sorted((alerted - never) | (never - ended)),
        sum(count - 1 for count in ends.values()),
    )


def check(run: Run) -> None:
    """Nothing lost, nothing run again after its record, dead letters and default tasks exact."""
    app = run.app
    effects = app.effects()
    failing = fate.failing(run.bodies)
    found = examine(effects, run.bodies, failing, app.dead(), run.killer.snapshots)
    print(f"repeated effects: {found.repeated}, {found.repeated / run.kills:.2f} a kill")
    again_s = waits(run.killer.cut_off, effects)
    print(
        f"attempts that were cut off began again after {again_s[len(again_s) // 2]:.1f} s (median), "
        f"{again_s[int(len(again_s) * 0.99)]:.1f} s (p99): behind the messages that waited already"
    )
    assert found.violations == {}
    assert len(run.killer.snapshots[-1].done) > len(run.bodies)
    # every repeat is of an attempt that was in a killed worker: its slots bound them
    assert found.repeated <= run.kills * run.slots * len(TASKS)
