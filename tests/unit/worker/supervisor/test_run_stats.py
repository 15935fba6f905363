import json
from pathlib import Path

import pytest

from mulligan.worker.ipc.lease_table import Counter, LeaseTable
from mulligan.worker.supervisor.run_stats import StatsCollector, encode, read


def test_tally_adds_ended_lives_living_workers_and_the_supervisors_own_requests(tmp_path: Path):
    ended, living = LeaseTable.create(1), LeaseTable.create(1)
    ended.counters[Counter.DONE] = 7
    living.counters[Counter.DONE] = 5
    tally = StatsCollector(began_at=100.0)

    tally.add(ended, {"ReceiveMessage": 3})
    totals = tally.totals(160.0, [(living, {"ReceiveMessage": 2, "SendMessage": 1})], {"CreateQueue": 3})

    assert totals.messages[Counter.DONE] == 12
    assert totals.requests == {"ReceiveMessage": 5, "SendMessage": 1, "CreateQueue": 3}
    (tmp_path / "run.json").write_text(encode(totals))
    assert read(tmp_path / "run.json") == totals
    ended.close()
    living.close()


def test_tally_refuses_a_file_that_is_none_of_ours(tmp_path: Path):
    (tmp_path / "run.json").write_text(json.dumps({"messages": 3}))

    with pytest.raises(ValueError, match=r"run\.json"):
        read(tmp_path / "run.json")
