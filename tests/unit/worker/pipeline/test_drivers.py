import asyncio
import contextvars

import pytest

from mulligan.core.outcome import INTERRUPTED, SUCCEEDED, Failed
from mulligan.worker.pipeline.attempt import Attempt
from mulligan.worker.pipeline.attempt_ends import AttemptEnds
from mulligan.worker.pipeline.backpressure import Backpressure
from mulligan.worker.pipeline.drivers import Drivers
from mulligan.worker.pipeline.invocation import Invocation

NAME = contextvars.ContextVar("name", default="nobody")


@pytest.fixture
def ends():
    """What ended: tasks' names and outcomes, in order."""
    return []


class Listener:
    """What gets the ends in the recorder's place."""

    def __init__(self, ends):
        self._ends = ends

    def ended(self, ends):
        self._ends.extend((attempt.number, outcome) for attempt, outcome in ends)


@pytest.fixture
def backpressure():
    """On while one end waits for its record."""
    return Backpressure(1)


@pytest.fixture
async def drivers(runtime, watch, backpressure, ends):
    loop = asyncio.get_running_loop()
    invocation = Invocation(loop, runtime.emit, watch)
    return Drivers(
        loop,
        contextvars.copy_context(),
        invocation,
        backpressure,
        AttemptEnds(loop, contextvars.copy_context(), Listener(ends)),
    )


@pytest.fixture
def put(drivers, make_flight, make_task):
    def put(run, count=1, timeout_s=60.0):
        """Attempts of one task that wait to begin."""
        now = asyncio.get_running_loop().time()
        for number in range(1, count + 1):
            attempt = Attempt(make_flight("One"), make_task(run, name="One"), number, now)
            attempt.deadline = now + timeout_s
            drivers.ready.append(attempt)

    return put


async def test_drivers_share_two_tasks_between_attempts_that_do_not_wait(drivers, put, ends):
    tasks = set()

    async def run(message, context):
        tasks.add(asyncio.current_task())

    put(run, 100)
    drivers.add()
    await asyncio.sleep(1)

    assert ends == [(number, SUCCEEDED) for number in range(1, 101)]
    assert len(tasks) <= 2


async def test_drivers_run_attempts_that_wait_side_by_side(drivers, put, ends):
    async def run(message, context):
        await asyncio.sleep(10)

    put(run, 100)
    drivers.add()
    await asyncio.sleep(10.5)

    assert [outcome for _, outcome in ends] == [SUCCEEDED] * 100


async def test_drivers_show_an_attempt_no_context_variable_of_the_one_before(drivers, put, ends):
    seen = []

    async def run(message, context):
        seen.append(NAME.get())
        NAME.set("somebody")

    put(run, 5)
    drivers.add()
    await asyncio.sleep(1)

    assert seen == ["nobody"] * 5
    assert len(ends) == 5


async def test_drivers_give_an_attempt_no_cancellation_of_the_one_before(drivers, put, ends):
    async def run(message, context):
        if len(ends) == 0:
            asyncio.current_task().cancel()
        else:
            await asyncio.sleep(1)

    put(run, 2)
    drivers.add()
    await asyncio.sleep(5)

    assert [number for number, _ in ends] == [1, 2]
    assert ends[1][1] == SUCCEEDED


async def test_drivers_begin_nothing_while_backpressure_is_on_and_the_rest_when_asked_again(
    drivers, put, backpressure, ends
):
    async def run(message, context): ...

    put(run, 2)
    backpressure.ended(1)
    drivers.ask()
    await asyncio.sleep(1)
    assert ends == []
    backpressure.recorded(1)

    drivers.ask()
    await asyncio.sleep(1)

    assert ends == [(1, SUCCEEDED), (2, SUCCEEDED)]


async def test_drivers_interrupt_an_attempt_that_may_not_begin_and_run_the_next(drivers, put, ends):
    async def run(message, context): ...

    put(run, timeout_s=0.0)
    put(run)
    drivers.add()
    await asyncio.sleep(1)

    assert [outcome for _, outcome in ends] == [INTERRUPTED, SUCCEEDED]


async def test_drivers_go_on_after_an_attempt_that_fails(drivers, put, ends):
    async def run(message, context):
        raise KeyboardInterrupt

    put(run, 2)
    drivers.add()
    await asyncio.sleep(1)

    assert [type(outcome) for _, outcome in ends] == [Failed, Failed]
