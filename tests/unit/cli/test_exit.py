import os
import subprocess
import sys

import pytest
import typer

from mulligan.cli.exit import PartialError, UsageError, ended
from mulligan.core.error import (
    BrokerRefused,
    BrokerUnavailable,
    ConfigurationError,
    LedgerError,
    LedgerUnavailable,
    StorageBroken,
)


def raising(error: BaseException):
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError(["a", "b"]), 2),
        (UsageError("x"), 2),
        (PartialError("x"), 3),
        (BrokerUnavailable("x"), 4),
        (BrokerRefused("x"), 1),
        (LedgerError("x"), 1),
        (LedgerUnavailable("x"), 5),
        (StorageBroken("x"), 1),
        (RuntimeError("x"), 1),
        (KeyboardInterrupt(), 130),
        (typer.BadParameter("x"), 2),
    ],
)
def test_ended_gives_the_exit_code_of_an_error_and_no_traceback(error, code, capsys):
    assert ended(raising(error)) == code

    out, err = capsys.readouterr()
    assert out == ""
    assert err
    assert "Traceback" not in err


def test_ended_tells_every_problem(capsys):
    ended(raising(ConfigurationError(["first", "second"])))

    assert capsys.readouterr().err == "error: first\nerror: second\n2 problems\n"


def test_ended_shows_the_traceback_of_a_fault_only_when_asked(monkeypatch, capsys):
    monkeypatch.setenv("MULLIGAN_DEBUG", "1")

    ended(raising(RuntimeError("x")))

    assert "Traceback" in capsys.readouterr().err


def test_ended_says_where_an_unexpected_error_came_from_and_how_to_see_more(capsys):
    ended(raising(RuntimeError("odd")))

    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: unexpected RuntimeError at test_exit.py:")
    assert first.endswith(": odd")
    assert "MULLIGAN_DEBUG=1" in second


def test_ended_hides_passwords_and_control_characters(capsys):
    ended(raising(BrokerUnavailable("amqp://me:s3cret@host \x1b[2J")))

    assert capsys.readouterr().err == "error: amqp://me:***@host \\x1b[2J\n"


def test_command_line_is_quiet_when_its_reader_has_gone(tmp_path):
    code = "import sys; from mulligan.cli.app import main; sys.exit(main(['settings']))"
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, check=False
    )

    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_command_line_imports_nothing_heavy_before_a_command_needs_it(tmp_path):
    code = "import sys, mulligan.cli.app; print(*sys.modules)"

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {"rich", "structlog", "sqlite3", "uvloop", "asyncio"} & set(out)


@pytest.mark.parametrize(
    ("command", "redirect", "told"),
    [
        ("settings", ">&-", "error: there is no stdout to print to."),
        ("settings", ">/dev/full", "error: stdout can't be written: No space left on device."),
        ("--help", ">/dev/full", "error: stdout can't be written: No space left on device."),
        ("--version", ">/dev/full", "error: stdout can't be written: No space left on device."),
    ],
)
def test_stdout_that_takes_nothing_is_told_in_one_line(tmp_path, command, redirect, told):
    code = f"import sys; from mulligan.cli.app import main; sys.exit(main(['{command}']))"
    command = f'"{sys.executable}" -c "{code}" {redirect}'

    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.stderr.startswith(told)
    assert len(done.stderr.splitlines()) == 1
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_help_on_a_full_stdout_is_told_in_one_line(tmp_path):
    command = f'"{sys.executable}" -m mulligan --help >/dev/full'

    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.stderr == "error: stdout can't be written: No space left on device. Redirect it elsewhere.\n"
    assert done.returncode == 1


def test_nothing_is_opened_in_the_place_of_a_stream_that_is_closed(tmp_path):
    code = """
import os, subprocess
from mulligan.cli.exit import ended

def command():
    subprocess.run(["sh", "-c", "echo from a child; echo and its stderr >&2"], check=True)
    return 3 if os.open("file", os.O_CREAT | os.O_RDWR) > 2 else 1

os._exit(ended(command))
"""
    (tmp_path / "code.py").write_text(code)
    command = f'"{sys.executable}" code.py <&- >&- 2>&-'

    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=False)

    assert (done.returncode, (tmp_path / "file").read_bytes()) == (3, b"")
