"""What a run has counted: messages over all workers, and requests to the broker over all processes.

Kept as a file, so that `mulligan cost` can show what the messages cost, also while the system runs.
"""

import json
from collections import Counter as Sum
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mulligan.core.value import value
from mulligan.worker.ipc.lease_table import Counter, LeaseTable

__all__ = ["RunStats", "StatsCollector", "encode", "read"]


@value
class RunStats:
    """What was counted between two times (epoch seconds). requests: by the broker's own names of its actions."""

    began_at: float
    until: float
    messages: Mapping[Counter, int]
    requests: Mapping[str, int]


class StatsCollector:
    """Adds up what ended lives of workers have counted; what goes on is handed in when it is asked."""

    def __init__(self, began_at: float) -> None:
        self._began_at = began_at
        self._messages: Sum[Counter] = Sum()
        self._requests: Sum[str] = Sum()

    def add(self, table: LeaseTable, requests: Mapping[str, int]) -> None:
        """Take in what a worker has counted in its life."""
        self._messages.update({counter: table.count(counter) for counter in Counter})
        self._requests.update(requests)

    def totals(
        self, now: float, living: Iterable[tuple[LeaseTable, Mapping[str, int]]], own: Mapping[str, int]
    ) -> RunStats:
        """Everything until now. living: of the workers that run. own: requests of the supervisor."""
        messages, requests = Sum(self._messages), Sum(self._requests)
        for table, counted in living:
            messages.update({counter: table.count(counter) for counter in Counter})
            requests.update(counted)
        requests.update(own)
        return RunStats(self._began_at, now, {counter: messages[counter] for counter in Counter}, dict(requests))


def encode(totals: RunStats) -> str:
    """The file's text."""
    data = {
        "began_at": totals.began_at,
        "until": totals.until,
        "messages": {counter.name.lower(): count for counter, count in totals.messages.items()},
        "requests": totals.requests,
    }
    return json.dumps(data, indent=2) + "\n"


def read(file: Path) -> RunStats:
    """The totals that were kept. Raises OSError, and ValueError when the file is not one of mulligan's."""
    data: Any = json.loads(file.read_text())
    try:
        messages = {counter: int(data["messages"][counter.name.lower()]) for counter in Counter}
        requests = {str(action): int(count) for action, count in data["requests"].items()}
        return RunStats(float(data["began_at"]), float(data["until"]), messages, requests)
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"{exc!r} in {file}") from None
