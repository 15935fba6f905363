"""What a benchmark says, and how it is printed and kept."""

import json
import os
import platform
import sqlite3
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One figure. bound: what is wanted, e.g. ">= 5"; "" where the figure only explains another."""

    bench: str
    what: str
    value: float
    unit: str
    bound: str = ""
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the bound is kept; None where there is none."""
        if not self.bound:
            return None
        sign, limit = self.bound.split()
        return self.value >= float(limit) if sign == ">=" else self.value <= float(limit)


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    cells = [("bench", "what", "value", "wanted", "met", "note")]
    for row in rows:
        met = {None: "", True: "yes", False: "NO"}[row.is_met]
        cells.append((row.bench, row.what, f"{row.value:,.4g} {row.unit}".strip(), row.bound, met, row.note))
    widths = [max(len(line[column]) for line in cells) for column in range(5)]
    for line in cells:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=False)) + "  " + line[5])


def keep(rows: Sequence[Row], folder: Path) -> Path:
    """Write the figures and what they were measured on as JSON; the file."""
    folder.mkdir(parents=True, exist_ok=True)
    machine = {
        "python": sys.version,
        "platform": platform.platform(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "sqlite": sqlite3.sqlite_version,
    }
    data = {"machine": machine, "rows": [{**asdict(row), "is_met": row.is_met} for row in rows]}
    file = folder / "bench.json"
    file.write_text(json.dumps(data, indent=2) + "\n")
    return file
