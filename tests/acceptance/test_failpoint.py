"""A crash at some of the named places: what was promised, counted from effect log, ledger and queues."""

import pytest

from tests.acceptance.harness.crash import CRASHES, laid_out

# before the record, between the copy and the removal, after it; and a supervisor
PLACES = ["worker at ended:9", "worker at copied:1", "worker at acked:1", "supervisor at supervising:1"]


@pytest.mark.parametrize("broker", ["sqlite"], indirect=True)
@pytest.mark.parametrize("crash", PLACES)
def test_nothing_is_lost_or_run_again_after_a_crash_of(crash, app, broker, until):
    CRASHES[crash](laid_out(app, broker), broker, until)


def test_failpoint_that_does_not_exist_is_refused(app):
    told = app.cli("run", "--drain", FAILPOINT="runing:1:kill")

    assert told.returncode == 2
    assert "did you mean 'running'?" in told.stderr
    assert "Traceback" not in told.stderr
