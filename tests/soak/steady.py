"""A system that nobody disturbs, for as long as the soak lasts: does it grow?"""

import threading
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from statistics import fmean

from mulligan.core.value import value
from tests.acceptance.harness import killing
from tests.acceptance.harness.app import App, System

__all__ = ["Slope", "Steady", "growing", "slopes"]

EVERY_S = 10.0
SETTLES_S = 120.0
"""The first seconds are not counted: imports, caches and pools are filled then."""
BATCH = 200
JUDGED_S = 900.0
"""A shorter time says nothing: an arena that the allocator takes once is a slope in it."""
GROWTH = {"memory (KiB)": 1024.0, "descriptors": 1.0, "threads": 1.0}
"""An hour, at the most. A message is tried 72,000 times in it, so 15 bytes of each that stay are seen."""


@value
class Slope:
    """How a figure of one kind of process changes. unit: KiB, or a count; mean over its processes of each moment."""

    process: str
    figure: str
    mean: float
    per_hour: float
    over_s: float = 0.0


class Steady(threading.Thread):
    """Sends a batch of messages every ten seconds to a system of its own, and measures its processes."""

    def __init__(self, app: App) -> None:
        super().__init__(daemon=True)
        self._app = app
        self._over = threading.Event()
        self.samples: list[tuple[float, str, dict[str, float]]] = []
        self.sent: list[str] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._run()
        except BaseException as exc:
            self.error = exc

    def _run(self) -> None:
        app = self._app
        killing.lay_out(app, POOL_SIZE=3, CONCURRENCY=10, LEASE_S=30)
        system = app.start().until_up()
        began_at = time.monotonic()
        while not self._over.wait(EVERY_S):
            bodies = [f"ok-{len(self.sent) + number}" for number in range(BATCH)]
            app.send(bodies)
            self.sent += bodies
            self._sample(system, time.monotonic() - began_at)
        system.terminate()
        code = system.wait()
        assert code == 0, f"the steady system ended with {code}:\n{system.log()[-3000:]}"
        app.drain()
        found = killing.examine(app.effects(), self.sent, set(), app.dead(), ())
        assert found.violations == {}, f"the steady system: {found.violations}"
        assert found.repeated == 0, f"the steady system repeated {found.repeated} effects"

    def _sample(self, system: System, at: float) -> None:
        for process in system.group():
            kind = "worker" if "mulligan.worker.process.worker_process" in process.command else "supervisor"
            if process.pid == system.pid or kind == "worker":
                with suppress(OSError):
                    self.samples.append((at, kind, _figures(Path("/proc") / str(process.pid))))

    def end(self) -> list[str]:
        """Let it end in order, and wait for that. What was wrong."""
        self._over.set()
        self.join()
        return [] if self.error is None else [str(self.error)]


def _figures(process: Path) -> dict[str, float]:
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line)
    return {
        "memory (KiB)": float(status["VmRSS"].split()[0]),
        "descriptors": float(sum(1 for _ in (process / "fd").iterdir())),
        "threads": float(status["Threads"]),
    }


def slopes(samples: list[tuple[float, str, dict[str, float]]], settles_s: float = SETTLES_S) -> list[Slope]:
    """The least-squares slope of each figure of each kind of process, from when it has settled."""
    series: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for at, kind, figures in samples:
        if at >= settles_s:
            for name, item in figures.items():
                series[kind, name].append((at, item))
    return [
        Slope(
            kind,
            name,
            round(fmean(item for _, item in points), 1),
            round(3600 * _slope(points), 2),
            points[-1][0] - points[0][0],
        )
        for (kind, name), points in sorted(series.items())
        if len(points) > 2
    ]


def growing(found: list[Slope]) -> list[str]:
    """What grows faster than it may, of what was looked at for long enough."""
    return [
        f"{one.process}: {one.figure} grew by {one.per_hour:g} an hour, at most {GROWTH[one.figure]:g} is allowed"
        for one in found
        if one.over_s >= JUDGED_S and one.per_hour > GROWTH[one.figure]
    ]


def _slope(points: list[tuple[float, float]]) -> float:
    mean_x, mean_y = fmean(x for x, _ in points), fmean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
