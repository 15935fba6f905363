"""What every part of the benchmark works with: the interpreter, the server's program, and the record of all runs."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.sqs.contender import Application, Peer, Run, Unusable, measure
from bench.sqs.environment import Environment

__all__ = ["ROUNDS", "Rig", "ratio"]

ROUNDS = 3


@dataclass
class Rig:
    """program: the server's. runs: figures of every run so far, for the JSON file."""

    environment: Environment
    program: Path
    runs: list[dict[str, Any]] = field(default_factory=list)
    server_rate: float = 0.0
    """Messages a second of the server alone, once that was measured."""
    speed: float = 0.0
    """CPU time here against the machine of the facts, by batched boto3, once that was measured."""

    def run(self, part: str, contender: Peer | Application, messages: int, **options: Any) -> Run:
        """Measure once and remember it. Raises Unusable."""
        run = measure(contender, self.environment, self.program, messages, **options)
        stats = run.stats
        figures = f"{run.cpu_per_1000:.4f} CPU s and {run.requests_per_1000:.1f} requests per 1,000 messages"
        print(f"  {part}: {contender.name}: {figures}, {run.rate:,.0f}/s", file=sys.stderr, flush=True)
        self.runs.append(
            {
                "part": part,
                "contender": contender.name,
                "messages": messages,
                "cpu_s_per_1000": run.cpu_per_1000,
                "tree_cpu_s_per_1000": run.tree_cpu_per_1000,
                "rate": run.rate,
                "steady_rate": run.steady_rate,
                "requests": dict(stats.requests),
                "empty": stats.empty,
                "late": stats.late,
                "connections": stats.connections,
            }
        )
        if stats.unknown:
            raise Unusable(f"{contender.name} made {stats.unknown} requests that the server does not know")
        if stats.deleted != messages or stats.received < messages:
            raise Unusable(
                f"{contender.name} deleted {stats.deleted} of {messages} messages, received {stats.received}"
            )
        return run

    def rounds(
        self,
        part: str,
        contenders: Mapping[str, Peer | Application],
        messages: int,
        rounds: int = ROUNDS,
        **options: Any,
    ) -> tuple[dict[str, list[Run]], dict[str, str]]:
        """Runs by name, one of each a round, and why those that are missing could not be measured."""
        runs: dict[str, list[Run]] = {name: [] for name in contenders}
        why: dict[str, str] = {}
        for _ in range(rounds):
            for name, contender in contenders.items():
                if name in why:
                    continue
                try:
                    runs[name].append(self.run(part, contender, messages, **options))
                except Unusable as exc:
                    why[name] = str(exc)
                    print(f"  {part}: {name}: {exc}", file=sys.stderr, flush=True)
        return {name: done for name, done in runs.items() if name not in why}, why


def ratio(ours: list[Run], theirs: list[Run], figure: Callable[[Run], float] = lambda run: run.cpu_per_1000) -> float:
    """The median of ours against theirs, round by round."""
    return median(figure(one) / figure(other) for one, other in zip(ours, theirs, strict=True))
