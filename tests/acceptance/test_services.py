"""The ready tasks in an application as a user has it, on stand-ins of Jira, Trello and Slack."""

import pytest

from tests.acceptance.harness.whole import FILES, carry_through


@pytest.mark.timeout(400)
def test_each_message_is_one_issue_one_card_and_one_message_whatever_the_services_and_workers_do(
    whole, services, until
):
    carry_through(whole, services, until, messages=50, bad={"bad-a": 2, "bad-b": 1}, kills=2, trello_down_s=3.0)


BAD_CONFIGURATIONS = {
    "no token at all": (
        {"JIRA_PASSWORD": ""},
        "the environment variable JIRA_PASSWORD is not set: export JIRA_PASSWORD=",
    ),
    "plain http to another machine": ({"JIRA_SERVER_URL": "http://jira.example.com"}, "Write https://jira.example.com"),
    "Jira is not there": ({"JIRA_SERVER_URL": "http://127.0.0.1:9"}, "Is JIRA_SERVER_URL right"),
    "Jira's token is old": ({"JIRA_PASSWORD": "old"}, "tokens expire within a year: make a new one"),
    "no such project": ({"JIRA_PROJECT_KEY": "NOPE"}, "no project 'NOPE'"),
    "no such issue type": ({"JIRA_ISSUE_TYPE": "Epos"}, "JIRA_ISSUE_TYPE must be one of: Bug, Task."),
    "Trello's key is wrong": ({"TRELLO_KEY": "x"}, "TRELLO_KEY is not taken"),
    "Trello's token is wrong": ({"TRELLO_AUTH_TOKEN": "x"}, "TRELLO_AUTH_TOKEN is not taken"),
    "no such board": ({"TRELLO_BOARD_ID": "nope"}, "TRELLO_BOARD_ID is in the board's address"),
    "no such list": ({"TRELLO_LIST_NAME": "Nope"}, "TRELLO_LIST_NAME must be one of: 'Incoming', 'Done'."),
    "Slack's token is wrong": ({"SLACK_API_TOKEN": "x"}, "Copy the bot token (xoxb-...)"),
    "no such channel": ({"SLACK_CHANNEL": "nope"}, "invite the app to it: /invite @app"),
}


@pytest.mark.parametrize("kind", BAD_CONFIGURATIONS)
def test_check_says_what_to_do_when_a_service_is_set_up_wrongly(whole, kind):
    environment, told = BAD_CONFIGURATIONS[kind]
    whole.manifest(*FILES, "task4 Task4 default")
    whole.environment |= environment

    checked = whole.cli("check")

    assert checked.returncode == 2
    assert told in checked.stdout
    assert "Traceback" not in checked.stdout + checked.stderr
    assert "old" not in [word.strip("'") for word in checked.stdout.split()]


def test_check_is_content_when_the_services_are_set_up_rightly(whole, services):
    whole.manifest(*FILES, "task4 Task4 default")

    checked = whole.cli("check")

    assert (checked.returncode, checked.stdout.count("answers as it should")) == (0, 4)
    assert services.jira.issues == services.trello.cards == services.slack.messages == []


def test_application_starts_without_the_extra_while_its_tasks_are_off_and_says_what_to_install_when_one_is_on(samples):
    hidden = samples.folder / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import importlib.util as util, sys\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name, package=None: None if name == 'httpx' else found(name, package)\n"
        "sys.modules['httpx'] = None\n"
    )
    samples.environment["PYTHONPATH"] = str(hidden)
    samples.publish("s1")

    samples.drain()
    samples.manifest("task1 Task1", FILES[2])
    samples.environment |= {"SLACK_API_TOKEN": "x", "SLACK_CHANNEL": "y"}
    refused = samples.cli("check")

    assert refused.returncode == 2
    assert "-m pip install 'PATH[integrations]' (PATH: the clone of mulligan, or its wheel)" in refused.stdout


def test_task_of_the_program_before_runs_with_nothing_but_its_import_line_changed(app):
    (app.folder / "tasks" / "task1.py").write_text(
        "from mulligan import Task\n\n\nclass Task1(Task):\n\n    @classmethod\n    def run(cls, data):\n"
        '        print("got", data)\n        return data != "wrong"\n'
    )
    app.manifest("task1 Task1")
    app.publish("right")
    app.publish("wrong")

    log = app.drain().log()

    (letter,) = app.dead()
    assert "is done: 1 task" in log
    assert letter["tasks"]["Task1"] | {"failed_at": None} == {
        "state": "exhausted", "attempts": 2, "error": "returned False", "failed_at": None,
    }  # fmt: skip
