"""What the system costs when there is nothing to do, and how soon it starts when there is."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.application import STAMP, children_of, cpu_of, environment, lay_out, memory_of, running
from bench.table import Row

SETTLE_S = 4.0
IDLE_S = 15.0
SENDS = 25


def run() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="mulligan-bench-") as name:
        folder = Path(name)
        lay_out(folder, STAMP)
        with running(folder) as supervisor:
            while len(children_of(supervisor.pid)) < 5:
                assert supervisor.poll() is None, "the system ended"
                time.sleep(0.05)
            time.sleep(SETTLE_S)
            workers = children_of(supervisor.pid)
            pids = [supervisor.pid, *workers]
            before, began = cpu_of(pids), time.monotonic()
            time.sleep(IDLE_S)
            busy = (cpu_of(pids) - before) / (time.monotonic() - began)
            latencies = _latencies(folder)
            memory = max(memory_of(pid) for pid in workers)
            whole = _whole_send(folder)
    return [
        Row("idle", "5 consumers waiting in 5 workers, and the supervisor", busy * 100, "% of a core", "<= 1"),
        Row("idle", "from send to the task's start, median", median(latencies) * 1000, "ms", "<= 30"),
        Row("idle", "memory of a worker", memory, "MB", "<= 80"),
        Row("idle", "mulligan send as a whole process, median", whole, "s", "<= 0.5"),
    ]


SENDER = """
import asyncio, sys, time
from pathlib import Path
from mulligan.brokers.open import open_broker
from mulligan.core.delivery import Outgoing, Queues
from mulligan.clock import SystemClock

async def main():
    queues = Queues("msgparser", "msgparser-requests-q", "msgparser-rejects-q", "msgparser-dead-q")
    broker = open_broker("sqlite:///var/mulligan.db", clock=SystemClock(), emit=print, base_dir=Path.cwd())
    await broker.declare(queues, create=False)
    for number in range(int(sys.argv[1])):
        await broker.send(queues.requests, [Outgoing(f"{number} {time.monotonic()}".encode(), {})])
        await asyncio.sleep(0.1)
    await broker.close()

asyncio.run(main())
"""


def _latencies(folder: Path) -> list[float]:
    """Seconds from just before a send to the task's start. The clock is the machine's, the same for all processes."""
    subprocess.run([sys.executable, "-c", SENDER, str(SENDS)], cwd=folder, env=environment(), check=True)
    stamps = folder / "stamps"
    give_up_at = time.monotonic() + 20
    while len(lines := stamps.read_text().splitlines() if stamps.exists() else []) < SENDS:
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"{len(lines)} of {SENDS} messages arrived")
        time.sleep(0.05)
    return [float(started) - float(sent) for _, sent, started in (line.split() for line in lines)]


def _whole_send(folder: Path) -> float:
    times = []
    for _ in range(5):
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "mulligan", "send", "0 0"],
            cwd=folder, env=environment(), check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        times.append(time.monotonic() - began)
    return median(times)
