"""The power goes: what was acknowledged or recorded is there afterwards, on a disk that keeps only what was synced."""

import os
import random
import shutil

import pytest

from tests.acceptance.harness.app import REPOSITORY
from tests.acceptance.harness.figure import figure
from tests.acceptance.harness.forgetful import mounted
from tests.acceptance.harness.power import CODE, MESSAGES, check, cut, lay_out, lost, play

CUTS = 25


@pytest.fixture
def disk(tmp_path):
    with mounted(tmp_path / "disk") as folder:
        yield folder


@pytest.fixture
def work(app, disk):
    return lay_out(app, disk)


@pytest.mark.figure
def test_nothing_acknowledged_is_lost_when_the_power_goes(work, disk, until):
    seed = int(os.environ.get("MULLIGAN_TEST_SEED") or random.SystemRandom().randrange(2**32))
    print(f"seed: MULLIGAN_TEST_SEED={seed}")

    bodies, again = play(work, disk, until, random.Random(seed), CUTS)

    figure(
        "G8", "sqlite",
        f"{CUTS} power cuts, {len(bodies)} acknowledged messages: lost {len(lost(work, bodies))}, started again after "
        f"the record {len(again)}, integrity_check ok after each",
    )  # fmt: skip
    check(work, bodies, again)


def test_messages_are_lost_when_the_power_goes_and_commits_are_not_synced(work, disk, until, tmp_path):
    """The test above can fail: without the sync at each commit the same cut loses what was acknowledged."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "src" / "mulligan", tmp_path / "src" / "mulligan", ignore=ignored)
    storage = tmp_path / "src" / "mulligan" / "storage" / "sqlite.py"
    text = storage.read_text()
    assert "self._sync(self._log)" in text
    storage.write_text(text.replace("self._sync(self._log)", "pass"))
    work.environment["PYTHONPATH"] = str(tmp_path / "src")
    assert "sleep(0.01)" in CODE
    work.task("work", CODE.replace("sleep(0.01)", "sleep(1)"))  # on no machine are all of them done before the cut
    bodies = [f"ok-0-{place}" for place in range(MESSAGES)]
    work.settings["LEASE_S"] = 60
    system = work.start("--for", "600", NO_OF_REQUESTS_CONSUMERS=1, CONCURRENCY=1).until_up()

    work.send(bodies)
    cut(disk, system, until, 1, 0.0)
    work.drain()

    assert {one.body for one in work.effects("Good", "end")} < set(bodies)
