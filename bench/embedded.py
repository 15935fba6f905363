"""The embedded queue: how fast it is drained, against huey with the same durability, and by two processes."""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from bench.application import BURN, NOOP, drain_rate, lay_out, mulligan, running
from bench.table import Row

MESSAGES = 20_000
HUEY_MESSAGES = 3_000
BURN_MESSAGES = 4_000
HUEY_SETTINGS = [(1, "thread"), (4, "thread"), (1, "process"), (2, "process")]
OUR_CONCURRENCY = [100, 400]
ROUNDS = 3
COUNT = "SELECT count(*) FROM message WHERE queue = (SELECT number FROM queue WHERE name = 'msgparser-requests-q')"


def run() -> list[Row]:
    ours: dict[int, list[float]] = {concurrency: [] for concurrency in OUR_CONCURRENCY}
    without: list[float] = []
    hueys: dict[str, list[float]] = {}
    burns: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(ROUNDS):
        for concurrency, rates in ours.items():
            rates.append(_drain(NOOP, MESSAGES, pool_size=1, concurrency=concurrency))
        without.append(_drain(NOOP, MESSAGES, pool_size=1, concurrency=OUR_CONCURRENCY[-1], ledger_url="none"))
        for workers, kind in HUEY_SETTINGS:
            hueys.setdefault(f"{workers} {kind}", []).append(_drain_huey(workers, kind))
        for pool_size, rates in burns.items():
            rates.append(_drain(BURN, BURN_MESSAGES, pool_size=pool_size, concurrency=20))
    our_best = max(ours, key=lambda concurrency: median(ours[concurrency]))
    rate = median(ours[our_best])
    our_tried = ", ".join(f"CONCURRENCY={concurrency}: {median(rates):,.0f}/s" for concurrency, rates in ours.items())
    best = max(hueys, key=lambda name: median(hueys[name]))
    best_rate = median(hueys[best])
    tried = ", ".join(f"{name}: {median(rates):,.0f}/s" for name, rates in hueys.items())
    return [
        Row("embedded", f"no-op, 1 process, ledger on, best ({our_best})", rate, "messages/s", ">= 5000", our_tried),
        Row("embedded", "the same with LEDGER_URL=none", median(without), "messages/s"),
        Row("embedded", f"huey, SQLite, fsync on, best ({best})", best_rate, "messages/s", "", f"tried {tried}"),
        Row("embedded", "no-op with ledger against huey", rate / best_rate, "x", ">= 5"),
        Row("embedded", "1 ms of CPU a message, 1 process", median(burns[1]), "messages/s"),
        Row("embedded", "1 ms of CPU a message, 2 against 1", median(burns[2]) / median(burns[1]), "x", ">= 1.6"),
    ]


def _drain(task: str, messages: int, *, pool_size: int, concurrency: int, ledger_url: str | None = None) -> float:
    with tempfile.TemporaryDirectory(prefix="mulligan-bench-") as name:
        folder = Path(name)
        more = {} if ledger_url is None else {"LEDGER_URL": ledger_url}
        lay_out(
            folder, task, POOL_SIZE=pool_size, CONCURRENCY=concurrency,
            NO_OF_REQUESTS_CONSUMERS=pool_size, NO_OF_REJECTS_CONSUMERS=1, **more,
        )  # fmt: skip
        mulligan(folder, "send", "-", stdin=b"".join(b"x" * 300 + b"\n" for _ in range(messages)))
        with running(folder):
            return drain_rate(folder / "var" / "mulligan.db", COUNT, messages)


def _drain_huey(workers: int, kind: str) -> float:
    with tempfile.TemporaryDirectory(prefix="mulligan-bench-") as name:
        file = Path(name) / "huey.db"
        program = [sys.executable, str(Path(__file__).parent / "huey_contender.py"), str(file)]
        subprocess.run([*program, "fill", str(HUEY_MESSAGES)], check=True)
        consumer = subprocess.Popen(
            [*program, "drain", str(workers), kind], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            return drain_rate(file, "SELECT count(*) FROM task", HUEY_MESSAGES)
        finally:
            consumer.send_signal(signal.SIGTERM)
            try:
                consumer.wait(10)
            except subprocess.TimeoutExpired:
                consumer.kill()
                consumer.wait()
