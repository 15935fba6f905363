"""Texts of others on a terminal that doesn't have their characters."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Told = subprocess.CompletedProcess[bytes]

ASCII = [
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "ascii:strict"},
    {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
]


@pytest.fixture
def snowman(application: Path) -> Callable[..., Told]:
    """Runs a command in an application whose task fails with a snowman."""
    (application / "tasks" / "one.py").write_text(
        "from mulligan import Task\n\n\nclass One(Task):\n"
        "    max_attempts = 1\n\n    async def run(self, data: str) -> None:\n"
        "        raise RuntimeError('snow ' + chr(0x2603))\n"
    )

    def run(*arguments: str, **env: str) -> Told:
        return subprocess.run(
            [sys.executable, "-m", "mulligan", *arguments],
            cwd=application,
            env={**os.environ, "PYTHONUTF8": "1", **env},
            capture_output=True,
            check=False,
        )

    return run


@pytest.mark.parametrize("env", ASCII, ids=["ascii", "strict", "posix"])
def test_peek_and_tasks_run_show_what_the_terminal_does_not_have_as_escapes(snowman, env):
    sent = snowman("send", "-a", "name=h\xe4", "body \u2603")

    peeked = snowman("peek", "requests", **env)
    ran = snowman("tasks", "run", "One", "hello", **env)

    assert sent.returncode == 0
    assert (peeked.returncode, peeked.stderr) == (0, b"1 message shown\n")
    assert b"h\\xe4" in peeked.stdout
    assert peeked.stdout.endswith(b"body \\u2603\n")
    assert ran.returncode == 1
    assert b"RuntimeError: snow \\u2603" in ran.stdout


@pytest.mark.parametrize("env", ASCII, ids=["ascii", "strict", "posix"])
def test_an_error_with_characters_that_the_terminal_does_not_have_is_still_told(snowman, env):
    done = snowman("tasks", "run", "Snow\u2603", "hello", **env)

    # where arguments are bytes to Python, they are three
    shown = b"Snow\\udce2\\udc98\\udc83" if "LC_ALL" in env else b"Snow\\u2603"
    assert (done.returncode, done.stderr) == (2, b"error: there is no task '" + shown + b"'. Known: One.\n")


def test_dead_ls_and_show_list_an_error_with_characters_that_the_terminal_does_not_have(snowman):
    uid = snowman("send", "hello").stdout.decode().strip()
    assert snowman("run", "--drain", MULLIGAN_POOL_SIZE="1").returncode == 0

    listed = snowman("dead", "ls", PYTHONIOENCODING="ascii")
    shown = snowman("dead", "show", uid, PYTHONIOENCODING="ascii")

    assert (listed.returncode, listed.stderr) == (0, b"1 dead letter\n")
    assert b"RuntimeError: snow \\u2603 ..." in listed.stdout
    assert shown.returncode == 0
    assert b"| RuntimeError: snow \\u2603\n" in shown.stdout
