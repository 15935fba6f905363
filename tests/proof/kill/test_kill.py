"""Twenty thousand messages under kill -9: what was promised, counted from the effect log, the ledger and the queues."""

import pytest

from tests.acceptance.harness import killing


@pytest.mark.figure
def test_nothing_is_lost_or_run_again_after_its_record_under_a_hundred_kills_of_workers(app, until):
    killing.lay_out(app)

    run = killing.carry_out(app, until, messages=20_000, worker_kills=100, supervisor_kills=10)

    killing.check(run, "sqlite")
    assert app.left() == {"requests": 0, "rejects": 0}
