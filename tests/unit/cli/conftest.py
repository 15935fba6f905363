import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mulligan.brokers.memory import MemoryBroker
from mulligan.cli.app import main
from mulligan.cli.session import Session
from mulligan.core import retry_state
from mulligan.core.delivery import Delivery, EntryFault, Outgoing
from mulligan.core.message import QueueName, TaskName, Uid
from mulligan.core.progress import Mark, Progress, State
from mulligan.core.retry_state import RetryState
from mulligan.settings.model import Settings

NOW = 1_700_000_000.0
UID = Uid("018bcfe56800-00112233445566778899")


class Clock:
    """Stands still until it is advanced."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += seconds


class FaultyBroker(MemoryBroker):
    """The memory broker, whose sends and acks end as `plan` says first: an exception raised, or answers of a batch.

    is_late: the messages of a failing send are on the queue all the same, as when a reply is lost.
    """

    plan: list[BaseException | list[EntryFault | None]]
    is_late = False

    async def send(self, queue: QueueName, entries: Sequence[Outgoing]) -> list[EntryFault | None]:
        if not self.plan:
            return await super().send(queue, entries)
        step = self.plan.pop(0)
        if self.is_late:
            await super().send(queue, entries)
        if isinstance(step, BaseException):
            raise step
        answers = step[: len(entries)]
        good = [entry for entry, answer in zip(entries, answers, strict=True) if answer is None]
        await super().send(queue, good)
        return answers


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def session(clock: Clock) -> Session:
    """A session on a memory broker that fails as its `plan` says."""
    broker = FaultyBroker(clock)
    broker.plan = []
    settings = Settings()
    await broker.declare(settings.queues, create=True)
    return Session(settings, broker, settings.queues, clock.now)


@pytest.fixture
def waits() -> list[float]:
    """What was slept."""
    return []


@pytest.fixture
def sleep(waits: list[float]) -> Callable[[float], Any]:
    async def slept(seconds: float) -> None:
        waits.append(seconds)

    return slept


@pytest.fixture
def letter() -> Callable[..., Outgoing]:
    """Makes a dead letter as the worker buries it: One is done, Two is exhausted."""

    def made(uid: str = UID, *, generation: int = 0, body: bytes = b"fo1", **marks: Mark) -> Outgoing:
        known = marks or {
            "One": Mark(State.DONE, 1),
            "Two": Mark(State.EXHAUSTED, 2, 0.0, "ValueError: no\n  at x", NOW),
        }
        progress = Progress({TaskName(name): mark for name, mark in known.items()})
        told = RetryState(Uid(uid), generation, 1, NOW - 5, progress)
        return Outgoing(body, {"source": "shop", retry_state.ATTRIBUTE: retry_state.encode(told)})

    return made


@pytest.fixture
def received(session: Session) -> Callable[[QueueName], Any]:
    """Takes everything that can be received of a queue."""

    async def taken(queue: QueueName) -> list[Delivery]:
        return await session.broker.receive(queue, 100, wait_s=0.0, lease_s=1000.0)

    return taken


@pytest.fixture
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an application with one good task, which is the current folder."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "one.py").write_text(
        "from mulligan import Task\n\n\nclass One(Task):\n    async def run(self, data: str) -> None: ...\n"
    )
    (tmp_path / "tasks.xml").write_text(
        "<tasks><task><filename>one</filename><classname>One</classname><default>false</default></task></tasks>"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [name for name in sys.modules if name == "tasks" or name.startswith("tasks.")]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


@pytest.fixture
def mulligan(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line: (exit code, stdout, stderr)."""

    def ran(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return ran
