import subprocess
import sys

import pytest

from mulligan.core.error import ConfigurationError
from mulligan.worker.failpoint import ARMED, Action, Failpoint, FailpointError, Point, armed, inherited

REACH = """
import sys
from mulligan.worker.failpoint import ARMED, Point

for number in range(3):
    print(number, flush=True)
    ARMED.reach(Point.POLLING)
    ARMED.reach(Point.RECEIVED)
"""


def test_failpoint_is_off_when_the_variable_is_not_set():
    assert ARMED is None
    assert armed({}) is None
    assert armed({"MULLIGAN_FAILPOINT": ""}) is None


def test_failpoint_raises_at_its_place_for_the_nth_time_and_never_again():
    failpoint = armed({"MULLIGAN_FAILPOINT": "received:2:raise"})

    failpoint.reach(Point.RECEIVED)
    failpoint.reach(Point.POLLING)
    with pytest.raises(FailpointError, match="received"):
        failpoint.reach(Point.RECEIVED)
    failpoint.reach(Point.RECEIVED)


def test_failpoint_takes_every_name_and_every_action():
    found = [armed({"MULLIGAN_FAILPOINT": f"{point.value}:7:{action.value}"}) for point in Point for action in Action]

    assert [(one.point, one.nth, one.action) for one in found] == [(point, 7, a) for point in Point for a in Action]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("recieved:1:kill", "did you mean 'received'"),
        ("received", "expected received:NTH:ACTION"),
        ("received:0:kill", "NTH from 1 on"),
        ("received:-1:kill", "NTH from 1 on"),
        ("received:x:kill", "NTH from 1 on"),
        ("received:1:explode", "one of kill, stop, raise"),
    ],
)
def test_failpoint_that_can_not_be_read_is_refused(text, what):
    with pytest.raises(ConfigurationError, match="MULLIGAN_FAILPOINT") as caught:
        armed({"MULLIGAN_FAILPOINT": text})

    assert what in str(caught.value)


def test_failpoint_kills_its_process():
    done = subprocess.run(
        [sys.executable, "-c", REACH], env={"MULLIGAN_FAILPOINT": "received:2:kill"}, capture_output=True, check=False
    )

    assert (done.returncode, done.stdout) == (-9, b"0\n1\n")


def test_failpoint_is_inherited_by_a_first_worker_and_not_by_one_that_takes_its_place():
    environ = {"HOME": "/x", "MULLIGAN_FAILPOINT": "received:2:kill"}

    assert inherited(environ, is_first=True) is None
    assert inherited(environ, is_first=False) == {"HOME": "/x"}
    assert inherited({"HOME": "/x"}, is_first=False) is None


def test_failpoint_acts_on_no_other_place():
    failpoint = Failpoint(Point.ACKED, 1, Action.RAISE)

    for point in Point:
        if point is not Point.ACKED:
            failpoint.reach(point)
