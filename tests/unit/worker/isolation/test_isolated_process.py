"""The process in which suspects run, by itself: what it answers to each job."""

import pytest

from mulligan.core import retry_state
from mulligan.core.message import TaskName
from mulligan.core.progress import FRESH, Progress
from mulligan.settings.model import Settings
from mulligan.worker.ipc.channel import Job, JobEnd, Setup, SocketChannel, from_isolated
from mulligan.worker.ipc.child import spawn

REAL_TIME = True

TASKS = """
import os, threading
from mulligan import GiveUp, Retry, Skip, Task

class One(Task):
    def run(self, data):
        match data:
            case "give up": raise GiveUp("in vain")
            case "later": raise Retry(5, "busy")
            case "skip": raise Skip("seen before")
            case "half": raise ValueError(chr(0xd800))
            case "thread": threading.Thread(target=threading.Event().wait, daemon=True).start()
            case "die": os._exit(3)
"""
MANIFEST = "<tasks><task><filename>one</filename><classname>One</classname><default>false</default></task></tasks>\n"


@pytest.fixture
async def isolated(tmp_path):
    """A process that has answered that it is ready: its channel and itself."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "one.py").write_text(TASKS)
    (tmp_path / "tasks.xml").write_text(MANIFEST)
    end, process = spawn("mulligan.worker.isolation.isolated_process", folder=tmp_path)
    channel = await SocketChannel.open(end, from_isolated)
    chosen = Settings(broker_url="memory://", ledger_url="none", log_file=None).for_worker(tmp_path)
    channel.send(Setup(0, chosen, 1, 1, 4, str(tmp_path)))
    assert await channel.receive() == JobEnd("ready")
    yield channel, process
    process.kill()
    await process.wait()
    channel.close()


def job(body: str, task: str = "One") -> Job:
    progress = retry_state.encode_progress(Progress({TaskName(task): FRESH}))
    return Job("018bcfe56800-00000000000000000000", 0, body.encode(), [], 1e9, 1e9, task, 1, progress)


async def answer(channel, one: Job) -> JobEnd:
    channel.send(one)
    told = await channel.receive()
    assert isinstance(told, JobEnd)
    return told


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("well", JobEnd("succeeded")),
        ("skip", JobEnd("skipped", "seen before")),
        ("thread", JobEnd("succeeded", leaves=True)),
    ],
)
async def test_isolated_process_answers_how_an_attempt_ended(isolated, body, told):
    channel, _ = isolated

    assert await answer(channel, job(body)) == told


async def test_isolated_process_tells_failures_with_what_comes_of_them(isolated):
    channel, _ = isolated

    final, later, odd = [await answer(channel, job(body)) for body in ("give up", "later", "half")]

    assert (final.kind, final.is_final) == ("failed", True)
    assert "in vain" in final.text
    assert (later.kind, later.is_final, later.retry_after_s) == ("failed", False, 5)
    assert "\\ud800" in odd.text


async def test_isolated_process_that_lacks_a_task_says_so_and_takes_the_next_job(isolated):
    channel, _ = isolated

    assert await answer(channel, job("well", task="Gone")) == JobEnd("missing")
    assert await answer(channel, job("well")) == JobEnd("succeeded")


async def test_isolated_process_that_its_task_ends_answers_nothing(isolated):
    channel, process = isolated

    channel.send(job("die"))

    assert await channel.receive() is None
    assert await process.wait() == 3
