"""A disk that is full or fails: no acknowledgement without a commit, a clear text, no crash loop."""

import re
import time

import pytest

from tests.acceptance.harness.disk import BODIES, check, fill, lay_out, small
from tests.acceptance.harness.strace import injecting, need_strace


@pytest.fixture
def work(app):
    return lay_out(app)


@pytest.fixture
def small_disk(tmp_path):
    with small(tmp_path / "disk") as folder:
        yield folder


def test_nothing_is_acknowledged_while_the_disk_is_full_and_work_goes_on_when_there_is_room(
    work, broker, small_disk, until
):
    broker.point(work)
    work.settings["LEDGER_URL"] = f"sqlite:///{small_disk}/ledger.db"
    if broker.name == "sqlite":
        work.settings["BROKER_URL"] = f"sqlite:///{small_disk}/mulligan.db"
    work.send(BODIES)
    system = work.start().until_up()
    until(lambda: work.count("Slow", "end") >= 4, "some are done")

    filler = fill(small_disk)
    until(lambda: "is full" in system.log(), "the full disk is told")
    time.sleep(3.0)  # what is tested is that it bears this for a while
    left, said = sum(work.left().values()), system.log()
    ended = len({one.body for one in work.effects("Slow", "end")})
    filler.unlink()
    until(lambda: len({one.body for one in work.effects("Slow", "end")}) == len(BODIES), "all are done")
    system.terminate()

    assert system.wait() == 0, system.log()[-3000:]
    if broker.name != "rabbitmq":  # it doesn't tell how many are in flight
        assert left >= len(BODIES) - ended, "a message was removed whose tasks had not ended"
    assert said.count("\n") < 60
    assert " died" not in said
    assert "Traceback" not in system.log()
    work.drain()
    check(work, BODIES)


@pytest.mark.parametrize("count", [3, 4, 7])  # the second is that of the folder, which SQLite does without
def test_system_stops_for_good_when_a_sync_fails_and_loses_nothing(work, count):
    need_strace()
    work.cli("check")  # makes the databases: their own commits are not what is looked at
    work.send(BODIES)
    system = work.start("--drain", before=injecting("fdatasync,fsync", f"error=EIO:when={count}"), POOL_SIZE=1)

    code = system.wait()
    log = system.log()
    done, log_length = work.finished(), work.count()
    work.drain()

    assert code != 0, log[-3000:]
    assert re.search(r"the disk failed a read or a write \((sync: Input/output error|SQLITE_IOERR_FSYNC)", log)
    assert "Look at the disk (dmesg), then start again" in log
    assert "Traceback" not in log
    assert [one for one in work.effects()[log_length:] if one.what == "start" and (one.uid, one.task) in done] == []
    check(work, BODIES)
