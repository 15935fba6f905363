"""What a soak came to, as JSON, and the page docs/soak.md of the last run on each broker."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.soak.round import Outcome
from tests.soak.steady import Slope

__all__ = ["summary", "write_page"]

DOCS = Path(__file__).resolve().parents[2] / "docs"
KEPT = DOCS / "data" / "soak"


def summary(
    broker: str,
    commit: str,
    began: str,
    seed: int,
    took_s: float,
    ended: str,
    rounds: Sequence[Outcome],
    growth: Sequence[Slope],
    steady: Sequence[str],
) -> dict[str, Any]:
    """The figures of a run, as they are kept. ended: how; steady: what was wrong with the undisturbed system.

    commit: what was checked out, with a + when something was changed.
    """
    kills = sum(one.kills for one in rounds)
    again_s = sorted(item for one in rounds for item in one.again_s)
    up_s = sorted(item for one in rounds for item in one.up_s)
    calm = [one for one in rounds if not one.faults]
    return {
        "broker": broker,
        "commit": commit,
        "began": began,
        "seed": seed,
        "minutes": round(took_s / 60, 1),
        "ended": ended,
        "rounds": len(rounds),
        "calm rounds": len(calm),
        "rounds with wild tasks": sum(one.wild is not None for one in rounds),
        "of these, calm rounds": sum(one.wild is not None for one in calm),
        "rounds with the ledger in PostgreSQL": sum(one.ledger == "postgres" for one in rounds),
        "rounds that hung": _count(rounds, "did not end"),
        "messages": sum(one.messages for one in rounds),
        "task runs": 3 * sum(one.messages for one in rounds),
        "kills of workers": kills,
        "kills of supervisors": sum(one.supervisor_kills for one in rounds),
        "attempts in flight in the killed": sum(one.in_flight for one in rounds),
        "lost": _count(rounds, "lost"),
        "unexpected": _count(rounds, "unexpected"),
        "starts after a recorded completion": _count(rounds, "rerun"),
        "dead letters": sum(one.dead for one in rounds),
        "dead letters missing or too many": _count(rounds, "dead"),
        "default tasks missed or without need": _count(rounds, "alerts"),
        "repeated effects": sum(one.repeated for one in rounds),
        "repeated effects a kill": round(sum(one.repeated for one in rounds) / max(1, kills), 2),
        "repeated effects in calm rounds": sum(one.repeated for one in calm),
        "workers missing at the end": _count(rounds, "workers missing"),
        "workers that stopped unasked": _count(rounds, "workers that stopped unasked"),
        "suspects": sum(len(one.suspect_turns) for one in rounds),
        "suspects that go round": _count(rounds, "suspects that go round"),
        "turns of a suspect, under kills (median, p99)": _spread(
            sorted(item for one in rounds for item in one.suspect_turns)
        ),
        "processes of tasks left behind": _count(rounds, "processes of tasks left behind"),
        "left behind, and named in the log": sum(one.told for one in rounds),
        "tasks that hung": _count(rounds, "tasks that hung"),
        "stops that took too long": _count(rounds, "stops that took too long"),
        "a stop takes, s (median, p99)": _spread(sorted(item for one in rounds for item in one.stop_s)),
        "a stop takes with wild tasks, s (median, p99)": _spread(
            sorted(item for one in rounds if one.wild for item in one.stop_s)
        ),
        "starts of a poison message, under kills (median, p99)": _spread(
            sorted(item for one in rounds for item in one.poison_starts)
        ),
        "cut-off attempts begin again after, s (median, p99)": _spread(again_s),
        "a killed worker is replaced after, s (median, p99)": _spread(up_s),
        "faults": sorted({fault for one in rounds for fault in one.faults}),
        "violations": {str(one.seed): one.violations for one in rounds if one.violations}
        | ({"undisturbed": {"undisturbed": list(steady)}} if steady else {}),
        "growth": [[one.process, one.figure, one.mean, one.per_hour] for one in growth],
    }


def _count(rounds: Sequence[Outcome], kind: str) -> int:
    return sum(len(one.violations.get(kind, ())) for one in rounds)


def _spread(figures: Sequence[float]) -> list[float]:
    if not figures:
        return []
    return [round(figures[len(figures) // 2], 2), round(figures[int(len(figures) * 0.99)], 2)]


def write_page(figures: dict[str, Any]) -> None:
    """Keep the figures, and write the page of all brokers anew."""
    KEPT.mkdir(exist_ok=True)
    (KEPT / f"{figures['broker']}.json").write_text(json.dumps(figures, indent=1) + "\n")
    runs = [json.loads(path.read_text()) for path in sorted(KEPT.glob("*.json"))]
    (DOCS / "soak.md").write_text(_page(runs))


def _page(runs: Sequence[dict[str, Any]]) -> str:
    newest = max(runs, key=lambda run: str(run["began"]))
    names = [name for name in newest if name not in ("broker", "violations", "growth")]
    growth: dict[str, dict[str, str]] = {}
    for run in runs:
        for process, figure, mean, per_hour in run["growth"]:
            growth.setdefault(f"{process}: {figure}", {})[run["broker"]] = f"{mean:,g}, {per_hour:+,g} an hour"
    head = ["", *(run["broker"] for run in runs)]
    return (
        "\n".join(
            [
                "# Soak",
                "",
                "<!-- Written by `make soak` from docs/data/soak/*.json: don't change it by hand. -->",
                "",
                "The last full run of `make soak` on each broker. What it does, and how to repeat a round, is in",
                "[reliability.md](reliability.md#soak).",
                "",
                *_table(
                    head, [[name, *(_shown(run.get(name, "")) for run in runs)] for name in names if name != "seed"]
                ),
                *(f"The first seed on {run['broker']}: {run['seed']}.\n" for run in runs),
                *_table(
                    ["growth of a system that nobody disturbs", *head[1:]],
                    [[name, *(row.get(run["broker"], "") for run in runs)] for name, row in growth.items()],
                ),
                *(
                    f"Violations on {run['broker']}: `{json.dumps(run['violations'])}`"
                    for run in runs
                    if run["violations"]
                ),
            ]
        ).rstrip()
        + "\n"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return [*lines, ""]


def _shown(item: Any) -> str:
    if isinstance(item, list):
        return ", ".join(map(str, item))
    return f"{item:,}" if isinstance(item, int) and not isinstance(item, bool) else str(item)
