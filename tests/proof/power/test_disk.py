"""A disk that is full, fails or is damaged: no acknowledgement without a commit, a clear text, no crash loop."""

import os
import re
import subprocess
import time

import pytest

from tests.acceptance.source import tasks
from tests.acceptance.strace import injecting, need_strace

BODIES = [f"m{number}" for number in range(40)]

CODE = tasks(Quick="pass", Slow="await asyncio.sleep(0.2)")


@pytest.fixture
def work(app):
    app.task("work", CODE)
    app.manifest("work Quick", "work Slow")
    app.settings |= {"POOL_SIZE": 2, "CONCURRENCY": 4, "LEASE_S": 10, "LOG_LEVEL": "INFO"}
    return app


@pytest.fixture
def small_disk(tmp_path):
    """A file system of two megabytes."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk here: no disk is filled in this run")
    folder = tmp_path / "disk"
    folder.mkdir()
    told = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=False, capture_output=True, text=True
    )
    if told.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {told.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True, capture_output=True)


def fill(folder):
    """Write until nothing more fits."""
    path = folder / "filler"
    with path.open("ab", buffering=0) as filler:
        for size in (65536, 4096, 512, 1):
            while True:
                try:
                    filler.write(bytes(size))
                except OSError:
                    break
    return path


def check(app, bodies) -> None:
    for task in ("Quick", "Slow"):
        assert {one.body for one in app.effects(task, "end")} == set(bodies)
    assert app.dead() == []
    assert app.left() == {"requests": 0, "rejects": 0}


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


def test_sender_is_told_when_the_disk_is_full(work, small_disk):
    work.settings["BROKER_URL"] = f"sqlite:///{small_disk}/mulligan.db"
    work.send(["first"])
    fill(small_disk)

    (work.folder / "more.txt").write_text(f"{'x' * 10_000}\n" * 40)
    told = work.cli("send", "@more.txt")

    assert told.returncode != 0
    assert "mulligan.db" in told.stderr
    assert "is full" in told.stderr
    assert "Traceback" not in told.stderr


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


@pytest.mark.parametrize("name", ["mulligan.db", "ledger.db"])
def test_damaged_database_is_refused_at_the_start_with_its_path_and_what_to_do(work, name):
    work.send(BODIES)
    work.drain()
    work.send(BODIES * 20)
    log_length = work.count()
    path = work.folder / "var" / name
    content = bytearray(path.read_bytes())
    content[4096 : 4 * 4096] = b"\x55" * (min(len(content), 4 * 4096) - 4096)
    path.write_bytes(content)

    system = work.start("--drain")

    assert system.wait() not in {0, None}
    assert f"{name} is damaged" in system.log()
    assert f"{name}* and try" in system.log()
    assert "Traceback" not in system.log()
    assert work.count() == log_length


def test_two_supervisors_on_one_file_do_each_message_once(work):
    bodies = [f"m{number}" for number in range(200)]
    work.send(bodies)

    both = [work.start("--drain"), work.start("--drain")]

    assert [system.wait() for system in both] == [0, 0], both[0].log()[-2000:] + both[1].log()[-2000:]
    check(work, bodies)
    starts = [(one.body, one.task) for one in work.effects(what="start")]
    assert len(starts) == len(set(starts)) == 2 * len(bodies)
    workers = {one.pid for one in work.effects(what="start")}
    assert len(workers) >= 3, "both had a share of the work"
