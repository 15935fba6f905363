"""Throw-away applications for benchmarks, started as a user starts them."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

NOOP = """
from mulligan import Task
class Noop(Task):
    async def run(self, data: str):
        return None
"""
BURN = """
import time
from mulligan import Task
class Burn(Task):
    async def run(self, data: str):
        end = time.process_time() + 0.001
        while time.process_time() < end:
            pass
"""
STAMP = """
import time
from mulligan import Task
class Stamp(Task):
    async def run(self, data: str):
        now = time.monotonic()
        with open("stamps", "a") as file:
            file.write(f"{data} {now}\\n")
"""


def lay_out(folder: Path, task: str, **settings: object) -> None:
    """Make an application with one task."""
    (folder / "config").mkdir(parents=True)
    (folder / "tasks").mkdir()
    (folder / "tasks" / "one.py").write_text(task)
    lines = {"LOG_LEVEL": "WARNING", **settings}
    (folder / "config" / "configuration.py").write_text(
        "".join(f"{name} = {value!r}\n" for name, value in lines.items())
    )


def mulligan(folder: Path, *arguments: str, stdin: bytes | None = None) -> None:
    """Run a command to its end."""
    subprocess.run(
        [sys.executable, "-m", "mulligan", *arguments],
        cwd=folder, env=environment(), input=stdin, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """The system, running; ended by SIGTERM unless it has ended."""
    process = subprocess.Popen([sys.executable, "-m", "mulligan", "run", *arguments], cwd=folder, env=environment())
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(60)


def environment() -> Mapping[str, str]:
    """This process's, without settings."""
    return {name: text for name, text in os.environ.items() if not name.startswith("MULLIGAN_")}


def drain_rate(database: Path, count_sql: str, total: int, timeout_s: float = 180.0) -> float:
    """Messages a second, from the first one that is gone to the last, seen from outside: a look at the queue's table
    every few milliseconds. The same for every contender, and nobody's start-up counts.
    """
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)) as connection:
        give_up_at = time.monotonic() + timeout_s
        began: tuple[float, int] | None = None
        while True:
            left = connection.execute(count_sql).fetchone()[0]
            now = time.monotonic()
            if began is None and left < total:
                began = now, left
            if left == 0:
                break
            if now > give_up_at:
                raise TimeoutError(f"{left} of {total} messages are left in {database} after {timeout_s} s")
            time.sleep(0.004)
    assert began is not None
    return began[1] / max(1e-9, now - began[0])


def cpu_of(pids: list[int]) -> float:
    """CPU seconds that these processes have used."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def memory_of(pid: int) -> float:
    """Resident memory of a process in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def children_of(pid: int) -> list[int]:
    """Processes that `pid` started."""
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
