"""The soak itself, for one short round of kills and one without a fault: it must run, and find nothing."""

import os
import random
import signal
import subprocess
import threading

import pytest

from tests.acceptance.harness.app import App
from tests.acceptance.harness.family import end_all, family, workers
from tests.soak.broker import running
from tests.soak.inspection import going_round, left_behind, missing_workers, suspect_turns
from tests.soak.ledger import FileLedger
from tests.soak.page import summary
from tests.soak.plan import Deed, Plan, plan
from tests.soak.round import carry_out
from tests.soak.service import Service
from tests.soak.steady import JUDGED_S, Slope, growing, slopes
from tests.soak.wild import AT_IMPORT


def seed_of(*, is_calm, is_wild):
    plans = [plan(seed, "sqlite", 1, 1) for seed in range(100)]
    return next(one.seed for one in plans if one.is_calm is is_calm and (one.wild is not None) is is_wild)


@pytest.mark.parametrize("is_wild", [False, True], ids=["well-behaved", "wild"])
@pytest.mark.parametrize("is_calm", [True, False], ids=["calm", "kills"])
def test_round_of_the_soak_finds_no_violation(make_app, is_calm, is_wild):
    chosen = plan(seed_of(is_calm=is_calm, is_wild=is_wild), "sqlite", 1000, 4)
    app: App = make_app("app").lay_out()

    with running("sqlite") as broker:
        outcome = carry_out(app, broker, FileLedger(), chosen)

    assert outcome.violations == {}
    assert (outcome.kills > 0) is not is_calm
    if is_calm:
        assert outcome.repeated == 0


def test_plan_of_a_seed_is_the_same_each_time():
    assert plan(7, "sqs", 100, 5) == plan(7, "sqs", 100, 5)
    assert len({plan(seed, "sqs", 100, 5).faults for seed in range(30)}) > 10


def test_half_of_the_rounds_have_wild_tasks_and_half_of_the_calm_ones():
    plans = [plan(seed, "sqs", 1, 1) for seed in range(64)]
    calm = [one for one in plans if one.is_calm]

    assert sum(one.wild is not None for one in plans) == 32
    assert sum(one.wild is not None for one in calm) == 8
    assert {one.wild for one in plans} == {None, *AT_IMPORT}


def test_worker_that_nobody_replaces_is_missing(app, until):
    app.task("work", "class Nothing(Task):\n    def run(self, data): pass\n")
    app.manifest("work Nothing")
    system = app.start().until_up()
    until(lambda: len(workers(system)) == 2, "both are up")
    before = missing_workers(system, 2, within_s=1)

    os.kill(system.pid, signal.SIGSTOP)
    os.kill(workers(system)[1], signal.SIGKILL)
    until(lambda: 1 not in workers(system), "it is dead")
    told = missing_workers(system, 2, within_s=1)
    os.kill(system.pid, signal.SIGCONT)

    assert before == []
    assert len(told) == 1
    assert told[0].startswith("1 of 2; alive: [(0, ")
    assert missing_workers(system, 2) == []


def test_process_that_outlives_the_supervisor_is_found_unless_its_log_names_it(app):
    app.environment["SOAK_LIFE"] = "1"
    system = app.start("--version")
    system.wait()
    asked = app.environment
    with (
        subprocess.Popen(["sleep", "600"], env=asked) as named,
        subprocess.Popen(["sleep", "601"], env=asked, start_new_session=True),
        subprocess.Popen([f"{app.folder}/life-1", "602"], executable="/bin/sleep", env={}),
        subprocess.Popen(["sleep", "603"], env={**asked, "SOAK_LIFE": "2"}),
    ):
        with system.stderr.open("a") as log:
            log.write(f"after the end of process 7 could not end what its tasks had started: sleep ({named.pid})\n")

        found, named_count = left_behind(app, "1", system, within_s=0.1)
        later = [one.command.split()[1] for one in family(app)]
        end_all(lambda: family(app))

    assert sorted(one.split()[1] for one in found) == ["601", "602"]
    assert named_count == 1
    assert later == ["603"]


def test_suspect_that_does_not_end_goes_round():
    log = 3 * "t warning w0 01a-b was in flight at 1 death of a worker or its host: its tasks run in isolation now\n"
    log += "t warning w1 01a-c was in flight at 2 deaths of a worker or its host: its tasks run in isolation now\n"

    told = going_round(lambda: suspect_turns(log), lambda uids: [uid for uid in uids if uid == "01a-b"], within_s=0.1)

    assert told == ["01a-b was taken up 3 times and has not ended"]
    assert going_round(lambda: suspect_turns(log), lambda _: []) == []


def test_slope_is_that_of_the_figures_after_they_have_settled():
    rand = random.Random(1)
    samples = [
        (float(at), "worker", {"memory (KiB)": 1000.0 + (9e9 if at < 120 else at / 36) + rand.random() / 100})
        for at in range(0, 1800, 10)
    ]

    (slope,) = slopes(samples)

    assert slope.per_hour == pytest.approx(100.0, abs=1.0)
    assert slope.over_s == 1670.0


def test_round_that_hangs_is_a_violation_and_the_figures_of_all_rounds_are_kept(make_app):
    app: App = make_app("app").lay_out()
    hangs = Plan(7, 60, "file", ("nonsense",), (Deed(0.1, "nonsense"),))

    with running("sqlite") as broker:
        outcome = carry_out(app, broker, FileLedger(), hangs)
    figures = summary("sqlite", "abc", "today", 7, 60.0, "early", [outcome, outcome], [], ["it grew"])

    assert list(outcome.violations) == ["did not end"]
    assert figures["messages"] == 120
    assert figures["rounds that hung"] == 2
    assert figures["violations"] == {"7": outcome.violations, "undisturbed": {"undisturbed": ["it grew"]}}


def test_fault_of_a_service_goes_on_beside_what_follows_until_it_is_waited_for():
    class Slow(Service):
        def _do(self, fault):
            may_end.wait()
            done.append(fault)

    may_end, done, service = threading.Event(), [], Slow()

    service.strike("first")
    service.strike("second")
    begun = list(done)
    may_end.set()
    service.wait()
    service.close()

    assert begun == []
    assert done == ["first", "second"]


def test_growth_is_told_when_it_is_more_than_a_few_bytes_a_message_for_long_enough():
    leak = Slope("worker", "memory (KiB)", 50_000.0, 1100.0, JUDGED_S)
    descriptors = Slope("supervisor", "descriptors", 30.0, 2.0, JUDGED_S)

    told = growing(
        [
            leak,
            descriptors,
            Slope("worker", "memory (KiB)", 50_000.0, 900.0, JUDGED_S),
            Slope("worker", "memory (KiB)", 50_000.0, 9000.0, JUDGED_S - 1),
        ]
    )

    assert told == [
        "worker: memory (KiB) grew by 1100 an hour, at most 1024 is allowed",
        "supervisor: descriptors grew by 2 an hour, at most 1 is allowed",
    ]
