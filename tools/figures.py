"""Runs the tests that tell a figure of the promise, keeps the figures in docs/data/figures.json, and draws their table.

.venv/bin/python tools/figures.py    run, keep, and write the table into docs/reliability.md (make figures)
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "docs" / "data" / "figures.json"
BROKERS = ("sqlite", "sqs", "rabbitmq")
PROMISES = {
    "G1": "nothing is lost, nothing unexpected comes",
    "G2": "no task starts after its recorded completion",
    "G3": "a crash repeats little: at most what its worker had in flight, on average 5 effects at most with 32 slots",
    "G4": "default tasks run for exactly the messages that failed for good",
    "G5": "a killed worker's messages run again within 2 s, or 2 s after their lease; another worker is up within 1 s",
    "G6": "poison is buried after three starts (those that another's death cut short aside); the others keep 80 % "
    "of their throughput",
    "G7": "SIGTERM: exit code 0 within the grace and 1 s, what is unfinished is to be had 2 s later, no repeats",
    "G8": "power cut: nothing acknowledged is lost, the databases are whole",
    "G9": "a crash at every named place of the code breaks none of this",
    "G10": "20 s without the broker: no exit, CPU below 5 %, at most a line of log a second, at work within 5 s after",
    "G11": "a tenth of the requests throttled: at most 1.3 times as many",
    "G12": "twins, reordering and false empties change nothing of G1 to G4",
    "G13": "pauses of two leases, and clocks that are set, change nothing of G1 and G2",
    "G14": "several hosts, cut off, frozen, dead or without their ledger: G1 and G2 hold, those that were hit repeat "
    "at most what they had at work, all are at work within 5 s after, 15 s after a failover",
}
"""The rows of the table, by name."""


def table() -> str:
    """The table, as Markdown. Raises SystemExit when it names a test that is gone."""
    kept: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8"))
    lines = [
        f"Run at {kept['began']}, in {kept['minutes']:g} minutes, on a machine with {kept['cpus']} CPUs. "
        f"{kept.get('note', '')}".rstrip(),
        "",
        "| | broker | figure | test |",
        "|---|---|---|---|",
    ]
    for row, promise in PROMISES.items():
        lines.append(f"| **{row}** | | **{promise}** | |")
        lines += _lines(one for one in kept["figures"] if one["row"] == row)
    return "\n".join(lines)


def _lines(figures: Iterable[dict[str, str]]) -> Iterator[str]:
    """Those of one row; what came to the same is one line."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for one in sorted(figures, key=lambda one: BROKERS.index(one["broker"])):
        what, _, result = one["figure"].rpartition(": ")
        alike.setdefault((one["broker"], one["test"].partition("::")[0], result), []).append(what)
    for (broker, path, result), whats in alike.items():
        if not (ROOT / path).exists():
            raise SystemExit(f"{KEPT}: {path} does not exist. Run `make figures` again.")
        causes = ", ".join(what for what in whats if what)
        yield f"| | {broker} | {causes}{': ' if causes else ''}{result} | `{Path(path).stem}` |"


def run(arguments: list[str], kept: Path) -> int:
    """Run tests with these arguments; keep their figures in a file if all passed. The exit code of pytest."""
    began, began_at, commit = datetime.now(UTC), time.monotonic(), _commit()
    with tempfile.TemporaryDirectory(prefix="mulligan-figures-") as folder:
        told, report = Path(folder, "told"), Path(folder, "report.xml")
        told.touch()
        code = subprocess.run(
            [sys.executable, "-m", "pytest", f"--junit-xml={report}", *arguments], check=False, cwd=ROOT,
            env=os.environ | {"FIGURES_FILE": str(told)},
        ).returncode  # fmt: skip
        # in an order of their own: tests that run side by side end in any
        lines = told.read_text(encoding="utf-8").splitlines()
        figures = sorted(map(json.loads, lines), key=lambda one: (one["row"], one["test"], one["figure"]))
        passed, skipped = _counts(report) if code == 0 else (0, 0)
    if code == 0:
        record = {
            "began": f"{began:%Y-%m-%d %H:%M} UTC",
            "commit": commit,
            "minutes": round((time.monotonic() - began_at) / 60, 1),
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "passed": passed,
            "skipped": skipped,
            "figures": figures,
        }
        kept.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    else:
        print("Not kept, for a test has failed:", *(json.dumps(figure) for figure in figures), sep="\n")
    return code


def _counts(report: Path) -> tuple[int, int]:
    """How many tests passed and were skipped, of a run without failures."""
    suite = ElementTree.parse(report).getroot()[0].attrib  # noqa: S314 - pytest has just written it
    return int(suite["tests"]) - int(suite["skipped"]), int(suite["skipped"])


def _commit() -> str:
    """What is run, as git has it: `-dirty` follows when files differ from it."""
    told = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return told.stdout.strip() or "no commit"


def main() -> int:
    """Run the tests that tell a figure, and draw their table anew. The exit code."""
    if code := run(["-m", "figure", *sys.argv[1:]], KEPT):
        return code
    return subprocess.run([sys.executable, ROOT / "tools" / "docs.py"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
