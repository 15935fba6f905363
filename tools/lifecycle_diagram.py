"""Draws the life of a delivery in a worker from the table `core.lifecycle.TRANSITIONS`, and writes the table out."""

from collections import defaultdict

from mulligan.core.lifecycle import TRANSITIONS, Order, Phase, Report


def part() -> str:
    """The diagram and the table, as a page has them."""
    return f"```mermaid\n{mermaid()}\n```\n\n{table()}"


def mermaid() -> str:
    """The diagram, as mermaid source. Late reports, which change nothing, are in the table only."""
    edges: dict[tuple[Phase, Phase], list[str]] = defaultdict(list)
    for phase, row in TRANSITIONS.items():
        for report, (after, order) in row.items():
            if order is not Order.NOTHING:
                edges[phase, after].append(report.name)
    lines = [
        f"    {before.name} --> {after.name}: {', '.join(dict.fromkeys(names))}"
        for (before, after), names in edges.items()
    ]
    ends = [f"    {phase.name} --> [*]" for phase in (Phase.OVER, Phase.ABANDONED)]
    return "\n".join(["stateDiagram-v2", "    [*] --> CLAIMING: received", *lines, *ends])


def table() -> str:
    """Report by report, what is ordered in each phase."""
    rows = [f"| `{report.name}` | {'; '.join(found)} |" for report in Report if (found := [*_cells(report)])]
    return "\n".join(["| report | phase -> phase after it: order |", "|---|---|", *rows])


def _cells(report: Report) -> list[str]:
    cells = []
    for phase, row in TRANSITIONS.items():
        if report in row:
            after, order = row[report]
            to = "" if after is phase else f" -> {after.name}"
            cells.append(f"{phase.name}{to}: {order.name.lower().replace('_', ' ')}")
    return cells
