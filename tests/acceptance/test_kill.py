"""Ten thousand messages under kill -9: what was promised, counted from the effect log, the ledger and the queues."""

import pytest

from tests.acceptance import killing


@pytest.mark.timeout(600)
def test_nothing_is_lost_or_run_again_after_its_record_under_twenty_two_kills(app, until):
    killing.lay_out(app)

    run = killing.carry_out(app, until, messages=10_000, worker_kills=20, supervisor_kills=2)

    killing.check(run)
    assert app.waiting("requests") == app.waiting("rejects") == 0
