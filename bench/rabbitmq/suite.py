"""The figures: a drain of 20,000 messages each, and confirmed sends together and one by one."""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.application import lay_out
from bench.table import Row
from mulligan.brokers.rabbitmq.broker import RabbitBroker
from mulligan.clock import SystemClock
from mulligan.core.delivery import Outgoing, Queues
from mulligan.core.message import QueueName
from tests.support import rabbitmq

MESSAGES = 20_000
ROUNDS = 3
TIMEOUT_S = 120.0
HERE = Path(__file__).parent / "contender"
ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements" / "bench-rabbitmq.txt"
PLACE = ROOT / ".venv" / "bench-rabbitmq"
QUEUES = Queues("bench", QueueName("bench-requests-q"), QueueName("bench-rejects-q"), QueueName("bench-dead-q"))

PEERS = {
    "aio-pika, bare loop": ("aio_pika_app.py", "uvloop, prefetch 300"),
    "FastStream": ("faststream_app.py", "uvloop, prefetch 300"),
    "taskiq-aio-pika": ("taskiq_app.py", "uvloop, prefetch 300, 100 at once"),
    "Dramatiq": ("dramatiq_app.py", "8 threads, no middleware"),
    "Celery": ("celery_app.py", "10 threads, prefetch 300, acks late"),
}
TASK = """
import sys
sys.path.insert(0, {folder!r})
from count import handled
from mulligan import Task
class Noop(Task):
    async def run(self, data: str):
        handled()
"""


@dataclass(frozen=True)
class Drain:
    """rate: messages a second. cpu_ms: CPU of the process that does the work, a message."""

    rate: float
    cpu_ms: float


def run() -> list[Row]:
    """All rows. Contenders take turns, so that no one has the machine's best minute; medians are told."""
    python = environment()
    found: dict[str, list[Drain]] = {}
    failed: dict[str, str] = {}
    with rabbitmq.running() as server:
        for _ in range(ROUNDS):
            for name, told in (("mulligan", "none"), ("mulligan with its ledger", "sqlite:///var/ledger.db")):
                found.setdefault(name, []).append(ours(server, told))
            for name, (script, _settings) in PEERS.items():
                if name in failed:
                    continue
                try:
                    found.setdefault(name, []).append(theirs(server, python, script))
                except (TimeoutError, subprocess.CalledProcessError) as exc:
                    failed[name] = str(exc)
        together, single = asyncio.run(sends(server.url(server.new_vhost())))
    drains = {
        name: Drain(median(d.rate for d in some), median(d.cpu_ms for d in some))
        for name, some in found.items()
        if some
    }
    return [*drain_rows(drains, failed), *send_rows(together, single)]


def drain_rows(drains: Mapping[str, Drain], failed: Mapping[str, str]) -> list[Row]:
    rows = []
    for name, drain in drains.items():
        note = PEERS[name][1] if name in PEERS else f"CONCURRENCY=100, median of {ROUNDS}"
        rows.append(Row("rabbitmq", f"drain, {name}", drain.rate, "msg/s", "", note))
        rows.append(Row("rabbitmq", f"CPU, {name}", drain.cpu_ms, "ms/msg", "", "of the process that does the work"))
    rows += [
        Row("rabbitmq", f"drain, {name}", 0.0, "msg/s", "", f"can't be measured: {why}") for name, why in failed.items()
    ]
    ours_ = drains["mulligan"]
    for name, bound in (("Celery", ">= 4"), ("Dramatiq", ">= 4"), ("FastStream", ">= 1.5"), ("taskiq-aio-pika", "")):
        if name in drains:
            rows.append(Row("rabbitmq", f"drain, mulligan to {name}", ours_.rate / drains[name].rate, "x", bound))
    if bare := drains.get("aio-pika, bare loop"):
        rows.append(Row("rabbitmq", "CPU, mulligan to a bare aio-pika loop", ours_.cpu_ms / bare.cpu_ms, "x", "<= 1.6"))
    return rows


def send_rows(together: float, single: float) -> list[Row]:
    return [
        Row("rabbitmq", "sends confirmed together", together, "msg/s", "", "batches of 100, 4 at once"),
        Row("rabbitmq", "sends one by one", single, "msg/s"),
        Row("rabbitmq", "sends together to one by one", together / single, "x", ">= 10"),
    ]


async def sends(url: str) -> tuple[float, float]:
    """Messages a second: in batches at once, and each waited for."""
    broker = RabbitBroker(url, clock=SystemClock(), emit=lambda _: None)
    await broker.declare(QUEUES, create=True)
    batch = [Outgoing(b"x" * 250, {})] * 100
    await broker.send(QUEUES.requests, batch)
    began_at = time.monotonic()
    for _ in range(25):
        await asyncio.gather(*(broker.send(QUEUES.requests, batch) for _ in range(4)))
    together = 10_000 / (time.monotonic() - began_at)
    began_at = time.monotonic()
    for _ in range(500):
        await broker.send(QUEUES.requests, batch[:1])
    single = 500 / (time.monotonic() - began_at)
    await broker.close()
    return together, single


def ours(server: rabbitmq.RabbitServer, ledger: str) -> Drain:
    """mulligan as a user runs it, with one worker process."""
    url = server.url(server.new_vhost())
    asyncio.run(_fill(url))
    with tempfile.TemporaryDirectory(prefix="mulligan-bench-") as name:
        folder = Path(name) / "application"
        settings = {
            "COMMON_PREFIX": "bench", "POOL_SIZE": 1, "NO_OF_REQUESTS_CONSUMERS": 1, "NO_OF_REJECTS_CONSUMERS": 1,
            "CONCURRENCY": 100, "LEDGER_URL": ledger, "BROKER_URL": url,
        }  # fmt: skip
        lay_out(folder, TASK.format(folder=str(HERE)), **settings)
        return _measured([sys.executable, "-m", "mulligan", "run"], folder, url)


async def _fill(url: str) -> None:
    broker = RabbitBroker(url, clock=SystemClock(), emit=lambda _: None)
    await broker.declare(QUEUES, create=True)
    for _ in range(0, MESSAGES, 100):
        await broker.send(QUEUES.requests, [Outgoing(b'{"number": 1, "text": "%s"}' % (b"x" * 250), {})] * 100)
    await broker.close()


def theirs(server: rabbitmq.RabbitServer, python: Path, script: str) -> Drain:
    """Somebody else's program, filled by itself."""
    url = server.url(server.new_vhost())
    command = [str(python), str(HERE / script)]
    with tempfile.TemporaryDirectory(prefix="mulligan-bench-") as name:
        folder = Path(name)
        with (folder / "seed.log").open("wb") as log:
            subprocess.run(
                [*command, "seed"], env=_variables(url, folder), cwd=folder, check=True, timeout=TIMEOUT_S,
                stdout=log, stderr=log,
            )  # fmt: skip
        return _measured([*command, "run"], folder, url)


def _measured(command: list[str], folder: Path, url: str) -> Drain:
    stamp = folder / "stamp"
    with (folder / "output.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=_variables(url, folder), cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        give_up_at = time.monotonic() + TIMEOUT_S
        while not stamp.exists():
            if time.monotonic() > give_up_at or process.poll() is not None:
                words = (folder / "output.log").read_text(errors="replace")[-500:]
                raise TimeoutError(f"{Path(command[1]).name} did not finish: {words}")
            time.sleep(0.05)
        found = json.loads(stamp.read_text())
        return Drain(found["rate"], found["cpu_ms"])
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 9)
        process.wait(30)


def _variables(url: str, folder: Path) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("MULLIGAN_", "PYTHON"))}
    return kept | {"BENCH_URL": url, "BENCH_TOTAL": str(MESSAGES), "BENCH_STAMP": str(folder / "stamp")}


def environment() -> Path:
    """The contenders' own environment, from its lock file, with the interpreter that runs this."""
    python = PLACE / "bin" / "python"
    wanted = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()
    mark = PLACE / "made-for"
    if not mark.exists() or mark.read_text() != wanted:
        print(f"making {PLACE.relative_to(ROOT)} ...", file=sys.stderr, flush=True)
        shutil.rmtree(PLACE, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(PLACE)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        subprocess.run([*install, "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK)], check=True)
        mark.write_text(wanted)
    return python
