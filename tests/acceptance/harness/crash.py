"""Crashes at the named places of the code, and what has to be true after one: from effect log, ledger and queues.

The messages' names tell their fate (`fate`).
"""

import os
import signal
import time
from collections import Counter
from functools import partial
from pathlib import Path

from tests.acceptance.harness import fate
from tests.acceptance.harness.fate import TASKS
from tests.acceptance.harness.figure import figure

__all__ = ["CRASHES", "SUPERVISOR_POINTS", "WORKER_POINTS", "check", "laid_out"]

BODIES = [f"{kind}-{number}" for number, kind in enumerate(["ok", "once", "ok", "never"] * 6)]
NEVER = {body for body in BODIES if body.startswith("never")}

WORKER_POINTS = [
    "polling:2", "received:2", "starting:5", "running:5", "ended:9", "recorded:2", "finished:3", "acked:1", "copied:1",
    "exhausted:1", "buried:1", "alerting:1", "alerted:1",
]  # fmt: skip
SUPERVISOR_POINTS = ["supervising:1", "spawning:1", "spawning:2"]


def laid_out(app, broker):
    """An application with work for every task, on a broker."""
    broker.point(app)
    fate.lay_out(app)
    app.settings |= {"POOL_SIZE": 1, "LEASE_S": 2, "CONCURRENCY": 2, "TASK_BACKOFF_S": 0.2}
    app.send(BODIES)
    return app


def stopped(system) -> list[int]:
    """Pids of the system's processes that stand still as by SIGSTOP."""
    found = []
    for process in system.group():
        try:
            state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            continue
        if state == "T":
            found.append(process.pid)
    return found


def check(app, done=frozenset(), log_length=0) -> None:
    """Nothing is lost, alarms and dead letters are exact, nothing in `done` started after so many lines of the log."""
    effects = app.effects()
    uid_of = {one.body: one.uid for one in effects}
    failing = fate.failing(BODIES)
    ends = Counter((one.body, one.task) for one in effects if one.what == "end")

    # none is lost
    assert {(body, task) for body, task in ends if task in TASKS} == {
        (body, task) for body in BODIES for task in TASKS
    } - failing
    assert app.left() == {"requests": 0, "rejects": 0}
    # none starts again after its recorded completion
    again = [one for one in effects[log_length:] if one.what == "start" and (one.uid, one.task) in done]
    assert again == []
    # alarms and dead letters: for exactly the messages with a task that fails always
    assert {body for body, task in ends if task == "Alert"} == NEVER
    assert {one.body for one in effects if one.task == "Alert"} == NEVER
    assert sorted(letter["uid"] for letter in app.dead()) == sorted(uid_of[body] for body in NEVER)


def tell(what: str, broker) -> None:
    figure("G9", broker.name, f"{what}: lost 0, started again after the record 0")


def kill_worker_at(point, work, broker, until) -> None:
    system = work.start("--drain", FAILPOINT=f"{point}:stop")
    (pid,) = until(lambda: stopped(system), "the point is reached")
    assert pid != system.pid
    # it stands still: what is recorded, and what was begun, can be read without a race
    done, log_length = work.finished(), work.count()

    os.kill(pid, signal.SIGKILL)

    assert system.wait() == 0, system.log()[-3000:]
    check(work, done, log_length)
    tell(f"worker killed at {point}", broker)


def kill_supervisor_at(point, work, broker, until) -> None:
    system = work.start("--drain", FAILPOINT=f"{point}:kill", POOL_SIZE=2)
    assert system.wait() == -signal.SIGKILL
    go_on_without(system, work, until)
    tell(f"supervisor killed at {point}", broker)


def kill_draining_supervisor(work, broker, until) -> None:
    system = work.start(FAILPOINT="draining:1:kill")
    work.until_effect("First", "start")
    system.terminate()
    assert system.wait() == -signal.SIGKILL
    go_on_without(system, work, until)
    tell("supervisor killed at draining", broker)


def go_on_without(system, work, until) -> None:
    until(lambda: not system.group(), "the workers have ended by themselves")
    done, log_length = work.finished(), work.count()

    work.drain()

    check(work, done, log_length)


def stop_supervisor(work, broker, until) -> None:
    work.environment["SLOW_S"] = "1.5"
    system = work.start("--drain", FAILPOINT="supervising:3:stop", LEASE_S=1)
    assert until(lambda: stopped(system), "the point is reached") == [system.pid]
    time.sleep(2.5)  # what is tested is that this much time goes by
    done, log_length = work.finished(), work.count()

    os.kill(system.pid, signal.SIGCONT)

    assert system.wait() == 0, system.log()[-3000:]
    check(work, done, log_length)
    tell("supervisor stopped at supervising for two leases", broker)


CRASHES = {
    **{f"worker at {point}": partial(kill_worker_at, point) for point in WORKER_POINTS},
    **{f"supervisor at {point}": partial(kill_supervisor_at, point) for point in SUPERVISOR_POINTS},
    "supervisor at draining": kill_draining_supervisor,
    "supervisor stands still for two leases": stop_supervisor,
}
