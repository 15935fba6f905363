"""The wall clock is set while messages are in flight, on each broker."""

import pytest

from tests.acceptance.harness import clock
from tests.acceptance.harness.figure import figure


@pytest.mark.figure
@pytest.mark.parametrize(
    ("broker", "by_s"),
    [("sqlite", clock.HOUR_S), ("sqlite", -clock.HOUR_S), ("sqs", -clock.HOUR_S), ("rabbitmq", clock.HOUR_S)],
    indirect=["broker"],
    ids=["sqlite-forward", "sqlite-back", "sqs-back", "rabbitmq-forward"],
)
def test_nothing_is_lost_or_run_again_after_its_record_when_the_clock_is_set_and_set_right(app, broker, until, by_s):
    broker.point(app)

    run = clock.carry_out(app, until, messages=60, by_s=by_s)

    figure(
        "G13", broker.name,
        f"the clock was set by {by_s:+g} s and right again: lost {run.lost}, started again after the record "
        f"{run.again}, repeated effects {run.repeated}",
    )  # fmt: skip
    clock.check(run)
