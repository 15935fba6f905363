"""The brokers of the soak: how an application is pointed at one, and how it does wrong."""

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from tests.acceptance.harness.app import App
from tests.acceptance.harness.sqs import SqsProgram, start_server
from tests.soak.service import Service
from tests.support import rabbitmq

BATCHES = ("SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch")
SQS_FAULTS: dict[str, list[dict[str, Any]]] = {
    "throttle": [
        {"action": "*", "chance": 0.05, "fault": {"kind": "throttle"}},
        {"action": "*", "chance": 0.01, "fault": {"kind": "html"}},
    ],
    "twins": [
        {"action": "ReceiveMessage", "fault": {"kind": "duplicate", "share": 0.1}},
        {"action": "ReceiveMessage", "chance": 0.2, "fault": {"kind": "reorder"}},
        {"action": "ReceiveMessage", "chance": 0.5, "fault": {"kind": "empty"}},
    ],
    "partly": [
        {"action": action, "chance": 0.2, "fault": {"kind": "fail-entries", "share": 0.2}} for action in BATCHES
    ],
    "cut": [
        {"action": action, "chance": 0.02, "fault": {"kind": "cut", "when": when}}
        for action in (*BATCHES, "ReceiveMessage")
        for when in ("before", "after")
    ],
}
OUTAGE_S = 20.0
ALARM_S = 3.0


class SqliteBroker(Service):
    """The embedded queue: a file in the application's folder. What it suffers, its processes suffer."""

    name = "sqlite"

    def point(self, app: App) -> None:
        """Let the application use it, with queues of its own."""

    def leave(self, app: App) -> None:
        """The application's queues are not needed any more."""

    def begin(self, seed: int, faults: Sequence[str]) -> None:
        """Do wrong from now on."""

    def behave(self) -> None:
        """Do no wrong any more."""


class SqsBroker(SqliteBroker):
    """The project's SQS server, in a process of its own."""

    name = "sqs"

    def __init__(self, server: SqsProgram, shutdown_s: float = 25) -> None:
        """shutdown_s: as a user's system has it; less makes shorter polls, and a drain waits for the last of them."""
        super().__init__()
        self._server = server
        self._shutdown_s = shutdown_s
        self._names = count(1)

    def point(self, app: App) -> None:
        self._server.point(app)
        app.settings["SHUTDOWN_S"] = self._shutdown_s
        app.settings["COMMON_PREFIX"] = f"soak{next(self._names)}"  # queues of its own

    def begin(self, seed: int, faults: Sequence[str]) -> None:
        rules = [rule for fault in faults for rule in SQS_FAULTS.get(fault, ())]
        if rules:
            self._server.play(seed, *rules)

    def behave(self) -> None:
        self._server.behave()

    def _do(self, fault: str) -> None:
        """outage: it takes connections and says nothing, as a black hole does."""
        assert fault == "outage"
        os.kill(self._server.popen.pid, signal.SIGSTOP)
        time.sleep(OUTAGE_S)
        os.kill(self._server.popen.pid, signal.SIGCONT)


class RabbitBroker(SqliteBroker):
    """A RabbitMQ server of our own."""

    name = "rabbitmq"

    def __init__(self, server: rabbitmq.RabbitServer) -> None:
        super().__init__()
        self._server = server
        self._vhosts: dict[Path, str] = {}

    def point(self, app: App) -> None:
        vhost = self._vhosts[app.folder] = self._server.new_vhost()
        app.settings["BROKER_URL"] = self._server.url(vhost)

    def leave(self, app: App) -> None:
        self._server.ctl("delete_vhost", self._vhosts.pop(app.folder))

    def keep_logs(self, folder: Path) -> None:
        super().keep_logs(folder)
        columns = ("name", "messages_ready", "messages_unacknowledged", "consumers", "state")
        with suppress(AssertionError, subprocess.TimeoutExpired):  # when it doesn't answer, its log says why
            (folder / "queues.txt").write_text(self._server.ctl("list_queues", "-p", self._vhosts[folder], *columns))

    def _logs(self) -> Iterable[Path]:
        return self._server.folder.glob("log/*.log")

    def _do(self, fault: str) -> None:
        match fault:
            case "cut off":  # without a word: "close" waits for the answer of a client that stands still
                self._server.ctl("eval", "[exit(Pid, kill) || Pid <- rabbit_networking:connections()].")
            case "close":
                self._server.ctl("close_all_connections", "a fault of the soak")
            case "kill server":
                self._server.kill()
                time.sleep(1.0)
                self._server.start()
            case "alarm":
                self._server.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
                time.sleep(ALARM_S)
                self._server.ctl("set_vm_memory_high_watermark", "0.4")
            case _:
                super()._do(fault)


@contextmanager
def running(name: str) -> Iterator[SqliteBroker]:
    """A broker of this name, ended with the block."""
    with ExitStack() as stack:
        broker: SqliteBroker
        match name:
            case "sqlite":
                broker = SqliteBroker()
            case "sqs":
                server = start_server()
                stack.callback(server.end)
                broker = SqsBroker(server)
            case "rabbitmq":
                broker = RabbitBroker(stack.enter_context(rabbitmq.running()))
            case _:
                raise SystemExit(f"BROKER={name}: there is sqlite, sqs and rabbitmq.")
        stack.callback(broker.close)
        yield broker
