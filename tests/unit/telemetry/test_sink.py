import os
from pathlib import Path

import pytest

from mulligan.core.error import ConfigurationError
from mulligan.telemetry.sink import FileSink, StreamSink


@pytest.fixture
def make(tmp_path, clock):
    sinks = []

    def made(*, rotates=True, max_bytes=100, backups=2, report=None, path=None):
        sink = FileSink(
            path or tmp_path / "log" / "x.log",
            max_bytes=max_bytes,
            backups=backups,
            rotates=rotates,
            now=clock.now,
            report=report or pytest.fail,
        )
        sinks.append(sink)
        return sink

    yield made
    for sink in sinks:
        sink.close()


def test_file_sink_appends_to_what_is_there(make, tmp_path):
    path = tmp_path / "there.log"
    path.write_text("old\n")

    make(path=path).write("new\n")

    assert path.read_text() == "old\nnew\n"


def test_file_sink_rotates_when_full_and_keeps_the_newest_backups(make, tmp_path, clock):
    sink = make()
    for letter in "abcd":
        sink.write(letter * 100 + "\n")
        clock.advance(1)
        sink.tend()
    sink.write("e\n")

    folder = tmp_path / "log"
    assert sorted(path.name for path in folder.iterdir()) == ["x.log", "x.log.1", "x.log.2"]
    assert (folder / "x.log").read_text() == "e\n"
    assert (folder / "x.log.1").read_text() == "d" * 100 + "\n"
    assert (folder / "x.log.2").read_text() == "c" * 100 + "\n"


def test_file_sink_keeps_no_backup_when_none_is_wanted(make, tmp_path):
    sink = make(backups=0)
    sink.write("a" * 100 + "\n")
    sink.tend()
    sink.write("b\n")

    assert [(path.name, path.read_text()) for path in (tmp_path / "log").iterdir()] == [("x.log", "b\n")]


def test_file_sink_of_a_worker_never_rotates_and_follows_the_supervisors_rotation(make, tmp_path, clock):
    supervisor, worker = make(), make(rotates=False)
    worker.write("a" * 200 + "\n")
    worker.tend()
    supervisor.tend()
    worker.write("in the second of the rotation\n")
    clock.advance(1)
    worker.write("later\n")

    assert (tmp_path / "log" / "x.log").read_text() == "later\n"
    assert (tmp_path / "log" / "x.log.1").read_text() == "a" * 200 + "\nin the second of the rotation\n"
    assert worker.lost == supervisor.lost == 0


def test_file_sink_makes_the_file_again_when_somebody_removed_it(make, tmp_path, clock):
    sink = make()
    sink.write("a\n")
    (tmp_path / "log" / "x.log").unlink()
    clock.advance(1)
    sink.write("b\n")

    assert (tmp_path / "log" / "x.log").read_text() == "b\n"


def test_file_sink_counts_what_it_can_not_write_and_tells_once_an_outage(make, tmp_path, clock):
    told: list[str] = []
    sink = make(report=told.append)
    folder, away = tmp_path / "log", tmp_path / "away"
    folder.rename(away)
    clock.advance(1)
    sink.write("a\n")
    sink.write("b\n")
    away.rename(folder)
    sink.write("c\n")

    assert sink.lost == 2
    assert told == [f"LOG_FILE '{folder}/x.log' can't be written: No such file or directory. Its lines are lost."]
    assert (folder / "x.log").read_text() == "c\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_file_sink_survives_a_full_disk(make, tmp_path):
    told: list[str] = []
    full = tmp_path / "full.log"
    full.symlink_to("/dev/full")
    sink = make(report=told.append, path=full)

    sink.write("a\n")

    assert sink.lost == 1
    assert "No space left on device" in told[0]


def test_file_sink_begins_a_new_line_after_one_that_was_cut(make, tmp_path, monkeypatch):
    sink = make()
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:3]))
    sink.write("abcdef\n")
    monkeypatch.setattr(os, "write", real)
    sink.write("next\n")

    assert (tmp_path / "log" / "x.log").read_text() == "abc\nnext\n"
    assert sink.lost == 1


def test_file_sink_refuses_a_place_that_can_not_be_written(make, tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationError) as raised:
        make(path=tmp_path / "file" / "x.log")

    (problem,) = raised.value.problems
    assert problem.startswith(f"LOG_FILE: '{tmp_path}/file/x.log' can't be opened for writing: ")
    assert "remove LOG_FILE to log to stderr only" in problem


def test_file_sink_counts_lines_after_its_end(make):
    sink = make()
    sink.close()
    sink.close()
    sink.tend()
    sink.write("late\n")

    assert sink.lost == 1


def test_stream_sink_survives_a_reader_that_has_gone():
    reading, writing = os.pipe()
    os.close(reading)
    sink = StreamSink(writing)

    sink.write("a\n")

    assert sink.lost == 1
    os.close(writing)
    sink.close()


def test_stream_sink_never_writes_to_the_file_that_got_the_streams_number(tmp_path):
    stream = os.open(tmp_path / "stderr", os.O_WRONLY | os.O_CREAT)
    sink = StreamSink(stream)
    os.close(stream)
    database = os.open(tmp_path / "database", os.O_WRONLY | os.O_CREAT)
    assert database == stream

    sink.write("a\n")

    assert (tmp_path / "database").read_text() == ""
    assert (tmp_path / "stderr").read_text() == "a\n"
    os.close(database)
    sink.close()


def test_stream_sink_waits_for_no_reader_that_stands_still_and_goes_on_when_it_reads_again():
    reading, writing = os.pipe()
    sink = StreamSink(writing)
    while sink.lost == 0:  # until the pipe is full
        sink.write("x" * 1000 + "\n")

    sink.write("lost, too\n")
    os.read(reading, 1 << 20)
    sink.write("read again\n")

    assert sink.lost == 2
    assert os.read(reading, 1 << 20) == b"read again\n"
    sink.close()
    os.close(reading)
    os.close(writing)
