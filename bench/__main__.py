"""`python -m bench [NAME...]`: runs the benchmarks and exits 1 when a bound is not kept.

`sqs.drain` is one part of the benchmark sqs.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench import core, embedded, idle
from bench.rabbitmq import suite as rabbitmq
from bench.sqs import suite as sqs
from bench.table import Row, keep, show

BENCHES: dict[str, Callable[[], list[Row]]] = {
    "core": core.run,
    "embedded": embedded.run,
    "idle": idle.run,
    "rabbitmq": rabbitmq.run,
    "sqs": sqs.run,
}
PARTS: dict[str, Callable[[], list[Row]]] = {f"sqs.{name}": partial(sqs.run, [name]) for name in sqs.PARTS}


def main(names: list[str]) -> int:
    known = BENCHES | PARTS
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"there is no benchmark {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    for name in names or BENCHES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows += known[name]()
    show(rows)
    print(f"\nkept in {keep(rows, Path('bench/results'))}")
    return 1 if any(row.is_met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
