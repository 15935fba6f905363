import io
import json
import sys
from pathlib import Path

import pytest

from mulligan.cli.init import template_files

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = [
    ["run"], ["send"], ["status"], ["peek"], ["dead", "ls"], ["dead", "show"], ["dead", "replay"], ["check"],
    ["settings"], ["init"],
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_a_help_with_examples(mulligan, command):
    code, out, _ = mulligan(*command, "--help")

    assert code == 0
    assert "Examples:\n    mulligan " + " ".join(command) in out


def test_send_status_and_peek_tell_of_the_message(mulligan, application):
    code, uid, err = mulligan("send", "-a", "source=shop", "hällo")
    assert (code, err) == (0, "sent 1 message to msgparser-requests-q\n")

    code, out, _ = mulligan("peek", "requests", "--uid", uid.strip())
    assert code == 0
    assert out.startswith(uid.strip())
    assert "source" in out
    assert out.endswith("hällo\n")

    code, out, _ = mulligan("status", "--json")
    queues = json.loads(out)["queues"]
    age = queues["requests"].pop("oldest_age_s")
    assert queues == {
        "requests": {"name": "msgparser-requests-q", "ready": 1, "delayed": 0, "in_flight": 0},
        "rejects": {"name": "msgparser-rejects-q", "ready": 0, "delayed": 0, "in_flight": 0, "oldest_age_s": None},
        "dead": {"name": "msgparser-dead-q", "ready": 0, "delayed": 0, "in_flight": 0, "oldest_age_s": None},
    }
    assert 0 <= age < 60

    code, out, _ = mulligan("status")
    assert [line.split() for line in out.splitlines()[1:]][1] == ["rejects", "msgparser-rejects-q", "0", "0", "0", "-"]


def test_send_takes_a_file_line_by_line_with_a_delay(mulligan, application):
    (application / "lines").write_bytes(b"a\n\xff b\n")

    code, out, err = mulligan("send", "--delay", "60", "--queue", "rejects", "@lines")

    assert (code, out, err) == (0, "", "sent 2 messages to msgparser-rejects-q\n")
    assert json.loads(mulligan("status", "--json")[1])["queues"]["rejects"]["delayed"] == 2


def test_send_tells_of_lines_above_the_limit_and_sends_the_others(mulligan, application):
    (application / "lines").write_bytes(b"a\n" + b"x" * 17_000_000 + b"\nb\n")

    code, _, err = mulligan("send", "@lines")

    assert code == 3
    assert "sent 2 messages" in err
    assert "line 2: the body has 17,000,000 bytes, and this broker takes messages of at most 16,777,216." in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["send", "@nowhere"], "@nowhere: the file can't be read: No such file or directory"),
        (["send", "@tasks"], "@tasks is a folder"),
        (["send", "--delay", "-1", "x"], "--delay -1: this broker can delay a message by 0 to"),
        (["send", "--delay", "nan", "x"], "--delay nan"),
        (["send", "--atribute", "a=b", "x"], "Did you mean --attribute?"),
        (["sned", "x"], "Did you mean 'send'?"),
        (["peek", "nothing"], "'nothing' is not one of 'requests', 'rejects', 'dead'"),
        (["dead", "replay"], "give uids or --all"),
        (["dead", "replay", "--all", "x"], "not both"),
        (["run", "--for", "-3"], "--for"),
        ([], "Usage: mulligan"),
    ],
)
def test_command_line_tells_misuse_with_exit_code_2(mulligan, application, arguments, text):
    code, out, err = mulligan(*arguments)

    assert code == 2
    assert text in out + err
    assert "Traceback" not in err


def test_dead_ls_prints_an_empty_list_when_there_is_none(mulligan, application):
    mulligan("send", "x")

    assert mulligan("dead", "ls") == (0, "", "0 dead letters\n")
    assert mulligan("dead", "ls", "--json")[1] == "[]\n"


def test_status_says_what_to_do_when_the_queues_are_not_there(mulligan, application):
    code, _, err = mulligan("status")

    assert code == 1
    assert "there is no queue 'msgparser-requests-q'" in err


def test_check_is_ok_for_a_good_application(mulligan, application):
    code, out, _ = mulligan("check")

    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["ok", "settings"], ["ok", "tasks"], ["ok", "queues"], ["ok", "ledger"],
    ]  # fmt: skip


def test_check_tells_everything_that_is_wrong_at_once(mulligan, application):
    (application / "tasks" / "one.py").write_text("def broken(:\n")
    (application / "ledger.txt").write_text("no database " * 100)

    (application / "config").mkdir()
    (application / "config" / "configuration.py").write_text("LEDGER_URL = 'sqlite:///ledger.txt'\n")
    code, out, _ = mulligan("check")

    assert code == 2
    words = [line.split()[:2] for line in out.splitlines()]
    assert ["problem", "tasks"] in words
    assert ["problem", "ledger"] in words
    assert ["ok", "queues"] in words


def test_check_ends_with_2_when_a_setting_is_wrong(mulligan, application, monkeypatch):
    monkeypatch.setenv("MULLIGAN_POOL_SIZE", "0")

    code, out, _ = mulligan("check")

    assert code == 2
    assert out.startswith("problem  settings  environment variable MULLIGAN_POOL_SIZE: POOL_SIZE is '0'")


def test_settings_prints_value_and_origin_without_secrets(mulligan, application, monkeypatch):
    monkeypatch.setenv("MULLIGAN_BROKER_URL", "amqp://me:s3cret@host/")

    code, out, _ = mulligan("settings", "--json")
    shown = json.loads(out)
    assert code == 0
    assert shown["BROKER_URL"] == {
        "value": "amqp://me:***@host/",
        "from": "environment variable MULLIGAN_BROKER_URL",
    }
    assert shown["POOL_SIZE"] == {"value": 5, "from": "default"}
    assert "s3cret" not in mulligan("settings")[1]


def test_send_reads_messages_from_a_pipe(mulligan, application, monkeypatch, tmp_path):
    (tmp_path / "in").write_bytes(b"a\nb\nc\n")
    with (tmp_path / "in").open() as file:
        monkeypatch.setattr(sys, "stdin", file)

        code, _, err = mulligan("send", "-")

    assert (code, err) == (0, "sent 3 messages to msgparser-requests-q\n")


def test_send_says_that_there_is_no_stdin(mulligan, application, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    assert mulligan("send", "-")[0] == 2


def test_init_lays_out_the_files_of_this_repository(mulligan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    code, out, err = mulligan("init", "shop")

    assert code == 0
    for name in ("main.py", "publisher.py", "config/configuration.py", "tasks.xml", "tasks/task1.py"):
        assert (tmp_path / "shop" / name).read_bytes() == (ROOT / name).read_bytes()
        assert f"shop/{name}" in out
    assert "cd shop && python main.py" in err
    monkeypatch.chdir(tmp_path / "shop")
    assert mulligan("check")[0] == 0


def test_init_overwrites_nothing(mulligan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tasks.xml").write_text("mine")

    code, _, err = mulligan("init")

    assert code == 2
    assert "tasks.xml is there already" in err
    assert [path.name for path in tmp_path.iterdir()] == ["tasks.xml"]


def test_init_leaves_out_what_python_leaves_behind():
    names = [name for name, _ in template_files()]

    assert names[:3] == ["main.py", "publisher.py", "tasks.xml"]
    assert not any("__pycache__" in name or name.endswith(".pyc") for name in names)
