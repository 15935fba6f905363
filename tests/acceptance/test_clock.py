"""The wall clock is set back by an hour while messages are in flight."""

from tests.acceptance import clock


def test_nothing_is_lost_or_run_again_after_its_record_when_the_clock_is_set_back(app, until):
    run = clock.carry_out(app, until, messages=30, by_s=-clock.HOUR_S)

    clock.check(run)
