import asyncio
import contextvars
import threading
from dataclasses import replace

import pytest

from mulligan.core.event import TaskLate, TaskStuck
from mulligan.core.message import TaskName
from mulligan.core.outcome import INTERRUPTED, SUCCEEDED, Failed, Skipped, TimedOut
from mulligan.core.progress import Mark, Progress, State
from mulligan.tasks.exceptions import GiveUp, Retry, Skip
from mulligan.worker.pipeline.backpressure import Backpressure
from mulligan.worker.pipeline.runner import STUCK_AFTER_S, Runner

NAME = contextvars.ContextVar("name", default="nobody")


class Ends:
    """What ended, by flight and task, in order; and a way to wait for so many."""

    def __init__(self):
        self.outcomes = []
        self.attempts = []
        self.changed = asyncio.Event()

    def ended(self, ends):
        """As the recorder's."""
        for attempt, outcome in ends:
            attempt.flight.running -= 1
            self.attempts.append(attempt)
            self.outcomes.append((str(attempt.task.name), outcome))
        self.changed.set()

    async def until(self, count=1):
        while len(self.outcomes) < count:
            self.changed.clear()
            await self.changed.wait()

    async def until_threads_end(self, count=1):
        with asyncio.get_running_loop().standing_still():
            await self.until(count)


@pytest.fixture
async def ends():
    return Ends()


@pytest.fixture
async def stuck():
    """Why this process is to be replaced."""
    return []


@pytest.fixture
async def recycling(runtime, stuck):
    return replace(runtime, recycle=stuck.append)


@pytest.fixture
async def make_runner(ends, recycling, watch):
    made = []

    def make(*middleware):
        made.append(Runner(recycling, watch, ends, Backpressure(), middleware))
        return made[-1]

    yield make
    for runner in made:
        runner.interrupt()
        await asyncio.sleep(1)
        runner.close()


@pytest.fixture
async def runner(make_runner):
    return make_runner()


@pytest.fixture
def start(runner, make_flight):
    def start(*tasks):
        flight = make_flight(*(task.name for task in tasks))
        runner.start([flight], tasks)
        return flight

    return start


async def failed_text(ends):
    await ends.until()
    ((_, outcome),) = ends.outcomes
    assert isinstance(outcome, Failed)
    return outcome.error


# -- ends


async def test_runner_tells_success_when_an_async_task_returns(start, ends, make_task):
    async def run(message, context):
        assert message.text == "hello"
        assert (context.attempt, context.max_attempts, context.task) == (1, 2, "One")

    start(make_task(run))
    await ends.until()

    assert ends.outcomes == [("One", SUCCEEDED)]


async def test_runner_tells_success_when_a_sync_task_returns(start, ends, make_task):
    start(make_task(lambda message, context: True))
    await ends.until_threads_end()

    assert ends.outcomes == [("One", SUCCEEDED)]


async def test_runner_runs_a_sync_task_off_the_event_loops_thread(start, ends, make_task):
    names = []
    start(make_task(lambda message, context: names.append(threading.current_thread().name)))
    await ends.until_threads_end()

    assert names == ["mulligan-task-1"]


@pytest.mark.parametrize(
    "raised", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), StopIteration()]
)
async def test_runner_makes_a_failure_of_whatever_an_async_task_raises(start, ends, make_task, raised):
    async def run(message, context):
        raise raised

    start(make_task(run))

    expected = "RuntimeError" if isinstance(raised, StopIteration) else type(raised).__name__
    assert (await failed_text(ends)).startswith(expected)


@pytest.mark.parametrize("raised", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), StopIteration()])
async def test_runner_makes_a_failure_of_whatever_a_sync_task_raises(start, ends, make_task, raised):
    def run(message, context):
        raise raised

    start(make_task(run))
    with asyncio.get_running_loop().standing_still():
        text = await failed_text(ends)

    assert text.startswith(type(raised).__name__)


async def test_runner_understands_retry_give_up_and_skip(start, ends, make_task):
    async def retry(message, context):
        raise Retry(after_s=7.5, reason="busy")

    async def give_up(message, context):
        raise GiveUp("no such customer")

    async def skip(message, context):
        raise Skip("not ours")

    start(make_task(retry, "Retries"), make_task(give_up, "GivesUp"), make_task(skip, "Skips"))
    await ends.until(3)

    assert dict(ends.outcomes) == {
        "Retries": Failed("busy", retry_after_s=7.5),
        "GivesUp": Failed("no such customer", is_final=True),
        "Skips": Skipped("not ours"),
    }


async def test_runner_takes_the_wait_of_the_tasks_own_backoff_function(start, ends, make_task):
    async def run(message, context):
        return False

    start(make_task(run, backoff_fn=lambda attempts: attempts * 100.0))
    await ends.until()

    assert ends.outcomes == [("One", Failed("returned False", retry_after_s=100.0))]


async def test_runner_takes_the_wait_of_the_tasks_own_backoff_function_after_a_timeout(start, ends, make_task):
    async def run(message, context):
        await asyncio.sleep(60)

    start(make_task(run, timeout_s=5.0, backoff_fn=lambda attempts: attempts * 100.0))
    await ends.until()

    assert ends.outcomes == [("One", TimedOut(5.0, 100.0))]


@pytest.mark.parametrize(("kind", "name"), [(ZeroDivisionError, "ZeroDivisionError"), (SystemExit, "SystemExit")])
async def test_runner_uses_the_default_wait_when_the_tasks_backoff_function_raises(start, ends, make_task, kind, name):
    async def run(message, context):
        return False

    def wait_s(attempts):
        raise kind("no")

    start(make_task(run, backoff_fn=wait_s))
    await ends.until()

    ((_, outcome),) = ends.outcomes
    assert outcome.retry_after_s is None
    assert f"backoff() raised {name}" in outcome.error


# -- side by side


async def test_runner_runs_a_hundred_waiting_tasks_side_by_side(start, ends, make_task):
    async def run(message, context):
        await asyncio.sleep(10)

    loop = asyncio.get_running_loop()
    begun_at = loop.time()

    for _ in range(100):
        start(make_task(run))
    await ends.until(100)

    assert loop.time() - begun_at == pytest.approx(10)


@pytest.mark.parametrize("waits", [True, False])
async def test_runner_shows_an_attempt_no_context_variable_of_the_one_whose_end_led_to_it(
    runtime, watch, make_task, make_flight, waits
):
    seen = []

    async def run(message, context):
        seen.append(NAME.get())
        NAME.set("somebody")
        if waits:
            await asyncio.sleep(1)

    class GoesOn:
        def ended(self, ends):
            if len(seen) < 3:
                runner.start([make_flight("One")], [make_task(run)])

    follower = GoesOn()
    runner = Runner(runtime, watch, follower, Backpressure())
    follower.ended([])
    await asyncio.sleep(10)
    runner.close()

    assert seen == ["nobody"] * 3


async def test_runner_counts_attempts_from_the_marks(runner, ends, make_task, make_flight):
    seen = []

    async def run(message, context):
        seen.append((context.attempt, context.is_last_attempt))

    flight = make_flight("One")
    flight.progress = Progress({TaskName("One"): Mark(State.PENDING, 1)})

    runner.start([flight], [make_task(run)])
    await ends.until()

    assert seen == [(2, True)]


async def test_runner_tells_a_default_task_what_failed_and_what_was_done(runner, ends, make_task, make_flight):
    seen = []

    async def run(message, context):
        seen.append(([(one.task, one.reason, one.attempts) for one in context.failures], context.succeeded))

    flight = make_flight()
    flight.progress = Progress(
        {TaskName("Jira"): Mark(State.EXHAUSTED, 2, reason="no"), TaskName("Mail"): Mark(State.DONE, 1)},
        {TaskName("Alert"): Mark()},
        is_buried=True,
    )

    runner.start([flight], [make_task(run, "Alert", is_default=True)])
    await ends.until()

    assert seen == [([("Jira", "no", 2)], ("Mail",))]


# -- timeouts


async def test_runner_times_an_async_task_out_by_cancelling_it(start, ends, make_task):
    cleaned = []

    async def run(message, context):
        try:
            await asyncio.sleep(100)
        finally:
            cleaned.append(asyncio.get_running_loop().time() - 1000)

    start(make_task(run, timeout_s=5.0))
    await ends.until()

    assert ends.outcomes == [("One", TimedOut(5.0))]
    assert cleaned == [5.0]


async def test_runner_times_out_only_the_attempt_that_is_late(start, ends, make_task):
    async def slow(message, context):
        await asyncio.sleep(100)

    async def quick(message, context):
        await asyncio.sleep(4)

    start(make_task(slow, "Slow", timeout_s=5.0), make_task(quick, "Quick", timeout_s=5.0))
    await ends.until(2)

    assert ends.outcomes == [("Quick", SUCCEEDED), ("Slow", TimedOut(5.0))]


async def test_runner_takes_a_success_when_a_task_swallows_its_cancellation_and_ends(start, ends, make_task):
    async def run(message, context):
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            await asyncio.sleep(1)  # what it was doing could not be left half done

    start(make_task(run, timeout_s=5.0))
    await ends.until()

    assert ends.outcomes == [("One", SUCCEEDED)]


async def test_runner_says_that_a_success_was_late_when_the_task_swallowed_its_cancellation(
    start, ends, events, make_task
):
    async def run(message, context):
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            await asyncio.sleep(1)

    flight = start(make_task(run, timeout_s=5.0))
    await ends.until()

    assert events == [TaskLate(flight.message.uid, TaskName("One"), pytest.approx(6.0), 5.0)]


async def test_runner_says_nothing_of_lateness_when_the_task_was_in_time(start, ends, events, make_task):
    async def run(message, context):
        await asyncio.sleep(4.9)

    start(make_task(run, timeout_s=5.0))
    await ends.until()

    assert events == []


async def test_runner_tells_the_timeout_when_a_task_fails_in_its_cleanup(start, ends, make_task):
    async def run(message, context):
        try:
            await asyncio.sleep(100)
        finally:
            raise OSError("connection is closed already")

    start(make_task(run, timeout_s=5.0))
    await ends.until()

    assert ends.outcomes == [("One", TimedOut(5.0))]


async def test_runner_says_that_a_task_is_stuck_when_it_ignores_its_timeout(start, ends, stuck, events, make_task):
    may_end = asyncio.Event()

    async def run(message, context):
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                continue

    flight = start(make_task(run, timeout_s=5.0))
    await asyncio.sleep(5 + STUCK_AFTER_S + 1)

    assert stuck == ["task One goes on although its 5 s are over"]
    assert events == [TaskStuck(flight.message.uid, TaskName("One"), 15.0)]
    assert ends.outcomes == []
    may_end.set()
    await ends.until()


async def test_runner_keeps_a_sync_task_that_timed_out_until_its_thread_ends(start, runner, ends, make_task):
    may_end = threading.Event()

    def run(message, context):
        may_end.wait(10)
        return False

    start(make_task(run, timeout_s=5.0))
    await asyncio.sleep(6)
    assert runner.running == 1

    may_end.set()
    await ends.until_threads_end()

    assert ends.outcomes == [("One", TimedOut(5.0))]


async def test_runner_takes_the_success_of_a_sync_task_that_came_too_late(start, ends, make_task):
    may_end = threading.Event()
    start(make_task(lambda message, context: may_end.wait(10) and None, timeout_s=5.0))
    await asyncio.sleep(6)

    may_end.set()
    await ends.until_threads_end()

    assert ends.outcomes == [("One", SUCCEEDED)]


async def test_runner_says_that_the_success_of_a_sync_task_was_late(start, ends, events, make_task):
    may_end = threading.Event()
    flight = start(make_task(lambda message, context: may_end.wait(10) and None, timeout_s=5.0))
    await asyncio.sleep(6)

    may_end.set()
    await ends.until_threads_end()

    assert events == [TaskLate(flight.message.uid, TaskName("One"), pytest.approx(6.0), 5.0)]


async def test_runner_burns_no_attempt_of_a_task_that_never_began_because_the_loop_was_held(start, ends, make_task):
    async def run(message, context):
        raise AssertionError("must not begin")

    start(make_task(run, timeout_s=5.0))
    # its timer is due before its first turn, as after a neighbour that held the interpreter
    asyncio.get_running_loop().jump(6.0)
    await ends.until()

    assert ends.outcomes == [("One", INTERRUPTED)]


async def test_runner_burns_no_attempt_of_a_sync_task_that_got_no_thread_before_its_timeout(
    start, ends, make_task, monkeypatch
):
    late = []

    def not_yet(thread):
        late.append(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", not_yet)
        start(make_task(lambda message, context: pytest.fail("must not begin"), timeout_s=5.0))
        await asyncio.sleep(6)  # its timer has fired

    for thread in late:
        thread.start()
    await ends.until_threads_end()

    assert ends.outcomes == [("One", INTERRUPTED)]


async def test_runner_lets_a_task_use_timeouts_of_its_own_beside_others(start, ends, make_task):
    caught = []

    async def run(message, context):
        try:
            async with asyncio.timeout(2):
                await asyncio.sleep(100)
        except TimeoutError:
            caught.append(asyncio.current_task().cancelling())

    for _ in range(3):
        start(make_task(run))
    await ends.until(3)

    assert [outcome for _, outcome in ends.outcomes] == [SUCCEEDED] * 3
    assert caught == [0, 0, 0]


# -- cancellation


async def test_runner_interrupts_async_tasks_and_those_not_begun(start, runner, ends, make_task):
    async def run(message, context):
        await asyncio.sleep(100)

    start(make_task(run, "Begun"))
    await asyncio.sleep(1)
    start(make_task(run, "NotBegun"))

    runner.interrupt()
    await ends.until(2)

    assert sorted(ends.outcomes) == [("Begun", INTERRUPTED), ("NotBegun", INTERRUPTED)]
    assert runner.running == 0


async def test_runner_interrupts_only_the_flight_that_it_is_asked_to(start, runner, ends, make_task):
    async def run(message, context):
        await asyncio.sleep(10)

    start(make_task(run, "Other"))
    lost = start(make_task(run, "Lost"))
    await asyncio.sleep(1)

    runner.interrupt(lambda flight: flight is lost)
    await ends.until(2)

    assert ends.outcomes == [("Lost", INTERRUPTED), ("Other", SUCCEEDED)]


async def test_runner_burns_no_attempt_when_an_interrupted_task_fails_in_its_cleanup(start, runner, ends, make_task):
    async def run(message, context):
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            raise RuntimeError("the session is closed") from None

    start(make_task(run))
    await asyncio.sleep(1)

    runner.interrupt()
    await ends.until()

    assert ends.outcomes == [("One", INTERRUPTED)]


async def test_runner_makes_a_failure_of_a_task_that_cancels_itself(start, ends, make_task):
    async def run(message, context):
        asyncio.current_task().cancel()
        await asyncio.sleep(1)

    start(make_task(run))

    assert (await failed_text(ends)).startswith("CancelledError")


async def test_runner_blames_no_neighbour_when_a_task_cancels_itself_and_returns(start, ends, make_task):
    async def cancels(message, context):
        asyncio.current_task().cancel()

    async def innocent(message, context):
        await asyncio.sleep(1)

    start(make_task(cancels, "Cancels"))
    for _ in range(3):
        start(make_task(innocent, "Innocent"))
    await ends.until(4)

    assert [outcome for name, outcome in ends.outcomes if name == "Innocent"] == [SUCCEEDED] * 3


async def test_runner_gives_an_attempt_no_cancellation_of_the_one_before(start, ends, make_task):
    async def slow(message, context):
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            start(make_task(after, "After"))

    async def after(message, context):
        assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(1)

    start(make_task(slow, "Slow", timeout_s=5.0))
    await ends.until(2)

    assert ends.outcomes == [("Slow", SUCCEEDED), ("After", SUCCEEDED)]


async def test_runner_abandons_what_does_not_end_and_is_not_told_of_its_end_later(start, runner, ends, make_task):
    may_end = threading.Event()
    has_ended = threading.Event()

    def run(message, context):
        may_end.wait(10)
        has_ended.set()

    async def hangs(message, context):
        while True:
            try:
                await asyncio.sleep(1000)
                return
            except asyncio.CancelledError:
                continue

    start(make_task(run, "Sync", timeout_s=5.0), make_task(hangs, "Hangs", timeout_s=500.0))
    await asyncio.sleep(6)

    left = {attempt.task.name: outcome for attempt, outcome in runner.abandon()}

    assert left == {"Sync": TimedOut(5.0), "Hangs": INTERRUPTED}
    assert runner.running == 0
    may_end.set()
    has_ended.wait(10)
    await asyncio.sleep(2000)
    assert ends.outcomes == []


# -- middleware


async def test_runner_wraps_each_attempt_in_its_middleware_outermost_first(make_runner, ends, make_task, make_flight):
    told = []

    def naming(name):
        async def middleware(call_next, context):
            told.append(f"{name} before {context.task}")
            result = await call_next()
            told.append(f"{name} after")
            return result

        return middleware

    async def run(message, context):
        told.append("run")

    make_runner(naming("outer"), naming("inner")).start([make_flight("One")], [make_task(run)])
    await ends.until()

    assert told == ["outer before One", "inner before One", "run", "inner after", "outer after"]
    assert ends.outcomes == [("One", SUCCEEDED)]


async def test_runner_fails_the_attempt_when_its_middleware_raises(make_runner, ends, make_task, make_flight):
    async def middleware(call_next, context):
        raise LookupError("no trace")

    make_runner(middleware).start([make_flight("One")], [make_task(lambda message, context: None)])

    assert (await failed_text(ends)).startswith("LookupError: no trace")


async def test_runner_shows_a_sync_task_the_context_variables_of_its_middleware(
    make_runner, ends, make_task, make_flight
):
    seen = []

    async def middleware(call_next, context):
        NAME.set("a trace")
        return await call_next()

    make_runner(middleware).start([make_flight("One")], [make_task(lambda message, context: seen.append(NAME.get()))])
    await ends.until_threads_end()

    assert seen == ["a trace"]


@pytest.mark.parametrize("raised", [StopIteration(), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_runner_makes_a_failure_of_whatever_a_wrapped_sync_task_raises(
    make_runner, ends, make_task, make_flight, raised
):
    async def middleware(call_next, context):
        return await call_next()

    def run(message, context):
        raise raised

    make_runner(middleware).start([make_flight("One")], [make_task(run)])
    with asyncio.get_running_loop().standing_still():
        text = await failed_text(ends)

    assert type(raised).__name__ in text


async def test_runner_waits_for_the_thread_of_a_wrapped_sync_task_that_timed_out(
    make_runner, ends, make_task, make_flight
):
    may_end = threading.Event()

    async def middleware(call_next, context):
        return await call_next()

    def run(message, context):
        may_end.wait(10)
        return False

    runner = make_runner(middleware)
    runner.start([make_flight("One")], [make_task(run, timeout_s=5.0)])
    await asyncio.sleep(6)
    assert ends.outcomes == []

    may_end.set()
    await ends.until_threads_end()

    assert ends.outcomes == [("One", TimedOut(5.0))]


# -- the brake


@pytest.fixture
async def braked(ends, recycling, watch):
    """A runner whose brake is on, and the brake."""
    backpressure = Backpressure(1)
    runner = Runner(recycling, watch, ends, backpressure)
    backpressure.ended(1)
    yield runner, backpressure
    runner.interrupt()
    await asyncio.sleep(1)
    runner.close()


@pytest.fixture
def two(make_flight, make_task):
    """A flight with an async and a sync task, and what they note when they run."""
    ran = []

    async def run(message, context):
        ran.append("async")

    tasks = [make_task(run, "Async"), make_task(lambda message, context: ran.append("sync"), "Sync")]
    return make_flight("Async", "Sync"), tasks, ran


async def test_runner_begins_nothing_while_the_brake_is_on_and_all_of_it_then(braked, two, ends):
    (runner, backpressure), (flight, tasks, ran) = braked, two
    runner.start([flight], tasks)
    await asyncio.sleep(5)
    assert ran == []

    backpressure.recorded(1)
    await ends.until_threads_end(2)

    assert sorted(ran) == ["async", "sync"]
    assert sorted(ends.outcomes) == [("Async", SUCCEEDED), ("Sync", SUCCEEDED)]


async def test_runner_begins_no_more_once_the_brake_is_on(braked, make_flight, make_task, ends):
    (runner, backpressure), ran = braked, []

    async def run(message, context):
        ran.append(message.text)
        backpressure.ended(1)  # as the recorder does, when it hears of the end

    backpressure.recorded(1)
    runner.start([make_flight("One"), make_flight("One")], [make_task(run)])
    await asyncio.sleep(5)
    assert len(ran) == 1

    backpressure.recorded(1)
    await ends.until(2)

    assert len(ran) == 2


async def test_runner_interrupts_what_waits_for_the_brake(braked, two, ends):
    (runner, _), (flight, tasks, ran) = braked, two
    runner.start([flight], tasks)

    runner.interrupt()
    await ends.until(2)

    assert sorted(ends.outcomes, key=str) == [("Async", INTERRUPTED), ("Sync", INTERRUPTED)]
    assert (ran, runner.running) == ([], 0)


async def test_runner_burns_no_attempt_when_the_brake_is_on_for_longer_than_a_timeout(braked, two, ends):
    (runner, backpressure), (flight, tasks, ran) = braked, two
    runner.start([flight], tasks)

    await ends.until(2)
    backpressure.recorded(1)
    await asyncio.sleep(5)

    assert sorted(ends.outcomes, key=str) == [("Async", INTERRUPTED), ("Sync", INTERRUPTED)]
    assert ran == []
