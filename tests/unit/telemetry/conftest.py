from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from mulligan.settings.model import Settings
from mulligan.telemetry.hub import Hub
from mulligan.telemetry.log import configure


class Clock:
    """Epoch seconds that stand still until they are advanced."""

    def __init__(self) -> None:
        self.at = 1_700_000_000.25

    def now(self) -> float:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += seconds


class Stream:
    """A file in the place of stderr."""

    def __init__(self, file: Any, path: Path) -> None:
        self.fileno = file.fileno
        self.text = path.read_text


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stderr(tmp_path: Path) -> Iterator[Stream]:
    path = tmp_path / "stderr"
    with path.open("w") as file:
        yield Stream(file, path)


@pytest.fixture
def logging_set_up(clock: Clock, stderr: Stream) -> Iterator[Callable[..., Hub]]:
    """Sets logging up with the given settings; undone at the end of the test."""
    hubs: list[Hub] = []

    def set_up(
        *, worker: int | None = None, rotates: bool = True, listeners: tuple[Any, ...] = (), **given: Any
    ) -> Hub:
        hub = configure(
            Settings(**given),
            worker=worker,
            rotates=rotates,
            now=clock.now,
            listeners=listeners,
            stderr=cast(Any, stderr),
        )
        hubs.append(hub)
        return hub

    yield set_up
    for hub in hubs:
        hub.close()
