"""How a coroutine becomes a program, with and without uvloop."""

import asyncio
import subprocess
import sys

import pytest

from mulligan.worker import loop

WITHOUT_UVLOOP = "import sys; sys.modules['uvloop'] = None\n"
KIND = """
import asyncio
from mulligan.worker import loop

async def main():
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]

print(loop.{how}(main()))
"""


async def doubled(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def fail() -> None:
    raise LookupError("by the test")


def test_run_returns_and_raises_what_the_coroutine_does():
    assert loop.run(doubled(2)) == 4
    with pytest.raises(LookupError, match="by the test"):
        loop.run(fail())


@pytest.mark.parametrize("how", ["run", "run_and_leave"])
@pytest.mark.parametrize(("head", "module"), [("", "uvloop"), (WITHOUT_UVLOOP, "asyncio")])
def test_loop_is_that_of_uvloop_where_there_is_one(how, head, module):
    code = head + KIND.format(how=how)

    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)

    assert told.stdout == f"{module}\n"


def test_program_that_leaves_its_loop_does_not_wait_for_a_task_that_swallows_its_cancellation():
    code = """
import asyncio, os
from mulligan.worker.loop import run_and_leave

async def stubborn():
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass

async def main():
    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    task.cancel()
    return "left", task

print(run_and_leave(main())[0], flush=True)
os._exit(0)
"""

    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)

    assert told.stdout == "left\n"
