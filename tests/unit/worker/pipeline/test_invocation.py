import asyncio
from dataclasses import replace

import pytest

from mulligan.core.event import TaskLate
from mulligan.core.outcome import INTERRUPTED, SUCCEEDED, Failed, Skipped, TimedOut
from mulligan.tasks.exceptions import GiveUp, Skip
from mulligan.worker.pipeline.attempt import Attempt
from mulligan.worker.pipeline.invocation import Invocation

TIMED_OUT = TimedOut(5.0)


@pytest.fixture
async def make_invocation(runtime, watch):
    def make_invocation(*middleware):
        return Invocation(asyncio.get_running_loop(), runtime.emit, watch, middleware)

    return make_invocation


@pytest.fixture
async def invocation(make_invocation):
    return make_invocation()


@pytest.fixture
def attempt_of(make_flight, make_task):
    def attempt_of(run, timeout_s=60.0):
        now = asyncio.get_running_loop().time()
        attempt = Attempt(make_flight("One"), make_task(run, name="One"), 1, now)
        attempt.deadline = now + timeout_s
        return attempt

    return attempt_of


async def _succeed(message, context):
    """Nothing to do."""


async def test_attempt_may_begin_late_while_its_claim_is_held(invocation, attempt_of):
    attempt = attempt_of(_succeed)
    loop = asyncio.get_running_loop()

    loop.jump(30.0)

    assert invocation.may_begin(attempt)


async def test_attempt_may_not_begin_late_when_its_claim_may_have_run_out(invocation, attempt_of):
    attempt = attempt_of(_succeed)
    loop = asyncio.get_running_loop()
    attempt.flight.claimed_until = loop.time() + 0.5

    assert invocation.may_begin(attempt)
    loop.jump(0.5)

    assert not invocation.may_begin(attempt)


async def test_attempt_may_not_begin_at_its_deadline_nor_after_its_timeout(invocation, attempt_of):
    late, cancelled = attempt_of(_succeed, timeout_s=0.0), attempt_of(_succeed)
    cancelled.why = TIMED_OUT

    assert not invocation.may_begin(late)
    assert not invocation.may_begin(cancelled)


async def test_sync_attempt_that_may_not_begin_is_interrupted_and_its_task_not_called(invocation, attempt_of):
    called = []
    attempt = attempt_of(lambda message, context: called.append(message), timeout_s=0.0)

    assert invocation.run_sync(attempt) == INTERRUPTED

    assert called == []


@pytest.mark.parametrize(
    ("error", "expected"), [(SystemExit(3), Failed), (KeyboardInterrupt(), Failed), (Skip("not mine"), Skipped)]
)
async def test_whatever_a_task_raises_is_an_outcome(invocation, attempt_of, error, expected):
    async def run(message, context):
        raise error

    def run_sync(message, context):
        raise error

    assert isinstance(await invocation.run_async(attempt_of(run)), expected)
    assert isinstance(invocation.run_sync(attempt_of(run_sync)), expected)


async def test_success_after_the_timeout_is_a_success_and_reported_as_late(invocation, attempt_of, events):
    attempt = attempt_of(_succeed)
    attempt.why = TIMED_OUT
    asyncio.get_running_loop().jump(7.0)

    assert invocation.explained(attempt, SUCCEEDED) == SUCCEEDED

    assert events == [TaskLate(attempt.flight.message.uid, "One", pytest.approx(7.0), 5.0)]


async def test_failure_after_the_timeout_is_the_timeout(invocation, attempt_of):
    attempt = attempt_of(_succeed)
    attempt.why = TIMED_OUT

    assert invocation.explained(attempt, Failed("in its cleanup")) == TIMED_OUT


async def test_failure_is_an_interruption_once_failures_are_forgiven_unless_it_is_final(invocation, attempt_of):
    attempt = attempt_of(_succeed)
    failed = Failed("no connection")

    invocation.forgive()

    assert invocation.explained(attempt, failed) == INTERRUPTED
    assert invocation.explained(attempt, replace(failed, is_final=True)).is_final


async def test_middleware_is_around_the_attempt_outermost_first(make_invocation, attempt_of):
    seen = []

    def around(name):
        async def middleware(call_next, context):
            seen.append((name, context.task))
            return await call_next()

        return middleware

    async def run(message, context):
        seen.append("task")
        raise GiveUp("no such order")

    outcome = await make_invocation(around("first"), around("second")).run_async(attempt_of(run))

    assert seen == [("first", "One"), ("second", "One"), "task"]
    assert isinstance(outcome, Failed)
    assert outcome.is_final
