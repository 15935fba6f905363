import json
import sys

import pytest

from mulligan.cli.app import main

CODE = """
from mulligan import GiveUp, Note, Skip, Task

class Echo(Task):
    async def run(self, data, context):
        if data.startswith("f"):
            raise RuntimeError("as asked")
        if data.startswith("g"):
            raise GiveUp("for good")
        if data.startswith("s"):
            raise Skip("not mine")

class Alert(Task):
    max_attempts = 7
    backoff = lambda attempts: 3
    async def run(self, data, context):
        assert context.failures
    async def probe(self):
        return PROBE
"""


@pytest.fixture
def app(tmp_path, monkeypatch):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "config").mkdir()
    path = list(sys.path)

    def make(probe="[]"):
        (tmp_path / "tasks" / "one.py").write_text(CODE.replace("PROBE", probe))
        return tmp_path

    (tmp_path / "tasks.xml").write_text(
        "<tasks><task><filename>one</filename><classname>Echo</classname><default>false</default></task>"
        "<task><filename>one</filename><classname>Alert</classname><default>true</default></task></tasks>"
    )
    make()
    monkeypatch.chdir(tmp_path)
    yield make
    sys.path[:] = path
    for name in [name for name in sys.modules if name == "tasks" or name.startswith("tasks.")]:
        del sys.modules[name]


def test_tasks_lists_each_with_policy_and_origin(app, capsys):
    assert main(["tasks"]) == 0

    _, echo, alert = capsys.readouterr().out.splitlines()
    assert echo.split() == ["Echo", "task", "2", "10", "s", "60", "s", "tasks/one.py:4"]
    assert alert.split() == ["Alert", "default", "7", "its", "own", "60", "s", "tasks/one.py:13"]


def test_tasks_gives_json(app, capsys):
    assert main(["tasks", "--json"]) == 0

    assert json.loads(capsys.readouterr().out)[0] == {
        "task": "Echo", "default": False, "attempts": 2, "first_wait_s": 10.0, "timeout_s": 60.0,
        "from": "tasks/one.py:4",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "out", "err"),
    [
        (["Echo", "ok"], 0, "Echo succeeded after", ""),
        (["Echo", "s"], 0, "Echo skipped it: not mine", ""),
        (["Echo", "f"], 1, "RuntimeError: as asked", "tried again in about 10 s, 1 more time"),
        (["Echo", "f", "--attempt", "2"], 1, "RuntimeError: as asked", "its last attempt"),
        (["Echo", "g"], 1, "for good", "its last attempt"),
        (["Alert", "x"], 0, "Alert succeeded", ""),
        (["Ecko", "x"], 2, "", "there is no task 'Ecko'. Known: Echo, Alert. Did you mean 'Echo'?"),
        (["Echo", "@missing"], 2, "", "'@missing' can't be read"),
    ],
)
def test_tasks_run_tells_the_end_of_one_attempt(app, capsys, arguments, code, out, err):
    assert main(["tasks", "run", *arguments]) == code

    told = capsys.readouterr()
    assert out in told.out
    assert err in told.err
    assert "Traceback" not in told.err


def test_tasks_run_takes_a_whole_file_as_the_body(app, capsys, tmp_path):
    (tmp_path / "body").write_text("g\nmore")

    assert main(["tasks", "run", "Echo", "@body"]) == 1


@pytest.mark.parametrize(
    ("probe", "code", "line"),
    [
        ("[]", 0, "ok       services  Alert: answers as it should"),
        ("['the token is old']", 2, "problem  services  Alert: the token is old"),
        ("[Note('no history')]", 0, "note     services  Alert: no history"),
        ("1 / 0", 2, "problem  services  Alert: its probe() raises ZeroDivisionError: division by zero."),
        ("7", 2, "problem  services  Alert: its probe() does not return a list of sentences"),
    ],
)
def test_check_tells_what_a_task_says_of_its_services(app, capsys, probe, code, line):
    app(probe)

    assert main(["check"]) == code

    assert line in capsys.readouterr().out


def test_check_leaves_the_services_out_when_no_task_has_any(app, capsys, tmp_path):
    (tmp_path / "tasks" / "one.py").write_text(CODE.replace("async def probe", "async def other"))

    assert main(["check"]) == 0

    assert "services" not in capsys.readouterr().out


def test_tasks_run_refuses_a_body_that_no_queue_would_take_without_reading_it_whole(app, capsys, monkeypatch):
    monkeypatch.setattr("mulligan.cli.tasks._BODY_MAX_BYTES", 1000)

    assert main(["tasks", "run", "Echo", "@/dev/zero"]) == 2

    assert "'@/dev/zero' has more than 1,000 bytes" in capsys.readouterr().err
