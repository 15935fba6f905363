import asyncio
import contextvars
import sys

import pytest

from mulligan.core.outcome import INTERRUPTED, SUCCEEDED
from mulligan.worker.pipeline.attempt import Attempt
from mulligan.worker.pipeline.attempt_ends import AttemptEnds

NAME = contextvars.ContextVar("name", default="nobody")


class Listener:
    """What gets the ends in the recorder's place; also the context that it was called in."""

    def __init__(self):
        self.calls = []
        self.names = []

    def ended(self, ends):
        self.calls.append([(attempt.number, outcome) for attempt, outcome in ends])
        self.names.append(NAME.get())


@pytest.fixture
def listener():
    return Listener()


@pytest.fixture
async def ends(listener):
    return AttemptEnds(asyncio.get_running_loop(), contextvars.copy_context(), listener)


@pytest.fixture
def begin(ends, make_flight, make_task):
    def begin(number):
        """An attempt under way."""
        attempt = Attempt(make_flight("One"), make_task(lambda message, context: None), number, 0.0)
        ends.running[attempt] = None
        return attempt

    return begin


async def test_ends_of_one_turn_of_the_loop_are_handed_over_together(ends, begin, listener):
    first, second = begin(1), begin(2)

    ends.add(first, SUCCEEDED)
    ends.add(second, INTERRUPTED)
    await asyncio.sleep(0)

    assert listener.calls == [[(1, SUCCEEDED), (2, INTERRUPTED)]]
    assert not ends.running


async def test_second_end_of_an_attempt_is_none(ends, begin, listener):
    attempt = begin(1)

    ends.add(attempt, INTERRUPTED)
    ends.add(attempt, SUCCEEDED)
    await asyncio.sleep(0)

    assert listener.calls == [[(1, INTERRUPTED)]]


async def test_what_an_attempt_bound_is_not_there_for_what_its_end_leads_to(ends, begin, listener):
    NAME.set("an attempt's")

    ends.add(begin(1), SUCCEEDED)
    await asyncio.sleep(0)

    assert listener.names == ["nobody"]


async def test_recursion_limit_that_a_task_has_lowered_is_set_right(ends, begin):
    before = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(before - 100)
        ends.add(begin(1), SUCCEEDED)
        await asyncio.sleep(0)

        assert sys.getrecursionlimit() == before
    finally:
        sys.setrecursionlimit(before)
