import json
import logging
import os
import subprocess
import sys

import pytest
import structlog

from mulligan.core.event import MessageDone, TaskFailed, TaskSucceeded, WorkerDied
from mulligan.core.message import TaskName, Uid

UID = Uid("018c")
DONE = MessageDone(UID, 2, 0.5)


def test_log_writes_one_readable_line_an_event(logging_set_up, stderr):
    hub = logging_set_up(worker=1)

    hub.emit(DONE)
    hub.emit(TaskFailed(UID, TaskName("T"), 1, 2, "ValueError: bad\nTraceback ...", 5.0))

    assert stderr.text() == (
        "2023-11-14T22:13:20Z info    w1 018c is done: 2 tasks in 500 ms\n"
        "2023-11-14T22:13:20Z warning w1 018c T failed (attempt 1 of 2, again in 5 s): ValueError: bad ...\n"
    )


def test_log_writes_json_with_every_field_of_the_event(logging_set_up, stderr):
    hub = logging_set_up(worker=1, log_format="json")

    hub.emit(DONE)

    assert json.loads(stderr.text()) == {
        "ts": "2023-11-14T22:13:20.250Z",
        "level": "info",
        "event": "MessageDone",
        "uid": "018c",
        "tasks": 2,
        "took_s": 0.5,
        "logger": "mulligan",
        "pid": os.getpid(),
        "worker": 1,
    }


def test_log_tells_of_the_worker_that_died_not_of_the_one_that_tells(logging_set_up, stderr):
    logging_set_up(log_format="json").emit(WorkerDied(3, 4711, "signal 9", 0, 0.0))

    told = json.loads(stderr.text())
    assert (told["worker"], told["pid"]) == (3, 4711)


def test_log_passes_over_levels_below_the_set_one(logging_set_up, stderr):
    hub = logging_set_up(log_level="WARNING")

    hub.emit(DONE)

    assert stderr.text() == ""
    assert not hub.wants(MessageDone)
    assert hub.wants(TaskFailed)


def test_log_wants_debug_events_only_at_debug(logging_set_up):
    assert not logging_set_up().wants(TaskSucceeded)
    assert logging_set_up(log_level="DEBUG").wants(TaskSucceeded)


def test_log_takes_what_tasks_say_through_structlog(logging_set_up, stderr):
    logging_set_up(worker=2)
    log = structlog.get_logger().bind(uid="018c", task="T")

    log.info("fetched\nall", rows=3)
    log.debug("not told")

    assert stderr.text() == "2023-11-14T22:13:20Z info    w2 fetched\\nall uid=018c task=T rows=3\n"


def test_log_takes_what_libraries_say_through_logging(logging_set_up, stderr):
    logging_set_up(log_format="json")

    logging.getLogger("some.library").warning("slow: %s", "db")
    logging.getLogger("some.library").critical("gone")

    first, second = map(json.loads, stderr.text().splitlines())
    assert (first["logger"], first["level"], first["event"]) == ("some.library", "warning", "slow: db")
    assert second["level"] == "error"


def test_log_survives_log_calls_that_are_wrong(logging_set_up, stderr):
    class Bad:
        def __repr__(self):
            raise RuntimeError

        __str__ = __repr__

    logging_set_up()

    # by hand: pytest's own handler, which would hear a call too, raises at such arguments
    wrong = logging.makeLogRecord({"msg": "%d", "args": ("no number",), "levelno": 40, "levelname": "ERROR"})
    bridge = next(handler for handler in logging.getLogger().handlers if handler.__module__ == "mulligan.telemetry.log")
    bridge.handle(wrong)
    structlog.get_logger().error(Bad(), bad=Bad())

    first, second = stderr.text().splitlines()
    assert first.endswith("'%d' (its arguments don't fit: TypeError)")
    assert second.endswith("can't be written: RuntimeError")


def test_log_shows_a_traceback_indented(logging_set_up, stderr):
    logging_set_up()
    try:
        raise ValueError("bad")
    except ValueError:
        structlog.get_logger().exception("failed")

    lines = stderr.text().splitlines()
    assert lines[0].endswith("error   failed")
    assert all(line.startswith("    | ") for line in lines[1:])
    assert lines[-1] == "    | ValueError: bad"


def test_log_writes_to_the_file_too(logging_set_up, stderr, tmp_path):
    logging_set_up(log_file=str(tmp_path / "var" / "x.log")).emit(DONE)

    assert (tmp_path / "var" / "x.log").read_text() == stderr.text() != ""


def test_log_tells_on_stderr_that_the_file_can_not_be_written(logging_set_up, stderr, tmp_path):
    full = tmp_path / "full.log"
    full.symlink_to("/dev/full")
    hub = logging_set_up(log_file=str(full))

    hub.emit(DONE)
    hub.emit(DONE)

    assert stderr.text().count("018c is done") == 2
    assert stderr.text().count("can't be written: No space left on device. Its lines are lost.") == 1


def test_log_is_undone_by_close(logging_set_up):
    before = list(logging.getLogger().handlers)

    hub = logging_set_up()
    hub.close()

    assert logging.getLogger().handlers == before
    assert not structlog.is_configured()


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
def test_log_has_colour_on_a_terminal_unless_it_is_not_wanted(variable):
    code = (
        "import pty, os, sys, time\n"
        "from mulligan.settings.model import Settings\nfrom mulligan.telemetry.log import configure\n"
        "from mulligan.core.event import LedgerDown\n"
        "main, terminal = pty.openpty()\n"
        "hub = configure(Settings(), worker=None, rotates=True, now=time.time, stderr=os.fdopen(terminal, 'w'))\n"
        "hub.emit(LedgerDown('full'))\n"
        "sys.stdout.buffer.write(os.read(main, 1000))\n"
    )
    environ = {key: text for key, text in os.environ.items() if key != "NO_COLOR"} | {"TERM": "xterm"}

    def written(**more: str) -> bytes:
        return subprocess.run([sys.executable, "-c", code], env=environ | more, capture_output=True, check=True).stdout

    assert b"\x1b[31m" in written()
    assert b"\x1b" not in written(**{variable: {"NO_COLOR": "1", "TERM": "dumb"}[variable]})


def test_log_lines_of_many_processes_stay_whole(tmp_path):
    code = (
        "import sys, time, os\n"
        "from mulligan.settings.model import Settings\nfrom mulligan.telemetry.log import configure\n"
        "from mulligan.core.event import MessageDone\n"
        "me = int(sys.argv[1])\n"
        "settings = Settings(log_file=sys.argv[2], log_file_max_bytes=20_000, log_file_backups=1000)\n"
        "hub = configure(settings, worker=me, rotates=me == 0, now=time.time, stderr=open(os.devnull, 'w'))\n"
        "for number in range(500):\n"
        "    hub.emit(MessageDone(f'{me}-{number}-' + 'x' * 100, 1, 1.0))\n"
        "    if me == 0: hub.tend()\n"
    )
    path = tmp_path / "x.log"
    processes = [subprocess.Popen([sys.executable, "-c", code, str(me), str(path)]) for me in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]

    lines = [line for file in tmp_path.glob("x.log*") for line in file.read_text().splitlines()]
    seen = {line.split()[3].partition("-x")[0] for line in lines}
    assert len(lines) == 1500
    assert seen == {f"{me}-{number}" for me in range(3) for number in range(500)}
    assert len(list(tmp_path.glob("x.log*"))) > 3
