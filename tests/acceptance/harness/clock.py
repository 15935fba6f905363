"""The wall clock is set while messages are in flight; the monotonic one goes on, as it does on a real machine."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.acceptance.harness.app import App
from tests.acceptance.harness.source import tasks

__all__ = ["HOUR_S", "Run", "WallClock", "carry_out", "check"]

HOUR_S = 3600.0

_LEASE_S = 2

# read by every interpreter that is started with its folder on PYTHONPATH, before anything else
_SITE = """
import os
import time

_real, _offset = time.time, os.environ["CLOCK_OFFSET"]


def _set():
    with open(_offset) as file:
        return _real() + float(file.read())


time.time = _set
"""

_CODE = tasks(Quick="pass", Slow="await asyncio.sleep(1)")


class WallClock:
    """What the application's processes take for the time."""

    def __init__(self, app: App) -> None:
        folder = app.folder / "site"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(_SITE)
        self._offset = folder / "offset"
        app.environment |= {"PYTHONPATH": str(folder), "CLOCK_OFFSET": str(self._offset)}
        self.set_by(0.0)

    def set_by(self, seconds: float) -> None:
        draft = self._offset.with_suffix(".new")
        draft.write_text(str(seconds))
        draft.replace(self._offset)


@dataclass(frozen=True)
class Run:
    """What became of messages. again: starts after a recorded end. repeated: ends beyond the first."""

    lost: int
    again: int
    repeated: int
    dead: int
    left: dict[str, int]


def carry_out(app: App, until: Callable[..., Any], *, messages: int, by_s: float) -> Run:
    """Set the clock for one and a half leases, and right again, while an application that is laid out does them all."""
    bodies = [f"m{number}" for number in range(messages)]
    clock = WallClock(app)
    app.task("work", _CODE)
    app.manifest("work Quick", "work Slow")
    app.settings |= {"LEASE_S": _LEASE_S, "POOL_SIZE": 2, "CONCURRENCY": 5}
    app.send(bodies)
    system = app.start("--drain").until_up()
    until(lambda: app.count("Slow", "end") >= 5, "some are done")

    done, log_length = app.finished(), app.count()
    clock.set_by(by_s)
    time.sleep(1.5 * _LEASE_S)  # what is tested is that leases and claims are kept by this clock for a while
    clock.set_by(0.0)

    assert system.wait() == 0, system.log()[-3000:]
    again = [one for one in app.effects()[log_length:] if one.what == "start" and (one.uid, one.task) in done]
    ends = [(one.body, one.task) for one in app.effects(what="end")]
    lost = {(body, task) for body in bodies for task in ("Quick", "Slow")} - set(ends)
    return Run(len(lost), len(again), len(ends) - len(set(ends)), len(app.dead()), app.left())


def check(run: Run) -> None:
    """Raises AssertionError where the promise was not kept."""
    assert (run.lost, run.again, run.dead) == (0, 0, 0)
    assert run.left == {"requests": 0, "rejects": 0}
