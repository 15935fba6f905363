import pytest

from mulligan.core.delivery import Depth
from mulligan.core.error import BrokerUnavailable
from mulligan.core.message import QueueName
from mulligan.worker.pipeline.in_flight_limit import InFlightLimit

QUEUE = QueueName("q")


class Clock:
    def __init__(self):
        self.s = 1000.0

    def monotonic(self):
        return self.s


class Counted:
    """A broker of which so many messages are in flight."""

    def __init__(self, in_flight, max_in_flight=100):
        self.in_flight, self.asked, self.error = in_flight, 0, None
        self.features = type("Features", (), {"max_in_flight": max_in_flight})()

    async def depth(self, queue):
        assert queue == QUEUE
        self.asked += 1
        if self.error is not None:
            raise self.error
        return Depth(5, 6, self.in_flight)


@pytest.mark.parametrize(
    ("in_flight", "more", "expected"), [(0, 50, False), (49, 1, False), (50, 1, True), (51, 1, True)]
)
async def test_crowd_is_over_above_half_of_what_may_be_in_flight(in_flight, more, expected):
    assert await InFlightLimit(Counted(in_flight), QUEUE, Clock()).is_over(more) is expected


async def test_crowd_counts_what_was_released_since_it_asked():
    broker = Counted(40)
    crowd = InFlightLimit(broker, QUEUE, Clock())

    assert [await crowd.is_over(4) for _ in range(4)] == [False, False, True, True]
    assert broker.asked == 1


async def test_crowd_asks_once_a_minute_at_most():
    clock, broker = Clock(), Counted(60)
    crowd = InFlightLimit(broker, QUEUE, clock)

    for _ in range(100):
        assert await crowd.is_over(1)
    clock.s += 59.9
    assert await crowd.is_over(1)
    broker.in_flight, clock.s = 0, clock.s + 0.1

    assert not await crowd.is_over(1)
    assert broker.asked == 2


async def test_crowd_goes_by_what_it_knew_while_the_broker_can_not_be_asked():
    clock, broker = Clock(), Counted(60)
    crowd = InFlightLimit(broker, QUEUE, clock)
    assert await crowd.is_over(1)

    broker.error, clock.s = BrokerUnavailable("the network is down"), clock.s + 61

    assert await crowd.is_over(1)
    assert broker.asked == 2


async def test_crowd_asks_nothing_where_there_is_no_limit():
    broker = Counted(10**9, max_in_flight=None)

    assert not await InFlightLimit(broker, QUEUE, Clock()).is_over(10**9)
    assert broker.asked == 0
