"""The soak itself, for one short round of kills and one without a fault: it must run, and find nothing."""

import random

import pytest

from tests.acceptance.conftest import App
from tests.soak.broker import running
from tests.soak.plan import plan
from tests.soak.round import carry_out
from tests.soak.steady import slopes


def seed_of(*, is_calm):
    return next(seed for seed in range(100) if plan(seed, "sqlite", 1, 1).is_calm is is_calm)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("is_calm", [True, False], ids=["calm", "kills"])
def test_round_of_the_soak_finds_no_violation(make_app, is_calm):
    chosen = plan(seed_of(is_calm=is_calm), "sqlite", 1000, 4)
    app: App = make_app("app").lay_out()

    with running("sqlite") as broker:
        outcome = carry_out(app, broker, chosen)

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
