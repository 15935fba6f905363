"""The parts of the benchmark, and how they are run together."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.sqs import drain, environment, pace
from bench.sqs.rig import Rig
from bench.sqs.server import build
from bench.table import Row

__all__ = ["PARTS", "run"]

PARTS: dict[str, Callable[[Rig], list[Row]]] = {
    "server": drain.server,
    "drain": drain.drain,
    "peers": drain.peers,
    "requests": drain.requests,
    "wait": pace.wait,
    "network": pace.network,
    "trickle": pace.trickle,
    "idle": pace.idle,
    "lease": pace.lease,
}
RESULTS = Path("bench/results/sqs.json")


def run(names: Sequence[str] = ()) -> list[Row]:
    """Run some parts, or all; their rows. Every single run is kept in bench/results/sqs.json."""
    made = environment.make()
    print(f"sqs: all contenders run on {made.told}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="mulligan-bench-") as folder:
        program = build(Path(folder))
        if program is None:
            return [
                Row("sqs", "all", float("nan"), "", "", "not measured: no C compiler (gcc, cc or clang) for the server")
            ]
        rig = Rig(made, program)
        rows: list[Row] = []
        for name in names or PARTS:
            began = time.monotonic()
            load = os.getloadavg()[0]
            rows += PARTS[name](rig)
            print(
                f"sqs.{name} took {time.monotonic() - began:.0f} s (load before it: {load:.1f})",
                file=sys.stderr,
                flush=True,
            )
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    data = {
        "interpreter": made.told,
        "packages": made.packages,
        "rows": [asdict(row) for row in rows],
        "runs": rig.runs,
    }
    RESULTS.write_text(json.dumps(data, indent=2) + "\n")
    return rows
