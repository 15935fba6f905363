"""The wall clock is set while messages are in flight; the monotonic one goes on, as it does on a real machine."""

import time

import pytest

from tests.acceptance.figure import figure
from tests.acceptance.source import tasks

HOUR_S = 3600.0
LEASE_S = 2
BODIES = [f"m{number}" for number in range(60)]

# read by every interpreter that is started with its folder on PYTHONPATH, before anything else
SITE = """
import os
import time

_real, _offset = time.time, os.environ["CLOCK_OFFSET"]


def _set():
    with open(_offset) as file:
        return _real() + float(file.read())


time.time = _set
"""

CODE = tasks(Quick="pass", Slow="await asyncio.sleep(1)")


class WallClock:
    """What the application's processes take for the time."""

    def __init__(self, app) -> None:
        folder = app.folder / "site"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(SITE)
        self._offset = folder / "offset"
        app.environment |= {"PYTHONPATH": str(folder), "CLOCK_OFFSET": str(self._offset)}
        self.set_by(0.0)

    def set_by(self, seconds: float) -> None:
        draft = self._offset.with_suffix(".new")
        draft.write_text(str(seconds))
        draft.replace(self._offset)


@pytest.mark.figure
@pytest.mark.parametrize(
    ("broker", "by_s"),
    [("sqlite", HOUR_S), ("sqlite", -HOUR_S), ("sqs", -HOUR_S), ("rabbitmq", HOUR_S)],
    indirect=["broker"],
    ids=["sqlite-forward", "sqlite-back", "sqs-back", "rabbitmq-forward"],
)
def test_nothing_is_lost_or_run_again_after_its_record_when_the_clock_is_set_and_set_right(app, broker, until, by_s):
    broker.point(app)
    clock = WallClock(app)
    app.task("work", CODE)
    app.manifest("work Quick", "work Slow")
    app.settings |= {"LEASE_S": LEASE_S, "POOL_SIZE": 2, "CONCURRENCY": 5}
    app.send(BODIES)
    system = app.start("--drain").until_up()
    until(lambda: app.count("Slow", "end") >= 5, "some are done")

    done, log_length = app.finished(), app.count()
    clock.set_by(by_s)
    time.sleep(1.5 * LEASE_S)  # what is tested is that leases and claims are kept by this clock for a while
    clock.set_by(0.0)

    assert system.wait() == 0, system.log()[-3000:]
    again = [one for one in app.effects()[log_length:] if one.what == "start" and (one.uid, one.task) in done]
    ends = [(one.body, one.task) for one in app.effects(what="end")]
    lost = {(body, task) for body in BODIES for task in ("Quick", "Slow")} - set(ends)
    figure(
        "G13", broker.name,
        f"the clock was set by {by_s:+g} s and right again: lost {len(lost)}, started again after the record "
        f"{len(again)}, repeated effects {len(ends) - len(set(ends))}",
    )  # fmt: skip
    assert lost == set()
    assert again == []
    assert app.dead() == []
    assert app.left() == {"requests": 0, "rejects": 0}
