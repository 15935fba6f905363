"""An application laid out in a folder of its own, and started as a user starts it.

Its tasks write every start and end to an append-only effect log, from which the tests read what really happened. What
the tests wait for they look at again and again until a deadline that is far away, so a loaded machine is only slower.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
STARTED_AS = "STARTED_AS"
"""Of the environment of all that a `System` starts: the path of its log."""
LONG_S = 90.0
"""A deadline that only a hang meets."""

EFFECT_MODULE = '''
"""One line a start and an end, written by one call of the system."""
import os
import time
from contextlib import contextmanager

_fd = os.open(os.environ["EFFECT_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def note(what, data, context):
    line = f"{time.monotonic():.6f} {os.getpid()} {context.uid} {context.task} {context.attempt} {what} {data}\\n"
    os.write(_fd, line.encode())


@contextmanager
def effect(data, context):
    """start, then one of end, failed, cut (told to stop)."""
    note("start", data, context)
    what = "cut"
    try:
        yield
        what = "end"
    except Exception:
        what = "failed"
        raise
    finally:
        note(what, data, context)
'''


class Effect(NamedTuple):
    """One line of the effect log. what: start, end, failed, cut. attempt: 1 for the first."""

    at: float
    pid: int
    uid: str
    task: str
    attempt: int
    what: str
    body: str


def until(condition: Callable[[], Any], what: str, *, timeout_s: float = LONG_S) -> Any:
    """What `condition` gives once that is true. Fails with `what` when the deadline has passed."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s in vain until {what}"
        time.sleep(0.02)
    return found


def side_by_side(trials: Iterable[Callable[[], None]]) -> None:
    """Carry out trials that mostly wait, six at a time. Raises the error of the first that failed, once all ended."""
    with ThreadPoolExecutor(6) as pool:
        for ended in [pool.submit(trial) for trial in trials]:
            ended.result()


class Process(NamedTuple):
    pid: int
    parent: int
    group: int
    command: str
    cpu_s: float


def processes(variable: str = "") -> Iterator[Process]:
    """Every process of this machine that can be looked at, or those with this "NAME=value" in their environment;
    zombies are not told.
    """
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            # before the rest is read: a machine may have many others, and some tests ask all the time
            if fields[0] in "ZX" or (
                variable and variable.encode() not in (folder / "environ").read_bytes().split(b"\0")
            ):
                continue
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        yield Process(int(folder.name), int(fields[1]), int(fields[2]), command, _cpu_s(folder, fields))


def _cpu_s(folder: Path, fields: Sequence[str]) -> float:
    """Seconds of CPU; to the nanosecond where the kernel tells, for ticks miss what is shorter than one."""
    with suppress(OSError):
        return sum(int((one / "schedstat").read_text().split()[0]) for one in (folder / "task").iterdir()) / 1e9
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class System:
    """One `python main.py` that was started; its log is the file `stderr`."""

    def __init__(self, popen: "subprocess.Popen[bytes]", stderr: Path) -> None:
        self.popen = popen
        self.stderr = stderr

    @property
    def pid(self) -> int:
        return self.popen.pid

    def log(self) -> str:
        return self.stderr.read_text("utf-8", "replace")

    def wait(self, timeout_s: float = LONG_S) -> int:
        """The exit code."""
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the system had not ended after {timeout_s:g} s. Its log ends with:\n{self.log()[-3000:]}")

    def is_up(self) -> bool:
        assert self.popen.poll() is None, f"the system has ended:\n{self.log()[-3000:]}"
        return " up on " in self.log()

    def until_up(self) -> "System":
        until(self.is_up, "the system is up")
        return self

    def group(self) -> list[Process]:
        """Everything that was started by it and still lives, the supervisor included.

        Told by its environment: workers have sessions of their own.
        """
        return list(processes(f"{STARTED_AS}={self.stderr}"))

    def workers(self) -> list[int]:
        """Pids of its worker processes."""
        return [
            process.pid
            for process in self.group()
            if process.parent == self.pid and "mulligan.worker.process.worker_process" in process.command
        ]

    def interrupt(self) -> None:
        """What Ctrl-C does: SIGINT to the whole group."""
        os.killpg(self.pid, signal.SIGINT)

    def terminate(self) -> None:
        self.popen.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the supervisor alone."""
        self.popen.kill()
        self.popen.wait()

    def signal_all(self, number: int) -> None:
        """A signal for the supervisor, its workers and all that they have started."""
        for process in self.group():
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def end(self) -> None:
        """Leave nothing running, whatever the test did. Processes that are ended may have started others meanwhile."""
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()
        deadline = time.monotonic() + 10
        while (left := self.group()) and time.monotonic() < deadline:
            for process in left:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            time.sleep(0.02)


class App:
    """An application's folder. settings: become MULLIGAN_<NAME> of everything that is started in it.

    before: what everything is started by, such as `ip netns exec NAME`.
    """

    def __init__(self, folder: Path, systems: list[System]) -> None:
        self.folder = folder
        self.before: Sequence[str] = ()
        self.settings: dict[str, Any] = {
            "POOL_SIZE": 2,
            "TASK_BACKOFF_S": 0.2,
            "LOG_LEVEL": "DEBUG",
            "LOG_FORMAT": "text",
            "SHUTDOWN_S": 12,
        }
        self.environment = {
            name: item
            for name, item in os.environ.items()
            if not name.startswith(("MULLIGAN_", "SLACK_", "JIRA_", "TRELLO_", "PYTEST_"))
        }
        self.environment["EFFECT_LOG"] = str(folder / "effects.log")
        self._systems = systems
        self._starts = 0

    # -- lay out

    def lay_out(self) -> "App":
        """main.py, publisher.py and config/ of the repository, an effect log, and no task."""
        self.folder.mkdir(exist_ok=True)
        for name in ("main.py", "publisher.py"):
            shutil.copy(REPOSITORY / name, self.folder)
        shutil.copytree(REPOSITORY / "config", self.folder / "config", ignore=shutil.ignore_patterns("__pycache__"))
        (self.folder / "tasks").mkdir()
        (self.folder / "effect.py").write_text(EFFECT_MODULE)
        return self

    def lay_out_samples(self) -> "App":
        """The repository's own application, with its sample tasks."""
        self.lay_out()
        shutil.copy(REPOSITORY / "tasks.xml", self.folder)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "tasks", self.folder / "tasks", ignore=ignored, dirs_exist_ok=True)
        return self

    def task(self, name: str, code: str) -> None:
        """Write tasks/<name>.py."""
        head = (
            "import asyncio, ctypes, os, signal, sys, time\nfrom effect import effect, note\nfrom mulligan import *\n"
        )
        (self.folder / "tasks" / f"{name}.py").write_text(head + dedent(code))

    def manifest(self, *entries: str) -> None:
        """Write tasks.xml; an entry is "file Class", "file Class default" or "file Class false <more/>"."""
        lines = ["<tasks>"]
        for entry in entries:
            file, cls, *more = entry.split(" ", 3)
            default = str(bool(more) and more[0] == "default").lower()
            lines.append(
                f"<task><filename>{file}</filename><classname>{cls}</classname><default>{default}</default>"
                f"{''.join(more[1:])}</task>"
            )
        (self.folder / "tasks.xml").write_text("\n".join([*lines, "</tasks>"]))

    # -- start

    def _environment(self, settings: dict[str, Any]) -> dict[str, str]:
        every = self.settings | settings
        return self.environment | {f"MULLIGAN_{name}": str(item) for name, item in every.items()}

    def start(self, *arguments: str, before: Sequence[str] = (), **settings: Any) -> System:
        """`python main.py ARGUMENTS`, in a process group of its own."""
        self._starts += 1
        path = self.folder / f"stderr-{self._starts}.log"
        with path.open("wb") as stderr:
            popen = subprocess.Popen(
                [*self.before, *before, sys.executable, "main.py", *arguments],
                cwd=self.folder,
                env=self._environment(settings) | {STARTED_AS: str(path)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
        system = System(popen, path)
        self._systems.append(system)
        return system

    def drain(self, timeout_s: float = LONG_S, **settings: Any) -> System:
        """`python main.py --drain`, until it has ended with exit code 0."""
        system = self.start("--drain", **settings)
        assert system.wait(timeout_s) == 0, system.log()[-3000:]
        return system

    def run(self, *command: str, **settings: Any) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*self.before, *command], check=False, cwd=self.folder, env=self._environment(settings),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONG_S,
        )  # fmt: skip

    def cli(self, *arguments: str, **settings: Any) -> "subprocess.CompletedProcess[str]":
        """`mulligan ARGUMENTS`."""
        return self.run(str(Path(sysconfig.get_path("scripts")) / "mulligan"), *arguments, **settings)

    def publish(self, body: str) -> str:
        """`python publisher.py BODY`; the uid."""
        told = self.run(sys.executable, "publisher.py", body)
        assert told.returncode == 0, told.stderr
        return told.stdout.strip()

    def send(self, bodies: Sequence[str], *arguments: str) -> None:
        """Many messages by one `mulligan send`."""
        path = self.folder / "bodies.txt"
        path.write_text("".join(f"{body}\n" for body in bodies))
        told = self.cli("send", *arguments, f"@{path}")
        assert told.returncode == 0, told.stderr

    # -- look

    def status(self) -> dict[str, dict[str, Any]]:
        """`mulligan status --json`."""
        told = self.cli("status", "--json")
        assert told.returncode == 0, told.stderr
        found: dict[str, dict[str, Any]] = json.loads(told.stdout)["queues"]
        return found

    def status_if_told(self) -> dict[str, dict[str, Any]] | None:
        """The same; None while the broker can't be asked, as after a fault of it."""
        with suppress(AssertionError):
            return self.status()
        return None

    def dead(self) -> list[dict[str, Any]]:
        """`mulligan dead ls --json`."""
        told = self.cli("dead", "ls", "--json")
        assert told.returncode == 0, told.stderr
        found: list[dict[str, Any]] = json.loads(told.stdout)
        return found

    def effects(
        self,
        task: str | None = None,
        what: str | None = None,
        body: str | None = None,
        *,
        tail_bytes: int = 0,
        start: int = 0,
    ) -> list[Effect]:
        """The lines of the effect log, in order. tail_bytes: only those in so much of its end; 0 for all. start: those
        from this byte on, where a line begins.
        """
        path = Path(self.environment["EFFECT_LOG"])
        if not path.exists():
            return []
        with path.open("rb") as log:
            log.seek(start)
            if 0 < tail_bytes < path.stat().st_size:
                log.seek(-tail_bytes, os.SEEK_END)
                log.readline()
            text = log.read().decode()
        found = []
        for line in text[: text.rfind("\n") + 1].splitlines():
            at, pid, uid, name, attempt, kind, data = line.split(" ", 6)
            found.append(Effect(float(at), int(pid), uid, name, int(attempt), kind, data))
        return [
            one
            for one in found
            if (task in (None, one.task)) and (what in (None, one.what)) and (body in (None, one.body))
        ]

    def count(self, task: str | None = None, what: str | None = None, body: str | None = None) -> int:
        path = Path(self.environment["EFFECT_LOG"])
        if (task, what, body) == (None, None, None):  # asked in the middle of long runs: lines, without reading them
            return path.read_bytes().count(b"\n") if path.exists() else 0
        return len(self.effects(task, what, body))

    def until_effect(self, task: str | None = None, what: str | None = None, body: str | None = None) -> None:
        until(lambda: self.count(task, what, body), f"the effect log has {task} {what} {body}")

    def rows(self, database: str, statement: str) -> list[tuple[Any, ...]]:
        """Rows of one of the application's databases, as another process sees them. [] before it has tables."""
        path = self.folder / "var" / database
        if not path.exists():
            return []
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            connection.execute("PRAGMA query_only = 1")
            try:
                return connection.execute(statement).fetchall()
            except sqlite3.OperationalError as exc:
                if "no such table" in str(exc):
                    return []
                raise

    def finished(self) -> set[tuple[str, str]]:
        """(uid, task) of every completion that the ledger has recorded, default tasks included."""
        return finished_in(self.rows("ledger.db", "SELECT uid, progress FROM record WHERE progress IS NOT NULL"))

    def left(self) -> dict[str, int]:
        """Messages of requests and rejects in whatever state, as the broker tells of them."""
        status = self.status()
        return {
            name: sum(status[name][kind] or 0 for kind in ("ready", "delayed", "in_flight"))
            for name in ("requests", "rejects")
        }

    def waiting(self, queue: str) -> int:
        """Messages of a queue (requests, rejects, dead) of the embedded broker, in whatever state."""
        statement = "SELECT count(*) FROM message JOIN queue ON number = queue WHERE name LIKE '%-{}-q'"
        rows = self.rows("mulligan.db", statement.format(queue))
        return int(rows[0][0]) if rows else 0


def finished_in(records: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """(uid, task) of every completion in (uid, progress) of the ledger."""
    done = set()
    for uid, text in records:
        progress = json.loads(text)
        marks = progress["tasks"] | (progress.get("alerts") or {})
        done |= {(uid, task) for task, mark in marks.items() if mark[0] == "d"}
    return done
