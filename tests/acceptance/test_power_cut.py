"""The power goes twice: what was acknowledged or recorded is there afterwards."""

import random

import pytest

from tests.acceptance.harness.forgetful import mounted
from tests.acceptance.harness.power import check, lay_out, play


@pytest.fixture
def disk(tmp_path):
    with mounted(tmp_path / "disk") as folder:
        yield folder


@pytest.fixture
def work(app, disk):
    return lay_out(app, disk)


def test_nothing_acknowledged_is_lost_when_the_power_goes(work, disk, until):
    bodies, again = play(work, disk, until, random.Random(1), cuts=2)

    check(work, bodies, again)
