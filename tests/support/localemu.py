"""localemu: an SQS server that other people wrote, against which ours and our client are checked from outside.

It runs in an environment of its own (tools/install/localemu.sh), is started once a run by the first test that asks for
it, and keeps everything in memory. A test takes an account of its own: what access keys of twelve digits name.
"""

import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

PYTHON = Path(__file__).parents[2] / ".venv-localemu" / "bin" / "python"
INSTALL = "tools/install/localemu.sh"
READY_S = 90.0

# It looks once a second whose lease or delay has ended; ten times a second here, so that tests need not wait for it.
LAUNCH = """
from localemu.utils.scheduler import Scheduler

schedule = Scheduler.schedule
Scheduler.schedule = lambda self, func, period=None, **more: schedule(self, func, period and 0.1, **more)

from localemu.runtime.main import main

main()
"""


def require() -> None:
    """Skip the test where the environment is missing."""
    if (PYTHON.parents[1] / "made").exists():
        return
    pytest.skip(f"the outside servers are not installed. Install them: {INSTALL}")


class Localemu:
    """A running one. url: its endpoint."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._accounts = count(1)

    def new_account(self) -> str:
        """An account without queues; an access key of the same digits belongs to it."""
        return f"{next(self._accounts):012d}"


@contextmanager
def running() -> Iterator[Localemu]:
    """One, until the end of the block."""
    require()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="mulligan-localemu-") as folder:
        log = Path(folder) / "log"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "SERVICES": "sqs",
            "GATEWAY_LISTEN": f"127.0.0.1:{port}",
            "LOCALEMU_VOLUME_DIR": folder,
            "DISABLE_EVENTS": "1",
            "SQS_DISABLE_CLOUDWATCH_METRICS": "1",
            "SQS_ENDPOINT_STRATEGY": "path",
        }
        with log.open("wb") as out:
            process = subprocess.Popen(
                [PYTHON, "-c", LAUNCH], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        try:
            _await_ready(process, port, log)
            yield Localemu(port)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)


def _await_ready(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        words = log.read_text("utf-8", "replace")[-3000:]
        assert process.poll() is None, f"localemu has ended:\n{words}"
        assert time.monotonic() < deadline, f"localemu does not answer:\n{words}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_localemu/health", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
