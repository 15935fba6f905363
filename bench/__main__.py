"""`python -m bench [NAME...]`: runs the benchmarks and exits 1 when a bound is not kept."""

import sys
from collections.abc import Callable
from pathlib import Path

from bench import core, embedded, idle
from bench.table import Row, keep, show

BENCHES: dict[str, Callable[[], list[Row]]] = {"core": core.run, "embedded": embedded.run, "idle": idle.run}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"there is no benchmark {', '.join(unknown)}; there are: {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    for name in names or BENCHES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows += BENCHES[name]()
    show(rows)
    print(f"\nkept in {keep(rows, Path('bench/results'))}")
    return 1 if any(row.is_met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
