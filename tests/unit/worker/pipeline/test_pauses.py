import asyncio

import pytest

from mulligan.core.error import BrokerRefused, BrokerUnavailable
from mulligan.core.event import BrokerDown, BrokerUp, BrokerWarning, ReceiveRefused
from mulligan.core.message import QueueName
from mulligan.worker.pipeline.pauses import Pauses

DOWN = BrokerUnavailable("down")
QUEUE = QueueName("t-requests-q")


@pytest.fixture
async def stopping():
    return asyncio.Event()


@pytest.fixture
async def pauses(runtime, stopping):
    return Pauses(runtime, QUEUE, 20.0, stopping)


async def lasts(pause):
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    await pause
    return loop.time() - began_at


async def test_pause_of_an_outage_doubles_up_to_two_seconds_while_it_is_short(pauses):
    seconds = [await lasts(pauses.after_outage(DOWN, failures)) for failures in range(1, 5)]

    assert all(bound_s / 4 <= took_s <= bound_s for took_s, bound_s in zip(seconds, (0.5, 1.0, 2.0, 2.0), strict=True))


async def test_pause_of_an_outage_is_no_longer_than_thirty_seconds_however_long_it_lasts(pauses):
    await pauses.after_outage(DOWN, 1)
    await asyncio.sleep(3600)

    assert 7.5 <= await lasts(pauses.after_outage(DOWN, 1000)) <= 30.0


async def test_outage_is_reported_once_and_its_end(pauses, events):
    for failures in range(1, 6):
        await pauses.after_outage(DOWN, failures)
    pauses.has_answered()

    assert [type(event) for event in events] == [BrokerDown, BrokerUp]


async def test_pause_after_a_refusal_is_a_minute_and_reported(pauses, events):
    assert await lasts(pauses.after_refusal(BrokerRefused("no right"))) == pytest.approx(60.0)

    assert events == [ReceiveRefused(QUEUE, "no right")]


async def test_pauses_after_empty_receives_grow_to_a_second_and_are_warned_of_once(pauses, events):
    seconds = [await lasts(pauses.after_empties(count)) for count in range(1, 13)]

    assert seconds == pytest.approx([0, 0, 0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0])
    assert [type(event) for event in events] == [BrokerWarning]
    assert "wait for 20 s" in events[0].text


async def test_pause_ends_at_the_stop(pauses, stopping):
    stopping.set()

    assert await lasts(pauses.rest(3600.0)) < 0.01
