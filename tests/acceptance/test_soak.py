"""The soak itself, for one short round of kills and one without a fault: it must run, and find nothing."""

import random
import threading

import pytest

from tests.acceptance.app import App
from tests.soak.broker import running
from tests.soak.ledger import FileLedger
from tests.soak.page import summary
from tests.soak.plan import Deed, Plan, plan
from tests.soak.round import carry_out
from tests.soak.service import Service
from tests.soak.steady import JUDGED_S, Slope, growing, slopes


def seed_of(*, is_calm):
    return next(seed for seed in range(100) if plan(seed, "sqlite", 1, 1).is_calm is is_calm)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("is_calm", [True, False], ids=["calm", "kills"])
def test_round_of_the_soak_finds_no_violation(make_app, is_calm):
    chosen = plan(seed_of(is_calm=is_calm), "sqlite", 1000, 4)
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
    figures = summary("sqlite", "today", 7, 60.0, "early", [outcome, outcome], [], ["it grew"])

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
