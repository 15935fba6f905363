import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from mulligan.brokers.memory import FEATURES
from mulligan.core.delivery import Delivery
from mulligan.core.error import BrokerRefused, BrokerUnavailable
from mulligan.core.event import BrokerDown, BrokerUp, ReceiveRefused
from mulligan.core.message import QueueName
from mulligan.worker.pipeline.poller import Pace, Pollers

QUEUE = QueueName("q")


def deliveries(count, first=0):
    return [Delivery(QUEUE, str(n), str(n), b"", {}, 1.0) for n in range(first, first + count)]


class Queue:
    """The receiving half of a broker: gives what its script says, else nothing after a long poll."""

    def __init__(self, **features):
        defaults = {"max_batch": 10, "max_pollers": 4, "has_price": True, "cancels_receive": False}
        self.features = replace(FEATURES, **{**defaults, **features})
        self.answers = []
        self.asked = []
        self.asked_at = []
        self.now = 0
        self.most = 0
        self.rested = []
        self.takes_s = 0.0

    async def rest(self, queue):
        self.rested.append((queue, self.now))

    async def receive(self, queue, max_count, *, wait_s, lease_s):
        self.asked.append(max_count)
        self.asked_at.append(asyncio.get_running_loop().time())
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            answer = self.answers.pop(0) if self.answers else None
            if isinstance(answer, BaseException):
                raise answer
            if answer is None:
                await asyncio.sleep(wait_s)
                return []
            await asyncio.sleep(self.takes_s)
            return answer[:max_count]
        finally:
            self.now -= 1


class Consumer:
    """What takes deliveries, and how much it holds: an intake and its capacity, as a test sets them."""

    def __init__(self):
        self.taken = []
        self.places = 0
        self.in_flight = 0
        self.free_slots = 10_000
        self.taking_s = 0.0
        self.per_s = 0.0
        self.horizons = []
        self.changed = None

    def on_change(self, changed):
        self.changed = changed

    def room(self, soon_s):
        self.horizons.append(soon_s)
        free = self.places - self.in_flight
        return min(free, self.free_slots), min(free + int(self.per_s * soon_s), self.free_slots)

    def end(self, count=1):
        """So many messages end, one after the other."""
        for _ in range(count):
            self.in_flight -= 1
            self.changed()

    async def take(self, deliveries, lease_until):
        self.in_flight += len(deliveries)
        self.free_slots -= len(deliveries)
        self.taken += [one.receipt for one in deliveries]
        if self.taking_s:
            await asyncio.sleep(self.taking_s)


@pytest.fixture
async def consumer():
    return Consumer()


@pytest.fixture
async def make(runtime, consumer):
    made = []

    def make(queue, capacity=40, receive_linger_s=0.5, grace_s=20.0):
        consumer.places = capacity
        pace = Pace(capacity, 60.0, receive_linger_s, grace_s)
        made.append(Pollers(runtime, queue, QUEUE, pace, consumer, consumer))
        made[-1].start()
        return made[-1]

    yield make
    for pollers in made:
        await pollers.stop()


async def test_pollers_ask_with_one_long_poll_when_the_queue_is_empty(make):
    queue = Queue()
    make(queue)

    await asyncio.sleep(99)

    assert queue.asked == [10] * 5
    assert queue.most == 1


async def test_pollers_grow_while_receives_come_back_full_and_shrink_to_one_when_they_do_not(make, consumer):
    queue = Queue()
    queue.answers = [deliveries(10, n * 10) for n in range(3)]
    make(queue, capacity=1000)

    await asyncio.sleep(5)
    assert queue.now == 4
    await asyncio.sleep(100)

    assert queue.now == 1
    assert len(consumer.taken) == 30


async def test_pollers_leave_one_that_asks_when_two_come_back_short_in_the_same_turn(make):
    """Both saw one too many, both went, and the queue was never asked again."""
    queue = Queue()
    queue.answers = [deliveries(10, n * 10) for n in range(2)]
    make(queue, capacity=1000)
    await asyncio.sleep(15)
    assert queue.now >= 2

    await asyncio.sleep(60)

    assert queue.now == 1


async def test_pollers_never_ask_for_more_than_there_is_room(make, consumer):
    queue = Queue()
    queue.answers = [deliveries(10, n * 10) for n in range(50)]
    make(queue, capacity=25)

    await asyncio.sleep(100)

    assert consumer.in_flight == 25
    assert sorted(queue.asked) == [5, 10, 10]


async def test_pollers_wait_for_a_full_batch_of_room(make, consumer):
    queue = Queue(max_pollers=1)
    queue.answers = [deliveries(10)]
    make(queue, capacity=10)
    await asyncio.sleep(5)
    assert queue.asked == [10]

    consumer.end(10)
    await asyncio.sleep(0.01)

    assert queue.asked == [10, 10]


async def test_pollers_ask_for_what_is_free_when_a_slow_neighbour_keeps_a_slot(make, consumer):
    queue = Queue(max_pollers=1)
    queue.answers = [deliveries(10)]
    make(queue, capacity=10, receive_linger_s=0.5)
    await asyncio.sleep(5)
    began = asyncio.get_running_loop().time()

    consumer.end(3)
    await asyncio.sleep(2)

    assert queue.asked == [10, 3]
    assert queue.asked_at[1] == began + 0.5


async def test_pollers_lose_patience_again_when_there_was_no_room_the_first_time(make, consumer):
    """A slot came free while the table was full; from then on only a whole free batch was asked for."""
    queue = Queue(max_pollers=1)
    queue.answers = [deliveries(10)]
    make(queue, capacity=10, receive_linger_s=0.5)
    await asyncio.sleep(5)
    consumer.end()
    consumer.free_slots = 0
    await asyncio.sleep(5)
    assert queue.asked == [10]

    consumer.free_slots = 5
    consumer.changed()
    await asyncio.sleep(5)

    assert queue.asked == [10, 1]


async def test_pollers_ask_ahead_for_what_will_have_ended_when_messages_end_fast(make, consumer):
    """The places that came free waited for the answer: a fifth of a worker's time, with a network of 10 ms."""
    queue = Queue()
    queue.answers = [deliveries(10, n * 10) for n in range(500)]
    consumer.per_s = 500.0
    make(queue, capacity=40, receive_linger_s=0.1)
    most = 0
    for _ in range(100):  # 25 end within half the latency
        await asyncio.sleep(0.02)
        most = max(most, consumer.in_flight + 10 * queue.now)
        consumer.end(10)

    assert 40 < most <= 40 + 25
    assert set(queue.asked) == {10}


async def test_pollers_look_as_far_ahead_as_a_full_receive_takes_and_half_the_latency(make, consumer):
    queue = Queue(max_pollers=1)
    queue.answers = [deliveries(10, n * 10) for n in range(100)]
    queue.takes_s = 0.2
    make(queue, capacity=10, receive_linger_s=0.1)
    for _ in range(100):
        await asyncio.sleep(0.2)
        consumer.end(consumer.in_flight)

    assert consumer.horizons[0] == pytest.approx(0.05)
    assert consumer.horizons[-1] == pytest.approx(0.25, rel=0.05)


async def test_pollers_ask_for_no_more_ahead_than_the_lease_table_holds(make, consumer):
    queue = Queue()
    queue.answers = [deliveries(10, n * 10) for n in range(10_000)]
    consumer.free_slots = 55
    consumer.per_s = 10_000.0
    make(queue, capacity=40, receive_linger_s=10.0)
    most = 0
    for _ in range(1000):
        await asyncio.sleep(0.001)
        most = max(most, consumer.in_flight)
        for _ in range(min(10, consumer.in_flight)):
            consumer.in_flight -= 1
            consumer.free_slots += 1
            consumer.changed()

    assert 40 < most <= 55


@pytest.mark.parametrize("features", [{"has_price": True}, {"has_price": False}])
async def test_pollers_let_what_a_short_receive_started_begin_before_they_make_the_next_request(
    make, consumer, features
):
    queue = Queue(**features)
    queue.answers = [deliveries(3)]
    asked_at_start = []
    take = consumer.take

    async def start_and_take(deliveries, lease_until):
        asyncio.get_running_loop().call_soon(lambda: asked_at_start.append(len(queue.asked)))
        await take(deliveries, lease_until)

    consumer.take = start_and_take
    make(queue, receive_linger_s=0.0)
    await asyncio.sleep(1)

    assert asked_at_start == [1]
    assert len(queue.asked) == 2


async def test_pollers_ask_once_a_second_where_nothing_waits_for_messages_and_tell_it_once(make, consumer, events):
    """3,000 requests a second, each of them on the bill."""
    queue = Queue()
    queue.answers = [[]] * 200
    make(queue)

    await asyncio.sleep(60)

    assert 60 < len(queue.asked) < 70
    (told,) = events
    assert "asked to wait for 20 s" in told.text


async def test_pollers_ask_again_at_once_when_a_receive_finds_nothing_now_and_then(make, consumer, events):
    queue = Queue()
    queue.answers = [[], [], [], deliveries(1)] * 50
    make(queue, capacity=100)

    await asyncio.sleep(120)

    assert len(consumer.taken) == 50
    assert events == []


async def test_pollers_tell_an_outage_once_and_back_off(make, events):
    queue = Queue()
    queue.answers = [BrokerUnavailable("down")] * 8
    make(queue)

    await asyncio.sleep(300)

    assert [type(event) for event in events] == [BrokerDown, BrokerUp]
    waits = [later - earlier for earlier, later in zip(queue.asked_at, queue.asked_at[1:9], strict=False)]
    assert max(waits) <= 30.0
    assert waits[-1] > waits[0]
    assert min(waits) > 0.1


async def test_pollers_ask_again_soon_after_an_outage_of_twenty_seconds_and_rarely_in_one_of_hours(make):
    queue = Queue()
    queue.answers = [BrokerUnavailable("down")] * 400
    make(queue)

    await asyncio.sleep(7200)

    at = [one - queue.asked_at[0] for one in queue.asked_at]
    waits = [(earlier, later - earlier) for earlier, later in pairwise(at)]
    assert max(wait for begun, wait in waits if begun <= 20) <= 4.0
    assert 20.0 < max(wait for _, wait in waits) <= 30.0


async def test_pollers_ask_a_queue_that_is_refused_once_a_minute(make, events):
    queue = Queue()
    queue.answers = [BrokerRefused("no such queue")] * 3
    make(queue)

    await asyncio.sleep(185)

    assert [event.error for event in events if isinstance(event, ReceiveRefused)] == ["no such queue"] * 3
    assert [at - queue.asked_at[0] for at in queue.asked_at] == [0, 60, 120, 180]


async def test_pollers_tell_a_fault_that_ends_the_worker(make, failed):
    queue = Queue()
    queue.answers = [OSError("no more files")]
    make(queue)

    await asyncio.sleep(1)

    assert [str(error) for error in failed] == ["no more files"]


async def test_pollers_stop_lets_a_receive_end_and_takes_what_it_brings(make, consumer):
    queue = Queue(long_poll_s=20.0)
    pollers = make(queue)
    await asyncio.sleep(1)
    queue.answers = [deliveries(10)]

    await pollers.stop()
    asked = len(queue.asked)
    await asyncio.sleep(100)

    assert queue.now == 0
    assert len(queue.asked) == asked == 1


@pytest.mark.parametrize(("grace_s", "wait_s"), [(0.5, 1.0), (7.0, 7.0), (120.0, 20.0)])
async def test_pollers_wait_no_longer_than_a_shutdown_has_time_for_when_a_receive_must_end(make, grace_s, wait_s):
    """A worker on SQS with SHUTDOWN_S=12 was killed at each stop: its receives were still under way."""
    queue = Queue(long_poll_s=20.0)
    make(queue, grace_s=grace_s, receive_linger_s=0.0)

    await asyncio.sleep(41)

    assert queue.asked_at[1] - queue.asked_at[0] == pytest.approx(wait_s)


async def test_pollers_wait_as_long_as_they_can_when_a_receive_can_be_cancelled(make):
    queue = Queue(cancels_receive=True, long_poll_s=20.0)
    make(queue, grace_s=1.0, receive_linger_s=0.0)

    await asyncio.sleep(41)

    assert queue.asked_at[1] - queue.asked_at[0] == pytest.approx(20.0)


async def test_pollers_stop_at_once_when_a_receive_can_be_cancelled(make):
    queue = Queue(cancels_receive=True)
    pollers = make(queue)
    await asyncio.sleep(1)
    began = asyncio.get_running_loop().time()

    await pollers.stop()

    assert asyncio.get_running_loop().time() == began


async def test_pollers_give_back_what_was_fetched_ahead_when_they_stop_without_room_for_more(make, consumer):
    queue = Queue(cancels_receive=True)
    queue.answers = [deliveries(10)]
    pollers = make(queue, capacity=10)
    await asyncio.sleep(1)

    await pollers.stop()

    assert len(consumer.taken) == 10
    assert queue.rested == [(QUEUE, 0)]


async def test_pollers_stop_in_the_middle_of_an_outage(make):
    queue = Queue()
    queue.answers = [BrokerUnavailable("down")] * 50
    pollers = make(queue)
    await asyncio.sleep(100)
    began = asyncio.get_running_loop().time()

    await pollers.stop()

    assert asyncio.get_running_loop().time() == began


async def test_pollers_stop_while_they_wait_for_room(make, consumer):
    queue = Queue()
    consumer.in_flight = 40
    pollers = make(queue)
    await asyncio.sleep(1)

    await pollers.stop()

    assert queue.asked == []
