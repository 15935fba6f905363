"""Versions side by side: what a newer version of this program left for this one to find."""

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

import mulligan

UID = "018bcfe56800-0b090fd81c3e1612c0f0"
NEWER = f'{{"v":2,"uid":"{UID}","gen":0,"jobs":{{"Work":"done"}}}}'


PUT = f"""
import asyncio
from pathlib import Path
from mulligan.brokers.open import open_broker
from mulligan.clock import SystemClock
from mulligan.core.delivery import Outgoing
from mulligan.settings.model import Settings

async def main():
    settings = Settings()
    broker = open_broker(settings.broker_url, clock=SystemClock(), emit=print, base_dir=Path.cwd())
    await broker.declare(settings.queues, create=True)
    await broker.send(settings.queues.rejects, [Outgoing(b"again", {{"mulligan": {NEWER!r}}})])
    await broker.close()

asyncio.run(main())
"""


@pytest.fixture
def work(app):
    app.task(
        "work",
        """
        class Work(Task):
            async def run(self, data, context: TaskContext):
                with effect(data, context):
                    await asyncio.sleep(float(os.environ.get("WORK_S", "0")))
    """,
    )
    app.manifest("work Work")
    return app


def test_drain_ends_with_code_3_and_says_what_is_left_when_a_newer_version_has_copies_on_rejects(work):
    """All its tasks ran again, under another uid, those that were done, too."""
    assert work.run(sys.executable, "-c", PUT).returncode == 0
    work.publish("mine")

    system = work.start("--drain")

    assert system.wait() == 3
    assert [effect.body for effect in work.effects("Work", "end")] == ["mine"]
    assert "1 copy with a state of version 2, this program knows 1" in system.log()
    assert "error: msgparser-rejects-q: 1 message is left, neither run nor removed: 1 with a state of version 2" in (
        system.log()
    )
    assert "upgrade it, or let the newer one run that wrote them" in system.log()
    rejects = work.status()["rejects"]
    assert (rejects["ready"], rejects["delayed"], rejects["in_flight"]) == (0, 1, 0)


# -- another build is installed under a running system


@pytest.fixture
def installation(work, tmp_path):
    """A copy of the program that the application runs on, and that a test can change."""
    folder = tmp_path / "installation"
    shutil.copytree(Path(mulligan.__file__).parent, folder / "mulligan", ignore=shutil.ignore_patterns("__pycache__"))
    work.environment["PYTHONPATH"] = str(folder)
    work.environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return folder / "mulligan"


def changed(path, old, new):
    text = path.read_text("utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), "utf-8")


def upgraded(folder):
    """Another version, whose first message has other fields."""
    changed(folder / "__init__.py", '__version__ = "0.1.0"', '__version__ = "9.9.9"')
    changed(folder / "worker" / "ipc" / "channel.py", "    worker: int\n", "    seat: str\n    worker: int\n")


def broken(folder):
    """One of which a worker can't even begin."""
    (folder / "worker" / "process" / "worker_process.py").write_text("from mulligan.worker import gone\n")


def removed(folder):
    """In the middle of an installation."""
    shutil.rmtree(folder / "worker")


@pytest.mark.parametrize("change", [upgraded, broken, removed])
def test_installation_that_is_changed_under_a_running_system_ends_it_in_order_with_code_75(
    work, installation, until, tmp_path, change
):
    """A worker of the new version got a supervisor of the old one."""
    work.environment["WORK_S"] = "3"
    kept = shutil.copytree(installation, tmp_path / "kept" / "mulligan")
    system = work.start().until_up()
    work.publish("m1")
    busy = int(until(lambda: work.effects("Work", "start"), "the task runs")[0].pid)
    (idle,) = (pid for pid in system.workers() if pid != busy)

    change(installation)
    os.kill(idle, signal.SIGKILL)

    assert system.wait() == 75
    assert work.count("Work", "end") == 1
    assert work.count("Work", "start") == 1
    log = system.log()
    assert "stopping (the installation was changed: restart)" in log
    assert "error: the installation was changed while the system ran (" in log
    assert ("found mulligan 9.9.9 in " in log) is (change is upgraded)
    assert system.group() == []
    work.environment["PYTHONPATH"] = str(kept.parent)
    work.drain()
    assert work.count("Work", "start") == 1


def test_worker_that_is_killed_is_replaced_while_the_installation_is_the_same(work, installation, until):
    system = work.start().until_up()
    before = set(system.workers())

    os.kill(min(before), signal.SIGKILL)

    until(lambda: len(set(system.workers()) - before) == 1, "there is another worker")
    work.publish("m1")
    until(lambda: work.count("Work", "end"), "the message is done")
    system.interrupt()
    assert system.wait() == 0


# -- on a FIFO queue

FIFO = {
    "REQUESTS_QUEUE": "app-requests-q.fifo",
    "REJECTS_QUEUE": "app-rejects-q.fifo",
    "DEAD_QUEUE": "app-dead-q.fifo",
    "FIFO_ON_FAILURE": "continue_group",
}


def test_drain_ends_on_a_fifo_queue_whose_group_waits_behind_a_copy_of_a_newer_version(work, sqs):
    """Nothing tells how many messages wait there: it would have gone on for ever."""
    sqs.point(work)
    work.settings |= FIFO
    sqs.declare(work, FIFO["REQUESTS_QUEUE"])
    client = sqs.client()
    url = client.get_queue_url(QueueName=FIFO["REJECTS_QUEUE"])["QueueUrl"]
    mine = '{"v":1,"uid":"018bcfe56800-%s","gen":0,"hop":1,"seen":1700000000.0,"tasks":{"Work":["p",0]}}'
    for place, (body, group, state) in enumerate(
        [("head", "a", NEWER), ("tail", "a", mine % "1"), ("other", "b", mine % "2")]
    ):
        client.send_message(
            QueueUrl=url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=str(place),
            MessageAttributes={"mulligan": {"DataType": "String", "StringValue": state}},
        )  # fmt: skip
    client.close()

    system = work.start("--drain")

    assert system.wait(150) == 3
    assert [effect.body for effect in work.effects("Work", "end")] == ["other"]
    assert "1 with a state of version 2" in system.log()
    assert "1 behind them in their message groups" in system.log()
    assert "; group a waits." in system.log()
    rejects = work.status()["rejects"]
    assert rejects["ready"] + rejects["in_flight"] == 2
