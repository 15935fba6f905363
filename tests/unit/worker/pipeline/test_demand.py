import pytest

from mulligan.worker.pipeline.demand import CompletionRate, PollerCount, batch_size, scale


def test_wanted_asks_for_a_whole_batch_when_there_is_room_for_one():
    assert batch_size(25, 25, capacity=32, max_batch=10, has_waited=False) == 10


def test_wanted_asks_for_nothing_when_room_is_short_of_a_batch():
    assert batch_size(9, 9, capacity=32, max_batch=10, has_waited=False) == 0


def test_wanted_asks_for_what_is_free_when_it_has_waited():
    assert batch_size(3, 3, capacity=32, max_batch=10, has_waited=True) == 3


def test_wanted_is_never_negative_when_more_is_in_flight_than_there_is_room():
    assert batch_size(-4, -4, capacity=32, max_batch=10, has_waited=True) == 0


def test_wanted_takes_the_capacity_as_a_batch_when_it_is_smaller_than_one():
    assert batch_size(2, 2, capacity=2, max_batch=10, has_waited=False) == 2


def test_wanted_asks_for_a_whole_batch_when_enough_will_have_ended_until_it_is_there():
    assert batch_size(-6, 10, capacity=32, max_batch=10, has_waited=False) == 10
    assert batch_size(-6, 9, capacity=32, max_batch=10, has_waited=False) == 0


def test_wanted_asks_for_no_more_than_is_free_when_a_whole_batch_is_not_to_be_had():
    assert batch_size(3, 7, capacity=32, max_batch=10, has_waited=True) == 3
    assert batch_size(0, 4, capacity=32, max_batch=10, has_waited=True) == 0


def test_turnover_is_what_ended_a_second():
    turnover = CompletionRate(0.0)

    found = [turnover.per_s(n / 10, n * 5) for n in range(101)]

    assert found[0] == 0.0
    assert found[20:] == pytest.approx([50.0] * 81)


def test_turnover_takes_many_that_end_together_for_no_high_rate():
    turnover = CompletionRate(0.0)
    turnover.per_s(9.9, 0)

    assert turnover.per_s(10.0, 100) == pytest.approx(10.0)
    assert turnover.per_s(10.001, 100) <= 100 / 0.5


def test_turnover_forgets_what_ended_long_ago():
    turnover = CompletionRate(0.0)
    for n in range(100):
        turnover.per_s(n / 10, n * 100)

    assert turnover.per_s(10.6, 9_900) < 1000
    assert turnover.per_s(11.2, 9_900) == 0.0


def test_adapt_adds_a_poller_when_one_came_back_full():
    assert scale(PollerCount(1), asked=10, got=10, pollers_max=4) == PollerCount(2)


def test_adapt_adds_half_more_when_many_came_back_full():
    assert scale(PollerCount(8), asked=10, got=10, pollers_max=20) == PollerCount(12)


def test_adapt_stops_at_the_most_that_the_broker_is_worth():
    assert scale(PollerCount(4), asked=10, got=10, pollers_max=4) == PollerCount(4)


def test_adapt_halves_when_one_came_back_short():
    assert scale(PollerCount(4), asked=10, got=3, pollers_max=4) == PollerCount(2, is_short=True)


def test_adapt_keeps_one_poller_when_nothing_came():
    assert scale(PollerCount(1), asked=10, got=0, pollers_max=4) == PollerCount(1, is_short=False)
