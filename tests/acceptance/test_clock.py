"""The wall clock is set back by an hour while messages are in flight."""

import re

from tests.acceptance.harness import clock
from tests.acceptance.harness.source import tasks
from tests.support.postgres import running

OFF = re.compile(r"this machine's clock is (?:59|60|61)(?:\.\d)? s ahead of that of (?:sqs|postgresql)://")


def test_nothing_is_lost_or_run_again_after_its_record_when_the_clock_is_set_back(app, until):
    run = clock.carry_out(app, until, messages=30, by_s=-clock.HOUR_S)

    clock.check(run)


def test_clock_that_is_off_is_told_of_by_check_and_at_the_start_and_stops_nothing(app, sqs):
    """Retries of that host were early or late on all others, and nothing said why."""
    app.task("work", tasks(Quick="pass"))
    app.manifest("work Quick")
    sqs.point(app)
    clock.WallClock(app).set_by(60.0)
    with running() as ledger:
        app.settings["LEDGER_URL"] = ledger.url_of(ledger.new_schema())
        app.send(["m"])

        told = app.cli("check")
        log = app.drain().log()

    ahead = [line for line in told.stdout.splitlines() if OFF.search(line)]
    assert [line.split()[:2] for line in ahead] == [["note", "queues"], ["note", "ledger"]]
    assert told.returncode == 0
    assert len(OFF.findall(log)) == 2
    assert app.count("Quick", "end") == 1


def test_clock_that_is_right_is_not_told_of(app, sqs):
    app.task("work", tasks(Quick="pass"))
    app.manifest("work Quick")
    sqs.point(app)
    app.send(["m"])

    told = app.cli("check")
    log = app.drain().log()

    assert told.returncode == 0
    assert "clock" not in told.stdout + log
