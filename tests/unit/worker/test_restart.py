from mulligan.worker.restart import delay_s


def test_delay_is_nothing_after_the_first_death():
    assert delay_s(1) == 0.0


def test_delay_doubles_with_each_quick_death():
    assert [delay_s(deaths) for deaths in (2, 3, 4, 5)] == [0.5, 1.0, 2.0, 4.0]


def test_delay_ends_growing_at_half_a_minute_and_never_overflows():
    assert delay_s(10_000_000) == 30.0
