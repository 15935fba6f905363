"""The file with the stats of a run."""

import json

import pytest

from mulligan.brokers.memory import MemoryBroker
from mulligan.worker.ipc.lease_table import Counter
from mulligan.worker.supervisor.run_stats import StatsCollector, encode
from mulligan.worker.supervisor.stats_file import StatsFile
from mulligan.worker.system_host import SystemHost


@pytest.fixture
async def make_stats(clock, pool, table):
    """The file's writer, of a run with one worker that has this table."""
    (worker,) = pool.workers
    worker.table = table

    def make_stats(file):
        return StatsFile(StatsCollector(clock.now()), pool, MemoryBroker(clock), SystemHost(clock), file)

    return make_stats


async def test_stats_of_living_workers_are_written_again_and_again(make_stats, table, tmp_path):
    file = tmp_path / "stats.json"
    stats = make_stats(file)
    first = stats.write()

    table.counters[Counter.DONE] += 3
    second = stats.write()

    assert second != first
    assert file.read_text() == encode(second)
    assert json.loads(encode(second)) != json.loads(encode(first))


async def test_stats_that_the_disk_can_not_take_do_not_disturb_the_run(make_stats, tmp_path):
    (tmp_path / "a-file").touch()
    stats = make_stats(tmp_path / "a-file" / "stats.json")

    totals = stats.write()

    assert totals == stats.write()
    assert [one.name for one in tmp_path.iterdir()] == ["a-file"]
