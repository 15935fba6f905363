"""How long a start waits for what can't be reached, and what it tells of that."""

import asyncio

import pytest

from mulligan.core.error import LedgerError, LedgerUnavailable
from mulligan.core.event import StartGoesOn, StartWaits
from mulligan.worker.opening import insist, unless
from mulligan.worker.outage import of_start


@pytest.fixture
def call():
    """Fails with these errors, one a call; then it gives "open"."""

    def make(*faults):
        left = list(faults)

        async def call():
            if left:
                raise left.pop(0)
            return "open"

        return call

    return make


@pytest.fixture
async def outage(clock, events):
    return of_start(clock, events.append, "ledger", 60.0)


async def test_start_goes_on_when_what_it_waits_for_is_back(call, outage, clock, events):
    found = await insist(call(*[LedgerUnavailable("refused")] * 5), LedgerUnavailable, outage, clock, within_s=60.0)

    assert found == "open"
    assert events == [StartWaits("ledger", 60.0, "refused"), StartGoesOn("ledger", 5.75)]


async def test_start_gives_up_with_the_last_error_when_it_has_waited_long_enough(call, outage, clock, events):
    began_at = clock.monotonic()

    with pytest.raises(LedgerUnavailable, match="refused"):
        await insist(call(*[LedgerUnavailable("refused")] * 1000), LedgerUnavailable, outage, clock, within_s=60.0)

    assert clock.monotonic() - began_at == 60.0
    assert len(events) == 1


async def test_start_says_what_it_waits_for_while_the_first_try_has_no_answer(outage, clock, events):
    answer = asyncio.Event()
    starting = asyncio.create_task(insist(answer.wait, LedgerUnavailable, outage, clock, within_s=60.0))

    await asyncio.sleep(4)

    assert events == [StartWaits("ledger", 60.0, "no answer yet")]
    answer.set()
    assert await starting
    assert [type(event) for event in events] == [StartWaits, StartGoesOn]


async def test_start_that_is_not_to_wait_fails_at_once_and_tells_no_wait(call, outage, clock, events):
    with pytest.raises(LedgerUnavailable):
        await insist(call(LedgerUnavailable("refused")), LedgerUnavailable, outage, clock, within_s=0.0)

    assert events == []


async def test_start_waits_for_nothing_that_does_not_pass(call, outage, clock, events):
    with pytest.raises(LedgerError, match="damaged"):
        await insist(call(LedgerError("damaged")), LedgerUnavailable, outage, clock)

    assert events == []


async def test_start_that_waits_ends_at_once_when_it_is_told_to(call, outage, clock):
    ending = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(7.0, ending.set_result, None)
    began_at = clock.monotonic()
    waiting = insist(call(*[LedgerUnavailable("refused")] * 1000), LedgerUnavailable, outage, clock)

    assert await unless(ending, waiting) is None

    assert clock.monotonic() - began_at == 7.0
