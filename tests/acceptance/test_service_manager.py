"""What terminals, containers and service managers do to the program: hang-ups, signals during the start, PID 1."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.acceptance.harness.app import LONG_S, App, until

pytestmark = pytest.mark.usefixtures("at_terminal")

TASK = """
class Work(Task):
    max_attempts = 1

    def run(self, data, context: TaskContext):
        with effect(data, context):
            while not os.path.exists(os.environ["EFFECT_LOG"] + ".go"):
                time.sleep(0.02)
            print("printed", flush=True)
"""


@pytest.fixture
def slow(app: App) -> App:
    """Tasks that run until the file `effects.log.go` is there."""
    app.task("work", TASK)
    app.manifest("work Work")
    app.settings |= {"POOL_SIZE": 1, "SHUTDOWN_S": 20}
    return app


def go(app: App) -> None:
    (app.folder / "effects.log.go").touch()


class Terminal:
    """A pseudo terminal whose foreground program is the application."""

    def __init__(self, app: App) -> None:
        self.pid, self.end = pty.fork()
        if self.pid == 0:
            os.chdir(app.folder)
            log = os.open("stderr-pty.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 2)
            os.execve(sys.executable, [sys.executable, "main.py"], app._environment({}))
        self.log_file = app.folder / "stderr-pty.log"

    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def wait(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def terminal(slow: App) -> Iterator[Terminal]:
    terminal = Terminal(slow)
    yield terminal
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(terminal.pid, signal.SIGKILL)
        os.waitpid(terminal.pid, 0)
    with suppress(OSError):
        os.close(terminal.end)


def test_closed_terminal_drains_and_burns_no_attempt_of_a_task_that_can_print_no_more(slow, terminal):
    """Supervisor and workers ended at once by SIGHUP: no grace, and the message waited for its lease."""
    until(lambda: " up on " in terminal.log(), "the system is up")
    slow.send(["one"])
    slow.until_effect("Work", "start")

    os.close(terminal.end)
    until(lambda: "stopping (SIGHUP)" in terminal.log(), "it drains")
    go(slow)

    assert terminal.wait() == 0, terminal.log()
    assert slow.count("Work", "failed") == 1
    assert (slow.left(), slow.dead()) == ({"requests": 1, "rejects": 0}, [])
    slow.drain()
    assert slow.count("Work", "end") == 1


def test_hang_up_under_nohup_ends_neither_the_system_nor_its_workers(slow):
    """The supervisor lived on, both workers died, and the running task began again."""
    system = slow.start(before=("nohup",)).until_up()
    slow.send(["one"])
    slow.until_effect("Work", "start")

    system.signal_all(signal.SIGHUP)
    go(slow)
    slow.until_effect("Work", "end")

    assert (slow.count("Work", "start"), "died" in system.log()) == (1, False)
    system.terminate()
    assert system.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_stop_while_tasks_are_being_loaded_ends_at_once_and_says_so(app, number):
    """It waited for the imports: 20 s longer, without a line of log."""
    app.task(
        "slow", 'open("loading", "w").close()\ntime.sleep(600)\nclass Slow(Task):\n    def run(self, data): pass\n'
    )
    app.manifest("slow Slow")
    system = app.start()
    until((app.folder / "loading").exists, "a task file is being imported")

    system.popen.send_signal(number)

    assert system.wait(10) == 0
    assert f"stopping ({signal.Signals(number).name})" in system.log()
    assert system.group() == []


def test_worker_that_is_killed_while_it_loads_its_tasks_is_tried_again(app):
    """As by the kernel, short of memory: the start was given up as a wrong configuration."""
    code = """
        if not os.path.exists("killed"):
            open("killed", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        class Work(Task):
            def run(self, data): pass
    """
    app.task("work", code)
    app.manifest("work Work")

    system = app.start("--for", "0").until_up()

    assert system.wait() == 0
    assert "died: signal 9 (SIGKILL), 0 messages in flight, restart in 0 s" in system.log()


def test_start_is_given_up_as_a_failure_and_no_wrong_configuration_when_every_worker_is_killed_while_it_loads(app):
    app.task("work", "os.kill(os.getpid(), signal.SIGKILL)\nclass Work(Task):\n    def run(self, data): pass\n")
    app.manifest("work Work")

    system = app.start()

    assert system.wait() == 1
    assert "died while it loaded them (signal 9 (SIGKILL)). Look whether the system kills it (memory)" in system.log()


@pytest.mark.parametrize("where", ["at import", "in __init__"])
def test_task_that_runs_an_event_loop_while_it_is_loaded_starts_where_check_is_green(app, where):
    """`mulligan check` said ok, and the start ended with: asyncio.run() cannot be called from a running event loop."""
    at_import = "asyncio.run(asyncio.sleep(0, 'configured'))" if where == "at import" else "None"
    app.task(
        "loops",
        f"""
        CONFIG = {at_import}
        sys.stdin.read()

        class Loops(Task):
            def __init__(self):
                self.config = CONFIG or asyncio.run(asyncio.sleep(0, "configured"))

            def run(self, data, context: TaskContext):
                with effect(self.config, context):
                    asyncio.run(asyncio.sleep(0))
        """,
    )
    app.manifest("loops Loops")
    app.send(["one"])

    checked = app.cli("check")
    app.drain()

    assert checked.returncode == 0, checked.stdout
    assert app.count("Loops", "end", "configured") == 1


ZOMBIES = """
import subprocess

class Leaves(Task):
    def run(self, data, context: TaskContext):
        with effect(data, context):
            subprocess.run(["sh", "-c", "(sleep 0.1 &) ; exit 0"], check=True)
"""


def test_orphans_of_tasks_do_not_stay_as_zombies_where_the_supervisor_is_the_first_process(app):
    """One more a message, until the pids of the container were used up."""
    app.task("leaves", ZOMBIES)
    app.manifest("leaves Leaves")
    app.settings |= {"POOL_SIZE": 1}
    app.send([f"{number}" for number in range(12)])
    container = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--")
    tried = subprocess.run([*container, "true"], check=False, capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"unshare can't be used here: {tried.stderr.strip()}. Run the tests as root.")

    system = app.start(before=container).until_up()
    until(lambda: app.count("Leaves", "end") == 12, "all have run")
    first = int(Path(f"/proc/{system.pid}/task/{system.pid}/children").read_text().split()[0])
    until(lambda: not list(_zombies(first)), "the orphans have been reaped")

    os.kill(first, signal.SIGTERM)
    assert system.wait(LONG_S) == 0
    assert "died" not in system.log()


def _zombies(parent: int) -> Iterator[int]:
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        with suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                yield int(pid)
