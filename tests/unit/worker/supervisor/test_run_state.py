import asyncio

import pytest

from mulligan.core.error import ConfigurationError, StorageBroken
from mulligan.worker.supervisor.run_state import RunState


async def test_run_keeps_the_first_reason_and_the_first_error_of_its_end():
    run = RunState()

    run.stop("SIGTERM")
    run.stop("the storage is broken", StorageBroken("the disk"))
    run.stop("the tasks can't be used", ConfigurationError(["no task"]))

    assert (run.reason, str(run.error)) == ("SIGTERM", "the disk")


async def test_pause_is_as_long_as_it_was_asked_for_unless_the_end_begins(clock):
    run = RunState()
    began_at = clock.monotonic()

    await run.pause(5.0)
    asyncio.get_running_loop().call_later(2.0, run.stop, "SIGTERM")
    await run.pause(30.0)

    assert clock.monotonic() - began_at == pytest.approx(7.0)


async def test_work_of_a_start_is_cancelled_when_the_end_begins():
    run, ends = RunState(), []

    async def hangs():
        try:
            await asyncio.sleep(600)
        finally:
            ends.append(asyncio.get_running_loop().time())

    began_at = asyncio.get_running_loop().time()
    asyncio.get_running_loop().call_later(2.0, run.stop, "SIGTERM")
    found = await run.unless_stopping(hangs())

    assert found is None
    assert [at - began_at for at in ends] == [pytest.approx(2.0)]
