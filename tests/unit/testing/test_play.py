"""`mulligan.testing`: one message through the real flow."""

import asyncio
import json
import time

import pytest
from pydantic import BaseModel

from mulligan import Backoff, GiveUp, Message, Retry, Skip, Task, TaskContext
from mulligan.core.error import ConfigurationError
from mulligan.core.event import TaskExhausted
from mulligan.core.message import TaskName
from mulligan.integrations.alert import alert_of, lines_of
from mulligan.telemetry.messages import sentence
from mulligan.testing import play, play_async


class Fine(Task):
    async def run(self, data: str) -> None:
        assert data == "hello"


class Old(Task):
    @classmethod
    def run(cls, data):
        return data == "hello"


class FailsOnce(Task):
    backoff = 20

    async def run(self, data: str, context: TaskContext) -> None:
        if context.attempt == 1:
            raise RuntimeError("the first time")
        assert context.previous_error.startswith("RuntimeError: the first time")


class FailsWithAPieceOfAUrl(Task):
    async def run(self, data: str) -> None:
        raise GiveUp("expected :// in it")


class FailsAlways(Task):
    max_attempts = 3
    backoff = Backoff(first_s=8, factor=2)

    def run(self, data: str) -> bool:
        return False


class Alert(Task):
    seen: list[object] = []  # noqa: RUF012 - shared on purpose, cleared by its test

    async def run(self, data: str, context: TaskContext) -> None:
        self.seen.append((context.failures, context.succeeded))


def test_message_is_dead_when_the_error_of_its_task_holds_a_piece_of_a_url():
    """It never ended: what takes passwords out of the text failed."""
    played = play(FailsWithAPieceOfAUrl, body="hello")

    assert played.is_dead
    assert played.attempts[0].outcome.error == "expected :// in it"


def test_message_is_done_when_every_task_succeeds():
    played = play(Fine, Old, body="hello")

    assert (played.is_done, played.is_dead, played.waits_s) == (True, False, ())
    assert [(one.task, one.number) for one in played.attempts] == [("Fine", 1), ("Old", 1)]


def test_failed_task_alone_is_tried_again_after_its_backoff_and_no_time_goes_by():
    began_at = time.monotonic()

    played = play(Fine, FailsOnce, body="hello")

    assert played.is_done
    assert (played.attempts_of(Fine), played.attempts_of(FailsOnce)) == (1, 2)
    assert played.waits_s == (15.0,)
    assert time.monotonic() - began_at < 5


def test_exhausted_message_is_dead_and_raises_the_default_task_once():
    Alert.seen.clear()

    played = play(Fine, FailsAlways, body="hello", default=[Alert])

    ((failures, succeeded),) = Alert.seen
    assert (played.is_done, played.is_dead) == (False, True)
    assert (played.attempts_of("FailsAlways"), played.error_of(FailsAlways)) == (3, "returned False")
    assert played.waits_s == (6.0, 12.0)
    assert [(one.task, one.attempts) for one in failures] == [("FailsAlways", 3)]
    assert succeeded == ("Fine",)


def test_signals_and_payload_errors_end_as_in_a_worker():
    class Order(BaseModel):
        id: int

    class Asks(Task):
        async def run(self, order: Order, context: TaskContext) -> None:
            if context.attempt == 1:
                raise Retry(after_s=7)

    class Skips(Task):
        async def run(self, data: str) -> None:
            raise Skip("none of mine")

    class GivesUp(Task):
        async def run(self, message: Message) -> None:
            raise GiveUp("never")

    right = play(Asks, Skips, body={"id": 1})
    wrong = play(Asks, GivesUp, body={"id": "x"})

    assert (right.is_done, right.waits_s) == (True, (7.0,))
    assert wrong.attempts_of(Asks) == wrong.attempts_of(GivesUp) == 1
    assert "id: Input should be a valid integer" in wrong.error_of(Asks)


@pytest.mark.parametrize("is_async", [True, False])
def test_task_that_is_over_its_time_times_out(is_async):
    class Slow(Task):
        max_attempts = 1
        timeout_s = 0.01

        if is_async:

            async def run(self, data):
                await asyncio.Event().wait()
        else:

            def run(self, data):
                time.sleep(0.05)

    assert play(Slow, body="").error_of(Slow) == "timed out after 0.01 s"


def test_unrouted_message_is_dead():
    class Picky(Task):
        def accepts(self, message):
            return False

        async def run(self, data):
            raise AssertionError

    played = play(Picky, body="")

    assert (played.is_dead, played.attempts) == (True, ())


def test_task_that_would_not_start_is_told_with_its_problem():
    class Wrong(Task):
        max_attempts = 0

        async def run(self, data):
            pass

    with pytest.raises(ConfigurationError, match="max_attempts is 0, expected"):
        play(Wrong, body="")


async def test_play_works_from_an_async_test_in_a_thread():
    assert (await asyncio.to_thread(play, Fine, body="hello")).is_done


class Chained(Task):
    max_attempts = 1

    async def run(self, data: str) -> None:
        try:
            json.loads(data)
        except ValueError as exc:
            raise RuntimeError("cannot load order") from exc


class Told(Task):
    seen: list[list[str]] = []  # noqa: RUF012 - shared on purpose, cleared by its test

    async def run(self, message: Message, context: TaskContext) -> None:
        self.seen.append(lines_of(alert_of(message, context, message.sent_at)))


def test_cause_of_a_chained_exception_is_in_state_log_line_and_alert():
    Told.seen.clear()
    told = "RuntimeError: cannot load order; caused by JSONDecodeError: Expecting value: line 1 column 1 (char 0)"

    played = play(Chained, default=[Told], body="no json")
    error = played.error_of(Chained)
    log = sentence(TaskExhausted(played.message.uid, TaskName("Chained"), 1, error))

    assert error.splitlines()[0] == told
    assert told in log
    assert told in Told.seen[0][0]


class Asks(Task):
    """Whose answer comes from what the test itself runs in its loop."""

    answers: asyncio.Queue[str]

    async def run(self, data: str) -> bool:
        return await self.answers.get() == data


async def test_play_async_runs_a_task_in_the_loop_of_the_test():
    Asks.answers = asyncio.Queue()
    asyncio.get_running_loop().call_soon(Asks.answers.put_nowait, "hello")

    played = await play_async(Asks, body="hello")

    assert played.is_done


async def test_play_says_what_to_write_when_it_is_called_in_an_async_test():
    with pytest.raises(RuntimeError, match=r"In an async test, write: await play_async\("):
        play(Fine, body="hello")
