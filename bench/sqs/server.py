"""The server that contenders are measured on, and what it counted. Built from server.c when a benchmark starts."""

import base64
import hashlib
import json
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

__all__ = ["PLAIN", "STAMP", "Server", "Stats", "Template", "build", "serving", "wait_for"]

HERE = Path(__file__).parent
SETTLE_S = 0.5
STAMP = "@" * 16
"""In a template's body: the server writes the message's number here or, when it sends at a rate, the time."""


@dataclass(frozen=True)
class Template:
    """What every message of a queue is. attributes: as on the wire."""

    body: str
    attributes: Mapping[str, Mapping[str, str]]

    def attributes_md5(self) -> str:
        """The checksum that SQS gives of attributes."""
        parts = bytearray()
        for name, item in sorted(self.attributes.items()):
            for text in (name, item["DataType"]):
                parts += struct.pack(">I", len(text.encode())) + text.encode()
            is_binary = "BinaryValue" in item
            content = base64.b64decode(item["BinaryValue"]) if is_binary else item["StringValue"].encode()
            parts += (b"\x02" if is_binary else b"\x01") + struct.pack(">I", len(content)) + content
        return hashlib.md5(parts, usedforsecurity=False).hexdigest()


PLAIN = Template(STAMP + "x" * (300 - len(STAMP)), {})
"""300 bytes, each message another."""


@dataclass(frozen=True)
class Stats:
    """What the server saw between its opening and the deletion of the last message, or now if that is to come.

    requests: by action. cpu_s: CPU seconds used in between, by process of the contender.
    drain_s: from the first message given out to the last one deleted. steady_s: from a tenth of them deleted to nine.
    """

    is_finished: bool
    requests: Mapping[str, int]
    cpu_s: Mapping[int, float]
    open_s: float
    drain_s: float
    steady_s: float
    received: int
    deleted: int
    late: int
    released: int
    empty: int
    unknown: int
    connections: int
    queues: Mapping[str, Mapping[str, float]]

    @property
    def total_requests(self) -> int:
        """Of all actions."""
        return sum(self.requests.values())

    @property
    def total_cpu_s(self) -> float:
        """Of all processes."""
        return sum(self.cpu_s.values())


class Server:
    """A running server. Use `serving`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def stats(self) -> Stats:
        told = self._ask("/stats")
        before = told["cpu_open"]
        until = told["last_at"] if told["is_finished"] else told["now"]
        return Stats(
            told["is_finished"],
            told["requests"],
            {int(pid): used - before.get(pid, 0.0) for pid, used in told["cpu_last"].items()},
            until - told["opened_at"],
            until - (told["first_at"] or until),
            told["steady_s"],
            *(told[name] for name in ("received", "deleted", "late", "released", "empty", "unknown", "connections")),
            told["queues"],
        )

    def open(self, pid: int) -> None:
        """Give out messages from now on, and watch the CPU time of a process and what it started."""
        self._ask(f"/open?pid={pid}")

    def stored(self) -> Template:
        """The message that was sent last to any queue."""
        told = self._ask("/stored")
        return Template(told["Body"], told["MessageAttributes"])

    def until_finished(self, timeout_s: float, process: "subprocess.Popen[bytes]") -> Stats:
        """Wait until the last message is deleted. Raises TimeoutError."""
        give_up_at = time.monotonic() + timeout_s
        while not (stats := self.stats()).is_finished:
            if process.poll() is not None:
                raise TimeoutError(f"it ended with code {process.returncode} after {stats.deleted} messages")
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"it had deleted {stats.deleted} messages after {timeout_s:g} s")
            time.sleep(0.1)
        return stats

    def _ask(self, path: str) -> dict[str, Any]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


def build(folder: Path) -> Path | None:
    """Compile the server and the load generator into a folder; None without a C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if compiler is None:
        return None
    for name in ("server", "load"):
        subprocess.run([compiler, "-O2", "-o", str(folder / name), str(HERE / f"{name}.c")], check=True)
    return folder / "server"


@contextmanager
def serving(
    program: Path,
    queue: str,
    messages: int,
    template: Template = PLAIN,
    *,
    rate: float = 0.0,
    delay_s: float = 0.0,
    groups: int = 0,
) -> Iterator[Server]:
    """A server that holds `messages` messages on a queue; it ends with the block.

    rate: messages a second that are sent to the queue, instead of all at once. delay_s: before each answer, as a
    network would. groups: of a FIFO queue.
    """
    with tempfile.TemporaryDirectory(prefix="mulligan-bench-") as name:
        folder = Path(name)
        body, attributes = folder / "body", folder / "attributes"
        body.write_text(template.body)
        words = [str(program), "--queue", queue, "--messages", str(messages), "--body", str(body)]
        words += ["--rate", str(rate), "--delay-s", str(delay_s), "--groups", str(groups)]
        if template.attributes:
            attributes.write_text(json.dumps(template.attributes))
            words += ["--attributes", str(attributes), "--attributes-md5", template.attributes_md5()]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            yield Server(port)
        finally:
            process.stdin.close()
            process.wait(10)
            process.stdout.close()


def wait_for(server: Server, queue: str, timeout_s: float, process: "subprocess.Popen[bytes]") -> None:
    """Wait until somebody polls the queue, and a little longer, so that nothing of the start is left."""
    give_up_at = time.monotonic() + timeout_s
    while server.stats().queues.get(queue, {}).get("waiting", 0) < 1:
        if process.poll() is not None:
            raise TimeoutError(f"it ended with code {process.returncode} before it polled {queue}")
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"it did not poll {queue} within {timeout_s:g} s")
        time.sleep(0.05)
    time.sleep(SETTLE_S)
