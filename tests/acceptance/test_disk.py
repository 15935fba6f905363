"""A disk that is full or damaged, and one that two systems share."""

import pytest

from tests.acceptance.harness.disk import BODIES, check, fill, lay_out, small


@pytest.fixture
def work(app):
    return lay_out(app)


@pytest.fixture
def small_disk(tmp_path):
    with small(tmp_path / "disk") as folder:
        yield folder


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
