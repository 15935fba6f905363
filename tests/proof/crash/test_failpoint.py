"""A crash at each of the named places, on each broker: what was promised, counted from effect log, ledger and queues.

The messages' names tell their fate (`fate`).
"""

from functools import partial

import pytest

from tests.acceptance.harness.app import side_by_side
from tests.acceptance.harness.crash import CRASHES, check, laid_out


@pytest.fixture
def work(app, broker):
    return laid_out(app, broker)


@pytest.mark.figure
@pytest.mark.parametrize("broker", ["sqlite"], indirect=True)
@pytest.mark.parametrize("crash", CRASHES)
def test_nothing_is_lost_or_run_again_after_a_crash_of(crash, app, broker, until):
    CRASHES[crash](laid_out(app, broker), broker, until)


@pytest.mark.figure
@pytest.mark.parametrize("broker", ["sqs", "rabbitmq"], indirect=True)
def test_nothing_is_lost_or_run_again_after_any_crash_beside_a_server(make_app, broker, until):
    """All of them, some side by side: a system waits most of its time until its queue is surely empty."""
    works = [laid_out(make_app(f"app{number}").lay_out(), broker) for number in range(len(CRASHES))]
    side_by_side(partial(crash, work, broker, until) for crash, work in zip(CRASHES.values(), works, strict=True))


@pytest.mark.parametrize("broker", ["sqlite"], indirect=True)
@pytest.mark.parametrize("point", ["starting:1", "acked:2", "buried:1"])
def test_worker_that_kills_itself_at_a_point_is_replaced_by_one_that_does_not(point, work):
    system = work.start("--drain", FAILPOINT=f"{point}:kill")

    assert system.wait() == 0, system.log()[-3000:]
    assert system.log().count("SIGKILL") == 1
    check(work)


@pytest.mark.parametrize("broker", ["sqlite"], indirect=True)
@pytest.mark.parametrize("point", ["recorded:1", "copied:1"])
def test_worker_that_meets_an_error_nobody_expects_is_replaced_and_loses_nothing(point, work):
    system = work.start("--drain", FAILPOINT=f"{point}:raise")

    assert system.wait() == 0, system.log()[-3000:]
    assert "FailpointError" in system.log()
    check(work)


@pytest.mark.parametrize("broker", ["sqlite"], indirect=True)
def test_supervisor_that_meets_an_error_nobody_expects_ends_loudly_and_loses_nothing(work):
    system = work.start(FAILPOINT="supervising:2:raise")

    assert system.wait() not in (0, None), system.log()[-3000:]
    assert "FailpointError" in system.log()  # as the reason to stop, or before it is up as the error alone
    done, log_length = work.finished(), work.count()
    work.drain()
    check(work, done, log_length)
