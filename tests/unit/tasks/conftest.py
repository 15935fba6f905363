"""An application's folder to fill, and a message to hand to its tasks."""

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from mulligan.core.error import ConfigurationError
from mulligan.core.message import Message, TaskName, Uid
from mulligan.core.policy import Backoff, Policy
from mulligan.tasks.loader import load
from mulligan.tasks.registry import LoadedTask, TaskRegistry

DEFAULTS = Policy(max_attempts=2, backoff=Backoff(first_s=10.0, factor=2.0, max_s=3600.0), timeout_s=60.0)


class App:
    """An application in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tasks").mkdir()

    def file(self, name: str, code: str) -> None:
        """Write tasks/<name>.py, with what all of them import at the top (as line 1)."""
        text = "from mulligan import *\n" + dedent(code).lstrip("\n")
        (self.folder / "tasks" / f"{name}.py").write_text(text)

    def manifest(self, *entries: str) -> None:
        """Write tasks.xml; an entry is "file Class [true|false] [more elements]"."""
        lines = ["<tasks>"]
        for entry in entries:
            file, cls, default, *more = [*entry.split(" ", 3), "false"] if entry.count(" ") < 2 else entry.split(" ", 3)
            lines.append(
                f"<task><filename>{file}</filename><classname>{cls}</classname><default>{default}</default>"
                f"{''.join(more)}</task>"
            )
        lines.append("</tasks>")
        (self.folder / "tasks.xml").write_text("\n".join(lines))

    def load(self) -> TaskRegistry:
        return load(self.folder, defaults=DEFAULTS)

    def task(self, code: str) -> LoadedTask:
        """The one task of an application whose only file is tasks/one.py, with a class One."""
        self.file("one", code)
        return self.load().tasks[TaskName("One")]

    def problems(self) -> list[str]:
        with pytest.raises(ConfigurationError) as caught:
            self.load()
        return list(caught.value.problems)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    path = list(sys.path)
    folder = tmp_path / "app"
    folder.mkdir()
    yield App(folder)
    sys.path[:] = path
    for name in [name for name in sys.modules if name == "tasks" or name.startswith("tasks.")]:
        del sys.modules[name]


def message_of(body: bytes) -> Message:
    return Message(Uid("018bcfe56800-00000000000000000000"), body, {}, 1_700_000_000.0)


@pytest.fixture
def message() -> Message:
    return message_of(b"hello")
