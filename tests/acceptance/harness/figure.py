"""The figures that the acceptance tests come to: a line each, and collected for the table in docs/reliability.md.

Tests that tell one carry the mark `figure`.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

__all__ = ["figure", "spread"]

FILE = "FIGURES_FILE"
"""Environment variable: the file that `make figures` has the tests append to."""


def figure(row: str, broker: str, text: str) -> None:
    """Tell a figure. row: G1 to G14, as the table has them; broker: sqlite, sqs, rabbitmq."""
    print(f"FIGURE {row} {broker}: {text}")
    if path := os.environ.get(FILE):
        test = os.environ["PYTEST_CURRENT_TEST"].split(" ")[0]
        with Path(path).open("a") as file:
            file.write(json.dumps({"row": row, "broker": broker, "figure": text, "test": test}) + "\n")


def spread(seconds: Sequence[float]) -> str:
    """Median, p99 and maximum of some times."""
    ordered = sorted(seconds)
    if not ordered:
        return "nothing to measure"
    middle, most = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    return f"{middle:.2f} s (median), {most:.2f} s (p99), {ordered[-1]:.2f} s (max) of {len(ordered)}"
