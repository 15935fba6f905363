"""The processes that came out of an application, told by what they inherited and by nothing that they can leave.

A child can leave its group, its session and its parent, and give up its environment. `System.group` is for the
processes of the program; here is what tasks have started, too.
"""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.acceptance.harness.app import App, System

__all__ = ["Relative", "end_all", "family", "workers"]

END_S = 10.0


class Relative(NamedTuple):
    """A living process of an application; one that has ended and waits for its parent is none."""

    pid: int
    parent: int
    session: int
    command: str
    environment: dict[str, str]


def family(app: App) -> list[Relative]:
    """Every process of this machine whose environment or command names the application's effect log or folder."""
    log = app.environment["EFFECT_LOG"]
    return [one for one in _all() if one.environment.get("EFFECT_LOG") == log or f"{app.folder}/" in one.command]


def _all() -> Iterator[Relative]:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with suppress(OSError):  # it has ended, or is somebody else's
            environment = (folder / "environ").read_bytes()
            command = (folder / "cmdline").read_bytes()
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if fields[0] not in "ZX":
                yield Relative(
                    int(folder.name), int(fields[1]), int(fields[3]), _text(command),
                    dict(item.split("=", 1) for item in _text(environment, "\n").splitlines() if "=" in item),
                )  # fmt: skip


def _text(raw: bytes, separator: str = " ") -> str:
    return raw.decode("utf-8", "replace").replace("\0", separator)


def workers(system: System) -> dict[int, int]:
    """Number and pid of the workers that have said that they are up, and live.

    A child that a worker forked has the worker's command, and may have its parent, too: the log tells them apart.
    """
    latest = {int(number): int(pid) for number, pid in re.findall(r"worker (\d+) \(pid (\d+)\) is up: ", system.log())}
    living = {}
    for number, pid in latest.items():
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if fields[0] not in "ZX" and int(fields[1]) == system.pid:
                living[number] = pid
    return living


def end_all(find: Callable[[], list[Relative]]) -> None:
    """SIGKILL to what is found, until nothing is: those that end may have started others meanwhile."""
    deadline = time.monotonic() + END_S
    while (left := find()) and time.monotonic() < deadline:
        for one in left:
            with suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
        time.sleep(0.02)
