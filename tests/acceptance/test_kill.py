"""Ten thousand messages under kill -9: what was promised, counted from the effect log, the ledger and the queues.

The messages' names tell their fate: `ok` succeeds, `once` has one task that fails the first time, `never` has one that
fails every time. The seed that chooses victims is printed; MULLIGAN_TEST_SEED replays it.
"""

import os
import random
import signal
import time
from collections import Counter, defaultdict
from typing import NamedTuple

import pytest

MESSAGES = 10_000
FAIL_ONCE = 500
FAIL_ALWAYS = 200
WORKER_KILLS = 20
SUPERVISOR_KILLS = 2
TASKS = ("First", "Second", "Third")
POOL = 3
CONCURRENCY = 10

CODE = """
    def fails(context, data, place):
        kind, number = data.split("-")
        return int(number) % 3 == place and (kind == "never" or (kind == "once" and context.attempt == 1))

    class First(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                await asyncio.sleep(0.02)
                if fails(context, data, 0):
                    raise RuntimeError("as its name says")

    class Second(Task):
        def run(self, data, context: TaskContext):
            with effect(data, context):
                time.sleep(0.003)
                if fails(context, data, 1):
                    raise RuntimeError("as its name says")

    class Third(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                if fails(context, data, 2):
                    raise RuntimeError("as its name says")

    class Alert(Task):
        async def run(self, data, context: TaskContext):
            with effect(data, context):
                await asyncio.sleep(0.002)
"""


class Recorded(NamedTuple):
    """What the ledger had recorded as done at one moment, and how long the effect log was afterwards."""

    done: set[tuple[str, str]]
    log_length: int


class Killer:
    """Kills workers and supervisors of one application, each time when a share of the work is done."""

    def __init__(self, app, until, rand: random.Random) -> None:
        self.app = app
        self.until = until
        self.rand = rand
        self.snapshots: list[Recorded] = []
        self.in_flight: list[int] = []
        self.cut_off: list[tuple[float, str, str]] = []
        """When, uid and task of what was in flight in a killed worker."""
        self.misses = 0

    def wait_for_share(self, share: float, system) -> None:
        wanted = share * MESSAGES * len(TASKS)
        log = self.app.folder / "effects.log"

        def is_reached() -> bool:
            assert system.popen.poll() is None, f"the system ended early:\n{system.log()[-2000:]}"
            # about 65 bytes a line, two lines an attempt: only where to strike is read from it
            return log.exists() and log.stat().st_size >= wanted * 2 * 65

        self.until(is_reached, f"{share:.0%} of the work is done")

    def kill_worker(self, system) -> None:
        """SIGKILL to a random busy worker, until one was hit with a task in flight: a start without an end."""
        while True:
            busy = self.until(lambda: self.busy(system), "a worker has a task in flight")
            pid = self.rand.choice(busy)
            os.kill(pid, signal.SIGKILL)
            killed_at = time.monotonic()
            self.until(lambda gone=pid: gone not in system.workers(), "the victim is gone")
            # the dead write no more: what is in the log now is all that it did
            open_starts = in_flight(self.app.effects(), pid)
            self.snapshot()
            if open_starts:
                self.in_flight.append(len(open_starts))
                self.cut_off += [(killed_at, uid, task) for uid, task, _ in open_starts]
                return
            self.misses += 1

    def busy(self, system) -> list[int]:
        effects = self.app.effects()[-2_000:]
        return [pid for pid in system.workers() if in_flight(effects, pid)]

    def snapshot(self) -> None:
        done = self.app.finished()
        self.snapshots.append(Recorded(done, self.app.count()))


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


@pytest.fixture
def killed(app):
    app.task("all", CODE)
    app.manifest("all First", "all Second", "all Third", "all Alert default")
    app.settings |= {
        "POOL_SIZE": POOL,
        "LEASE_S": 5,
        "CONCURRENCY": CONCURRENCY,
        "LOG_LEVEL": "INFO",
        "TASK_BACKOFF_S": 0.2,
    }
    return app


@pytest.mark.timeout(600)
def test_nothing_is_lost_or_run_again_after_its_record_under_twenty_two_kills(killed, until):
    app = killed
    seed = int(os.environ.get("MULLIGAN_TEST_SEED") or random.SystemRandom().randrange(2**32))
    print(f"seed: MULLIGAN_TEST_SEED={seed}")
    rand = random.Random(seed)
    kinds = ["once"] * FAIL_ONCE + ["never"] * FAIL_ALWAYS + ["ok"] * (MESSAGES - FAIL_ONCE - FAIL_ALWAYS)
    rand.shuffle(kinds)
    bodies = [f"{kind}-{number}" for number, kind in enumerate(kinds)]
    app.send(bodies)
    began_at = time.monotonic()

    killer = Killer(app, until, rand)
    system = app.start("--drain")
    kills = WORKER_KILLS + SUPERVISOR_KILLS
    supervisor_at = (kills // 3, 2 * kills // 3)
    for number in range(kills):
        killer.wait_for_share(0.9 * (number + 1) / (kills + 1), system)
        if number in supervisor_at:
            system.kill()
            killer.snapshot()
            system = app.start("--drain")
        else:
            killer.kill_worker(system)
    assert system.wait(240) == 0, system.log()[-3000:]
    took_s = time.monotonic() - began_at

    effects = app.effects()
    uid_of = {one.body: one.uid for one in effects}
    ends = Counter((one.body, one.task) for one in effects if one.what == "end")
    repeated = sum(count - 1 for count in ends.values())
    lost_count = sum(killer.in_flight)
    print(
        f"{MESSAGES} messages x {len(TASKS)} tasks in {took_s:.1f} s; {WORKER_KILLS} kills of workers "
        f"({killer.misses} more hit none in flight), {SUPERVISOR_KILLS} of the supervisor; "
        f"{lost_count} attempts in flight in the killed; repeated effects: {repeated}, {repeated / kills:.2f} a kill"
    )
    again_s = waits(killer.cut_off, effects)
    print(
        f"attempts that were cut off began again after {again_s[len(again_s) // 2]:.1f} s (median), "
        f"{again_s[int(len(again_s) * 0.99)]:.1f} s (p99): behind the messages that waited already"
    )

    # lost = 0: every message was seen, and each of its tasks has ended well or is exhausted
    never = {body for body in bodies if body.startswith("never")}
    failing = {(body, TASKS[int(body.split("-")[1]) % 3]) for body in never}
    assert uid_of.keys() == set(bodies)
    assert {(body, task) for body in bodies for task in TASKS} - failing == {
        (body, task) for body, task in ends if task in TASKS
    }
    assert app.waiting("requests") == app.waiting("rejects") == 0

    # no task starts again after its recorded completion
    for snapshot in killer.snapshots:
        again = [
            one
            for one in effects[snapshot.log_length :]
            if one.what == "start" and (one.uid, one.task) in snapshot.done
        ]
        assert again == []
    assert len(killer.snapshots[-1].done) > MESSAGES

    # dead letters: exactly the messages with a task that fails always, each for that task
    letters = app.dead()
    assert sorted(letter["uid"] for letter in letters) == sorted(uid_of[body] for body in never)
    assert {(letter["uid"], *letter["failed"]) for letter in letters} == {
        (uid_of[body], task) for body, task in failing
    }

    # default tasks: for exactly these
    assert {body for body, task in ends if task == "Alert"} == never
    assert {one.body for one in effects if one.task == "Alert"} == never

    # every repeat is of an attempt that was in a killed worker: its slots bound them
    slots = -(-5 // POOL) * CONCURRENCY
    assert repeated <= kills * slots * len(TASKS)
