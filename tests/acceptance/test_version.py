"""Versions side by side: what a newer version of this program left for this one to find."""

import sys

import pytest

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
                    pass
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
