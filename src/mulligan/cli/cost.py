"""`mulligan cost`: what the messages of the last run cost in requests to the broker."""

from pathlib import Path

from mulligan.cli.output import write
from mulligan.cli.session import settings
from mulligan.core.error import MulliganError
from mulligan.worker.ipc.lease_table import Counter
from mulligan.worker.supervisor.run_stats import RunStats, read

__all__ = ["cost", "summary"]


def cost() -> None:
    """Print requests per 1,000 messages and the price a million. Raises MulliganError when no run has been counted."""
    chosen = settings().settings
    file = Path(chosen.run_stats_file)
    try:
        totals = read(file)
    except FileNotFoundError:
        raise MulliganError(f"{file} does not exist: nothing has run in this folder yet. Run: mulligan run") from None
    except (OSError, ValueError) as exc:
        raise MulliganError(f"{file} can't be read ({exc}). Remove it; the next run creates it again.") from None
    write(summary(totals, chosen.price_per_million))


def summary(totals: RunStats, price_per_million: float) -> str:
    """The lines. price_per_million: of requests."""
    finished = totals.messages[Counter.DONE] + totals.messages[Counter.BURIED]
    requests = sum(totals.requests.values())
    lines = [f"messages   {finished:,} finished in {totals.until - totals.began_at:,.0f} s"]
    if not requests:
        return "\n".join([*lines, "requests   none that cost anything on this broker"])
    lines += [f"requests   {requests:,}"]
    lines += [
        f"           {count:,} {action}" for action, count in sorted(totals.requests.items(), key=lambda one: -one[1])
    ]
    if finished:
        per_thousand = requests / finished * 1000
        price = per_thousand * 1000 / 1e6 * price_per_million
        lines += [
            f"           {per_thousand:,.1f} per 1,000 messages",
            f"price      {price:,.2f} per million messages, at {price_per_million:g} per million requests",
        ]
    return "\n".join(lines)
