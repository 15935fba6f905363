"""A file system that is full, and an application to run on it."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.harness.app import App
from tests.acceptance.harness.source import tasks

__all__ = ["BODIES", "check", "fill", "lay_out", "small"]

BODIES = [f"m{number}" for number in range(40)]

_CODE = tasks(Quick="pass", Slow="await asyncio.sleep(0.2)")


@contextmanager
def small(folder: Path) -> Iterator[Path]:
    """A file system of two megabytes, mounted on a new folder. Skips the test where that can't be."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk here: no disk is filled in this run")
    folder.mkdir()
    told = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=False, capture_output=True, text=True
    )
    if told.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {told.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True, capture_output=True)


def fill(folder: Path) -> Path:
    """Write until nothing more fits; the file that takes all the room."""
    path = folder / "filler"
    with path.open("ab", buffering=0) as filler:
        for size in (65536, 4096, 512, 1):
            while True:
                try:
                    filler.write(bytes(size))
                except OSError:
                    break
    return path


def lay_out(app: App) -> App:
    """Give an application two tasks, and a log that tells all."""
    app.task("work", _CODE)
    app.manifest("work Quick", "work Slow")
    app.settings |= {"POOL_SIZE": 2, "CONCURRENCY": 4, "LEASE_S": 10, "LOG_LEVEL": "INFO"}
    return app


def check(app: App, bodies: Sequence[str]) -> None:
    """Raises AssertionError unless both tasks have done all messages, and nothing is left."""
    for task in ("Quick", "Slow"):
        assert {one.body for one in app.effects(task, "end")} == set(bodies)
    assert app.dead() == []
    assert app.left() == {"requests": 0, "rejects": 0}
