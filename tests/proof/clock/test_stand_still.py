"""Processes that stand still for longer than their leases, as a laptop sleeps, or hold the interpreter so long."""

import os
import signal
import time
from functools import partial

import pytest

from tests.acceptance.harness.app import side_by_side
from tests.acceptance.harness.figure import figure
from tests.acceptance.harness.source import HOLDER, tasks

LEASE_S = 2
PAUSE_S = 2 * LEASE_S + 1.0
"""What is tested is that this much time goes by."""

CODE = tasks(Quick="pass", Slow='await asyncio.sleep(float(os.environ["SLOW_S"]))') + HOLDER


def laid_out(app, broker):
    broker.point(app)
    app.task("work", CODE)
    app.manifest("work Quick", "work Slow")
    app.settings |= {"LEASE_S": LEASE_S, "POOL_SIZE": 2, "CONCURRENCY": 5}
    app.environment["SLOW_S"] = "1"
    return app


def check(app, bodies, done, log_length) -> None:
    again = [one for one in app.effects()[log_length:] if one.what == "start" and (one.uid, one.task) in done]
    assert again == []
    for task in ("Quick", "Slow"):
        assert {one.body for one in app.effects(task, "end")} == set(bodies)
    assert app.dead() == []
    assert app.left() == {"requests": 0, "rejects": 0}


def ready(app) -> int | None:
    """How many messages wait on the queue for requests; None when that can't be told just now."""
    status = app.status_if_told()
    return status and status["requests"]["ready"]


def repeated(app) -> int:
    ends = [(one.body, one.task) for one in app.effects(what="end")]
    return len(ends) - len(set(ends))


def stand_still(who, work, broker, until) -> None:
    bodies = [f"m{number}" for number in range(60)]
    work.send(bodies)
    system = work.start("--drain").until_up()
    until(lambda: work.count("Slow", "end") >= 5, "some are done")
    pid = system.pid if who == "supervisor" else work.effects("Slow", "start")[-1].pid

    os.kill(pid, signal.SIGSTOP)
    done, log_length = work.finished(), work.count()
    time.sleep(PAUSE_S)
    os.kill(pid, signal.SIGCONT)

    assert system.wait() == 0, system.log()[-3000:]
    check(work, bodies, done, log_length)
    figure("G13", broker.name, f"a {who} stood still for {PAUSE_S:g} s, lease of {LEASE_S} s: lost 0, started again "
           f"after the record 0, repeated effects {repeated(work)}")  # fmt: skip
    if who == "worker":  # its leases are kept from outside
        assert repeated(work) == 0


@pytest.mark.figure
def test_no_harm_is_done_when_one_process_stands_still_for_two_leases(make_app, broker, until):
    works = {who: laid_out(make_app(who).lay_out(), broker) for who in ("worker", "supervisor")}
    side_by_side(partial(stand_still, who, work, broker, until) for who, work in works.items())


@pytest.mark.figure
def test_late_record_is_refused_when_others_took_over_from_a_system_that_stood_still(app, broker, until):
    work = laid_out(app, broker)
    bodies = [f"m{number}" for number in range(8)]
    work.environment["SLOW_S"] = "3"
    work.settings["CONCURRENCY"] = len(bodies)  # one worker may be given all of them, and is to begin them at once
    work.send(bodies)
    late = work.start().until_up()
    until(lambda: work.count("Slow", "start") == len(bodies), "all have begun")
    until(lambda: len(work.finished()) == len(bodies), "the ends of the quick tasks are recorded")

    late.signal_all(signal.SIGSTOP)
    done, log_length = work.finished(), work.count()
    if broker.name == "rabbitmq":  # the lease is the life of the connection
        broker.strike("cut off")
        # a connection made at once may be cut off, too
        until(lambda: ready(work) == len(bodies), "all messages are back on their queue")
    work.drain()
    taken_over = work.finished()
    late.signal_all(signal.SIGCONT)
    until(lambda: work.count("Slow", "end") + work.count("Slow", "cut") >= 2 * len(bodies), "the late ones have ended")
    late.terminate()

    assert late.wait() == 0, late.log()[-3000:]
    check(work, bodies, done, log_length)
    assert work.finished() == taken_over
    assert work.count("Quick", "start") == len(bodies)
    figure(
        "G13", broker.name,
        "a whole system stood still while another took over: lost 0, started again after the record 0, repeated "
        f"effects {repeated(work)} of {len(bodies)} in flight",
    )  # fmt: skip


@pytest.mark.figure
def test_task_runs_once_when_it_holds_the_interpreter_for_two_leases(app, broker):
    broker.point(app)
    app.task("work", CODE)
    app.manifest("work Holder")
    app.send(["hold"])

    log = app.drain(LEASE_S=LEASE_S).log()

    start, end = app.effects()
    assert (start.what, end.what) == ("start", "end")
    assert end.at - start.at >= 3.9
    assert "died" not in log
    assert app.dead() == []
    figure(
        "G13", broker.name, f"a task held the interpreter for {end.at - start.at:.0f} s, lease of {LEASE_S} s: 1 start"
    )
