import io
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from mulligan.cli.exit import Code
from mulligan.cli.init import FILES, TEMPLATE, prefix_of

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


@pytest.mark.parametrize("group", [[], ["dead"], ["tasks"]], ids=" ".join)
def test_help_cuts_no_sentence_about_a_command(mulligan, group):
    code, out, _ = mulligan(*group, "--help")

    assert code == 0
    assert "..." not in out.partition("Commands:")[2].partition("Examples:")[0]


def test_help_lists_every_exit_code(mulligan):
    _, out, _ = mulligan("--help")

    told = out.partition("Exit codes: ")[2]
    assert [f"{code.value} " in told for code in Code] == [True] * 8


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
    assert err == (
        "error: The queues msgparser-requests-q, msgparser-rejects-q and msgparser-dead-q aren't there (queue database "
        f"{application}/var/mulligan.db has none). `mulligan setup` makes them, and so does a start with "
        "CREATE_QUEUES=true (the default).\n"
    )


def test_check_is_ok_for_a_good_application(mulligan, application):
    code, out, _ = mulligan("check")

    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["ok", "settings"], ["ok", "tasks"], ["ok", "queues"], ["ok", "ledger"], ["ok", "bodies"],
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


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("BROKER_URL", "sqs://eu-west-1?endpoint=http://192.0.2.1:9324", "queues"),
        ("BROKER_URL", "amqp://one,two/", "queues"),
        ("LEDGER_URL", "postgresql://host/", "ledger"),
    ],
)
def test_check_finds_no_fault_with_the_tasks_when_a_url_can_not_be_used(
    mulligan, application, monkeypatch, name, value, part
):
    """It said that a worker died, with a traceback, and to import the files of the tasks one by one."""
    monkeypatch.setenv(f"MULLIGAN_{name}", value)

    code, out, _ = mulligan("check")

    words = [line.split()[:2] for line in out.splitlines()]
    assert code == 2
    assert ["ok", "tasks"] in words
    assert [two for two in words if two[0] == "problem"] == [["problem", part]]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("BODIES_URL", "tasks.xml", "problem  bodies    BODIES_URL: the folder "),
        ("BODIES_URL", "tasks.xml/below", "tasks.xml/below' can't be written: a file is in its place."),
        ("LOG_FILE", "tasks", "problem  log       LOG_FILE: "),
        ("MIDDLEWARE", "nope:it", "problem  settings  MIDDLEWARE names 'nope:it', which can't be imported"),
        ("LISTENERS", "os:path", "problem  settings  LISTENERS names 'os:path', which is a module"),
        ("TASKS_XML_FILE", "task.xml", "task.xml' can't be read: No such file or directory."),
        ("TASKS_XML_FILE", "x" * 5000, "can't be read: File name too long."),
    ],
)
def test_check_tells_what_the_start_or_the_first_large_message_would_meet(
    mulligan, application, monkeypatch, name, value, told
):
    monkeypatch.setenv(f"MULLIGAN_{name}", value)

    code, out, _ = mulligan("check")

    assert code == 2
    assert told in out


def test_check_tells_what_lies_in_the_folder_of_bodies_and_leaves_nothing_there(mulligan, application):
    (application / "var" / "bodies").mkdir(parents=True)
    (application / "var" / "bodies" / "left-over").write_bytes(b"12345")

    code, out, _ = mulligan("check")

    assert code == 0
    assert "ok       bodies    var/bodies: can be written, 1 in it with 5 bytes\n" in out
    assert [one.name for one in (application / "var" / "bodies").iterdir()] == ["left-over"]


@pytest.mark.parametrize(
    "arguments",
    [["send", "x"], ["status"], ["dead", "ls"], ["check"], ["setup"], ["run"], ["sqs-server"]],
    ids=" ".join,
)
def test_command_in_a_wrong_folder_says_so_and_makes_no_queue_there(mulligan, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)

    code, out, err = mulligan(*arguments)

    assert code == 2
    assert "Change to the application's folder, or create one: mulligan init" in out + err
    assert list(tmp_path.iterdir()) == []


def test_producer_needs_no_application_where_the_queue_is_named(mulligan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MULLIGAN_BROKER_URL", "sqlite:///there.db")

    assert mulligan("send", "x")[0] == 0


def test_uid_that_is_no_uid_is_told_in_one_short_line(mulligan, application):
    assert mulligan("send", "x")[0] == 0

    for command in (("dead", "show"), ("dead", "replay"), ("peek", "requests", "--uid"), ("tasks", "run", "--uid")):
        arguments = ("One", "x") if command[0] == "tasks" else ()
        _, _, err = mulligan(*command, "x" * 100_000, *arguments)

        assert "'xxx" in err
        assert len(err) < 500


@pytest.mark.parametrize(
    ("option", "value"), [("region", 'x y"'), ("account", "12"), ("partition", "gcp"), ("account", "0" * 13)]
)
def test_iam_policy_refuses_what_can_be_part_of_no_arn(mulligan, application, option, value):
    given = {"region": "eu-west-1", "account": "*", "partition": "aws"} | {option: value}

    code, out, err = mulligan("iam-policy", "--role", "worker", *(f"--{name}={one}" for name, one in given.items()))

    assert (code, out) == (2, "")
    assert f"--{option} is {value!r}, expected" in err


def test_port_that_is_none_is_refused_before_anything_starts(mulligan, application):
    code, _, err = mulligan("run", "--with-sqs-server", "99999")

    assert code == 2
    assert "--with-sqs-server" in err
    assert not (application / "var").exists()


def test_check_ends_with_2_when_a_setting_is_wrong(mulligan, application, monkeypatch):
    monkeypatch.setenv("MULLIGAN_POOL_SIZE", "0")

    code, out, _ = mulligan("check")

    assert code == 2
    assert out.startswith("problem  settings  environment variable MULLIGAN_POOL_SIZE: POOL_SIZE is '0'")


def test_check_and_settings_say_what_an_old_name_of_a_queue_means(mulligan, application, monkeypatch):
    """DEAD_LETTER_QUEUE was taken for the dead-letter queue."""
    monkeypatch.setenv("MULLIGAN_DEAD_LETTER_QUEUE", "again")

    code, out, _ = mulligan("check")
    _, shown, err = mulligan("settings")

    assert code == 0
    assert "note     settings  environment variable MULLIGAN_DEAD_LETTER_QUEUE: DEAD_LETTER_QUEUE is an earlier" in out
    assert "it is the queue of retries, not of dead letters" in out
    assert "it is the queue of retries, not of dead letters" in err
    assert re.search(r"REJECTS_QUEUE +'again' +environment variable MULLIGAN_DEAD_LETTER_QUEUE\n", shown)


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
    for name in ("main.py", "publisher.py", "tasks.xml", "tasks/task1.py"):
        assert (tmp_path / "shop" / name).read_bytes() == (ROOT / name).read_bytes()
        assert f"shop/{name}" in out
    configured = (tmp_path / "shop" / "config" / "configuration.py").read_text()
    assert configured == (ROOT / "config" / "configuration.py").read_text().replace("msgparser", "shop")
    assert "cd shop && python main.py" in err
    monkeypatch.chdir(tmp_path / "shop")
    assert mulligan("check")[0] == 0


def test_init_calls_the_queues_by_the_folder(mulligan, tmp_path, monkeypatch):
    """Every application was msgparser, and two on one broker took each other's messages."""
    (tmp_path / "Café shop 2").mkdir()
    monkeypatch.chdir(tmp_path / "Café shop 2")

    _, _, err = mulligan("init")
    told = json.loads(mulligan("settings", "--json")[1])

    assert "COMMON_PREFIX is Cafe-shop-2: the queues are Cafe-shop-2-requests-q" in err
    assert told["COMMON_PREFIX"]["value"] == "Cafe-shop-2"


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("shop", "shop"),
        ("my.shop v2", "my-shop-v2"),
        ("under_score", "under_score"),
        ("--x--", "x"),
        ("商店", "msgparser"),
        ("", "msgparser"),
        ("a" * 59 + ".b", "a" * 59),
        ("a" * 80, "a" * 60),
    ],
)
def test_prefix_of_a_folder_is_what_of_its_name_a_prefix_may_have(name, prefix):
    assert prefix_of(name) == prefix


def test_init_overwrites_nothing(mulligan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tasks.xml").write_text("mine")

    code, _, err = mulligan("init")

    assert code == 2
    assert "tasks.xml is there already" in err
    assert [path.name for path in tmp_path.iterdir()] == ["tasks.xml"]


def test_init_lays_out_what_is_named_and_nothing_that_lies_beside_it(mulligan, tmp_path, monkeypatch):
    copy = tmp_path / "template"
    shutil.copytree(TEMPLATE, copy)
    (copy / "tasks" / "token.py").write_text("TOKEN = 'secret'")
    monkeypatch.setattr("mulligan.cli.init.TEMPLATE", copy)
    monkeypatch.chdir(tmp_path)

    code, _, _ = mulligan("init", "shop")

    shop = tmp_path / "shop"
    assert code == 0
    assert sorted(str(path.relative_to(shop)) for path in shop.rglob("*") if path.is_file()) == sorted(FILES)


def test_init_names_the_file_that_the_installation_lacks(mulligan, tmp_path, monkeypatch):
    monkeypatch.setattr("mulligan.cli.init.TEMPLATE", tmp_path / "gone")
    monkeypatch.chdir(tmp_path)

    code, _, err = mulligan("init", "shop")

    assert code == 1
    assert f"{tmp_path}/gone/main.py, which mulligan init copies, can't be read" in err
    assert not (tmp_path / "shop").exists()


def test_check_names_a_task_that_was_dropped_into_the_folder_and_is_not_in_the_manifest(mulligan, application):
    (application / "tasks" / "order.py").write_text(
        "from mulligan import Task\n\n\nclass ShipOrder(Task):\n    async def run(self, data: str) -> None: ...\n"
    )

    code, out, _ = mulligan("check")

    assert code == 0
    assert (
        "note     tasks     tasks/order.py: ShipOrder is not in tasks.xml, so no message goes to it. List it there; to "
        "switch it off, put its entry into a comment\n"
    ) in out


def test_check_says_nothing_of_samples_until_somebody_changes_one(mulligan, application):
    for name in ("task1.py", "task3.py", "jira_issue_creator_task.py"):
        shutil.copy(TEMPLATE / "tasks" / name, application / "tasks")
    with (application / "tasks" / "task3.py").open("a") as file:
        file.write("# mine\n")

    notes = [line for line in mulligan("check")[1].splitlines() if "not in tasks.xml" in line]

    assert [line.split()[2] for line in notes] == ["tasks/task3.py:"]


def test_check_says_nothing_of_the_ready_tasks_that_the_samples_have_switched_off(mulligan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mulligan("init")
    for path in (tmp_path / "tasks").glob("*_task.py"):
        path.write_text(path.read_text() + "# mine\n")

    code, out, _ = mulligan("check")

    assert code == 0
    assert "not in tasks.xml" not in out
