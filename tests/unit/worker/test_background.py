"""What becomes of work that nobody awaits."""

import asyncio

import pytest

from mulligan.core.error import Meddled
from mulligan.worker.background import Background


async def test_background_reports_what_its_work_raises_once_and_calls_no_end(failed):
    background, ends = Background(failed.append), []

    async def fails():
        raise ValueError("no more")

    background.spawn(fails(), lambda: ends.append("ended"))
    await background.wait()
    await asyncio.sleep(0)

    assert [str(error) for error in failed] == ["no more"]
    assert ends == []


async def test_background_calls_the_end_of_work_that_has_been_done(failed):
    background, ends = Background(failed.append), []

    background.spawn(asyncio.sleep(1), lambda: ends.append(len(background)))
    await background.wait()
    await asyncio.sleep(0)

    assert ends == [0]
    assert failed == []


async def test_background_takes_a_cancellation_for_an_end_in_order_where_nobody_says_otherwise(failed):
    background, ends = Background(failed.append), []

    background.spawn(asyncio.sleep(60), lambda: ends.append("ended"))
    background.cancel()
    await background.wait()
    await asyncio.sleep(0)

    assert failed == []
    assert ends == ["ended"]


async def test_background_reports_a_cancellation_as_it_was_told(failed):
    """A task of the user's that cancels all tasks of the loop left a worker without anybody who listens."""
    background = Background(failed.append, lambda: Meddled("what listens"))

    background.spawn(asyncio.sleep(60))
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await background.wait()
    await asyncio.sleep(0)

    assert [type(error) for error in failed] == [Meddled]


async def test_background_counts_what_has_not_ended_and_is_not_about_to(failed):
    background = Background(failed.append)

    first = background.spawn(asyncio.sleep(1))
    background.spawn(asyncio.sleep(2))
    background.forget(first)

    assert len(background) == 1
    await background.wait()
    assert len(background) == 0


async def test_background_waits_for_the_first_end_only_when_it_is_asked_to(failed):
    background, loop = Background(failed.append), asyncio.get_running_loop()
    began_at = loop.time()
    background.spawn(asyncio.sleep(1))
    background.spawn(asyncio.sleep(2))

    await background.wait(asyncio.FIRST_COMPLETED)

    assert loop.time() - began_at == pytest.approx(1.0)
    await background.wait()
