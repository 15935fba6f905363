from mulligan.worker.supervisor.restart import consecutive_crashes, delay_s


def test_delay_is_nothing_after_the_first_death():
    assert delay_s(1) == 0.0


def test_delay_doubles_with_each_death_in_vain():
    assert [delay_s(deaths) for deaths in (2, 3, 4, 5)] == [0.5, 1.0, 2.0, 4.0]


def test_delay_ends_growing_at_half_a_minute_and_never_overflows():
    assert delay_s(10_000_000) == 30.0


def test_deaths_in_vain_are_counted_in_a_row():
    assert consecutive_crashes(0, lived_s=1.0, settled=0) == 1
    assert consecutive_crashes(1, lived_s=1.0, settled=0) == 2


def test_deaths_in_vain_begin_anew_after_a_worker_that_got_something_done_or_lived_long():
    assert consecutive_crashes(7, lived_s=1.0, settled=1) == 1
    assert consecutive_crashes(7, lived_s=10.0, settled=0) == 1
