"""What is told of an outage: its first reason, others that come later, its end; and not a line a try."""

import asyncio

import pytest

from mulligan.core.event import LedgerDown, LedgerUp
from mulligan.worker.outage import of_ledger

REFUSED = "connection refused"
ONLY_READS = "25006: the server only reads"


@pytest.fixture
async def outage(clock, events):
    return of_ledger(clock, events.append)


async def fails(outage, *reasons, every_s=1.0):
    for reason in reasons:
        outage.goes_on(OSError(reason))
        await asyncio.sleep(every_s)


async def test_outage_tells_the_reason_of_now_when_it_is_another_than_at_first(outage, events):
    await fails(outage, REFUSED, *[ONLY_READS] * 30)

    outage.is_over()

    assert events == [LedgerDown(REFUSED), LedgerDown(ONLY_READS), LedgerUp(31.0)]


async def test_outage_tells_each_reason_once_when_they_come_by_turns(outage, events):
    await fails(outage, *[REFUSED, ONLY_READS] * 500)

    assert [event.error for event in events] == [REFUSED, ONLY_READS]


async def test_outage_takes_reasons_that_differ_in_numbers_for_one(outage, events):
    await fails(outage, *(f"no answer from 10.0.0.1:{port} in {port / 7:.2f} s" for port in range(40_000, 40_500)))

    assert len(events) == 1


async def test_outage_tells_no_more_than_a_few_when_each_call_has_a_reason_of_its_own(outage, events):
    words = [f"{first}{second}" for first in "abcdefghij" for second in "abcdefghij"]

    await fails(outage, *words, every_s=11.0)

    assert len(events) == 6


async def test_outage_tells_its_reason_again_when_it_is_a_new_one(outage, events):
    await fails(outage, REFUSED)
    outage.is_over()

    await fails(outage, REFUSED)

    assert [type(event) for event in events] == [LedgerDown, LedgerUp, LedgerDown]
