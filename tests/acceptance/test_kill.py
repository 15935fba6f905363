"""Hundreds of messages under kill -9 on each broker, while SQS does wrong: counted as the long runs are."""

from tests.acceptance.harness import killing
from tests.soak.broker import SQS_FAULTS


def test_nothing_is_lost_or_run_again_after_its_record_under_kills_of_workers(app, broker, until):
    killing.lay_out(app)
    broker.point(app)
    app.environment["SLOW_S"] = "0.5"  # so few messages are done before the kills otherwise

    run = killing.carry_out(
        app, until, messages=300, worker_kills=3, supervisor_kills=1,
        sent=lambda: broker.begin(7, list(SQS_FAULTS)),
    )  # fmt: skip
    broker.behave()

    killing.check(run, broker.name)
    assert app.left() == {"requests": 0, "rejects": 0}
