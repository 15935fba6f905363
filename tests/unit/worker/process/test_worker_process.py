"""A worker process by itself: what it answers the supervisor, and how it ends."""

import os
import signal

import pytest

from mulligan.settings.model import Settings
from mulligan.worker.ipc.channel import Drained, Go, Problems, Ready, Setup, SocketChannel, Stop, from_worker
from mulligan.worker.ipc.child import spawn
from mulligan.worker.ipc.lease_table import LeaseTable
from mulligan.worker.process.worker_process import FATAL

REAL_TIME = True

SLOTS = 4
TASK = "from mulligan import Task\n\nclass One(Task):\n    def run(self, data):\n        pass\n"
MANIFEST = "<tasks><task><filename>one</filename><classname>{}</classname><default>false</default></task></tasks>\n"


@pytest.fixture
async def start(tmp_path):
    """Start a worker of an application with one task; its channel and its process."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "one.py").write_text(TASK)
    table = LeaseTable.create(SLOTS)
    started = []

    async def start(class_name: str = "One", **settings):
        (tmp_path / "tasks.xml").write_text(MANIFEST.format(class_name))
        end, process = spawn("mulligan.worker.process.worker_process", table.descriptor, folder=tmp_path)
        channel = await SocketChannel.open(end, from_worker)
        started.append((channel, process))
        chosen = Settings(broker_url="memory://", ledger_url="none", log_file=None, **settings).for_worker(tmp_path)
        channel.send(Setup(0, chosen, 1, 1, SLOTS, str(tmp_path)))
        return channel, process

    yield start
    for channel, process in started:
        process.kill()
        await process.wait()
        channel.close()
    table.close()


async def until(channel, kind):
    """What comes until a message of that kind; it is the last of them."""
    came = []
    while not isinstance(message := await channel.receive(), kind):
        assert message is not None, came
        came.append(message)
    return [*came, message]


async def test_worker_reports_that_it_is_ready_and_drains_when_it_is_to_stop(start):
    channel, process = await start()
    first = await channel.receive()

    channel.send(Go())
    channel.send(Stop(0.0))

    assert first == Ready()
    assert (await until(channel, Drained))[-1] == Drained()
    assert await process.wait() == 0


async def test_worker_reports_the_problems_of_its_tasks_and_settings_together(start):
    channel, process = await start("Nothing", middleware="no_such_module:it")

    (problems,) = await until(channel, Problems)

    assert any("Nothing" in one for one in problems.problems)
    assert any("no_such_module" in one for one in problems.problems)
    assert await process.wait() == 2


async def test_worker_drains_at_sigterm(start):
    channel, process = await start()
    await until(channel, Ready)
    channel.send(Go())

    os.kill(process.pid, signal.SIGTERM)

    assert (await until(channel, Drained))[-1] == Drained()
    assert await process.wait() == 0


@pytest.mark.parametrize(("messages", "code"), [([], FATAL), ([Go()], 0)], ids=["before-go", "at-work"])
async def test_worker_ends_by_itself_when_the_supervisor_is_gone(start, messages, code):
    channel, process = await start()
    await until(channel, Ready)
    for one in messages:
        channel.send(one)

    channel.close()

    assert await process.wait() == code
