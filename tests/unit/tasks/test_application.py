"""The sample tasks of the application at the repository's root."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

import mulligan
from mulligan.core.message import Message, TaskName, Uid
from mulligan.core.outcome import SUCCEEDED, Failed
from mulligan.tasks.context import AttemptFacts, Failure, TaskContext
from mulligan.tasks.loader import load
from mulligan.tasks.outcome_of import outcome_of_error, outcome_of_result

ROOT = Path(__file__).parents[3]


@pytest.fixture
def tasks(app, monkeypatch):
    monkeypatch.delenv("SLACK_API_TOKEN", raising=False)
    monkeypatch.delenv("SLACK_CHANNEL", raising=False)
    return load(ROOT).tasks


async def outcome(task, body: bytes, attempt: int = 1, failures=()):
    message = Message(Uid("018bcfe56800-00000000000000000000"), body, {}, 0.0)
    context = TaskContext(message, task.name, AttemptFacts(attempt, 2), failures=failures)
    try:
        result = task.call(message, context)
        return outcome_of_result(await result if task.is_async else result)
    except Exception as exc:
        return outcome_of_error(task, exc)


def test_application_has_three_tasks_and_one_default_task(tasks):
    assert [(name, task.is_default) for name, task in tasks.items()] == [
        ("Task1", False),
        ("Task2", False),
        ("Task3", False),
        ("Task4", True),
    ]


async def test_sample_tasks_succeed_when_the_body_begins_with_s(tasks):
    assert [await outcome(tasks[name], b"s1") for name in ("Task1", "Task2", "Task3")] == [SUCCEEDED] * 3


async def test_one_sample_task_fails_once_when_the_body_begins_with_fp(tasks):
    assert [await outcome(tasks[name], b"fp1") for name in ("Task1", "Task2")] == [SUCCEEDED] * 2
    assert isinstance(await outcome(tasks["Task3"], b"fp1", attempt=1), Failed)
    assert await outcome(tasks["Task3"], b"fp1", attempt=2) == SUCCEEDED


async def test_one_sample_task_fails_on_every_attempt_when_the_body_begins_with_fo(tasks):
    assert [await outcome(tasks[name], b"fo1") for name in ("Task1", "Task2")] == [SUCCEEDED] * 2
    for attempt in (1, 2, 3):
        failed = await outcome(tasks["Task3"], b"fo1", attempt)
        assert isinstance(failed, Failed)
        assert not failed.is_final


async def test_default_task_works_when_slack_is_not_set_up(tasks):
    failure = Failure(TaskName("Task3"), "it broke", 2, 0.0)

    assert await outcome(tasks["Task4"], b"fo1", failures=(failure,)) == SUCCEEDED


@pytest.mark.parametrize(
    ("file", "cls", "names"),
    [
        (
            "jira_issue_creator_task",
            "JiraIssueCreatorTask",
            ["JIRA_SERVER_URL", "JIRA_USERNAME", "JIRA_PASSWORD", "JIRA_PROJECT_KEY", "JIRA_ISSUE_TYPE"],
        ),
        (
            "trello_card_creator_task",
            "TrelloCardCreatorTask",
            ["TRELLO_KEY", "TRELLO_AUTH_TOKEN", "TRELLO_BOARD_ID", "TRELLO_LIST_NAME"],
        ),
        ("slack_message_sender_task", "SlackMessageSenderTask", ["SLACK_API_TOKEN", "SLACK_CHANNEL"]),
    ],
)
def test_task_for_a_service_names_its_missing_variables_and_is_ready_when_they_are_there(
    app, monkeypatch, file, cls, names
):
    (app.folder / "tasks" / f"{file}.py").write_text((ROOT / "tasks" / f"{file}.py").read_text())
    app.manifest(f"{file} {cls}")
    for name in names:
        monkeypatch.delenv(name, raising=False)

    problems = app.problems()

    assert [re.search(r"variable (\w+) is not set", problem).group(1) for problem in problems] == names
    for name in names:
        monkeypatch.setenv(name, "https://jira.example.com" if name.endswith("URL") else "x")
    task = app.load().tasks[cls]
    assert task.policy.max_attempts == 30
    assert task.probe is not None


def test_task4_channel_comes_from_the_environment_when_it_is_there(app, monkeypatch):
    monkeypatch.setenv("SLACK_CHANNEL", "#mine")

    load(ROOT)

    assert sys.modules["tasks.task4_constants"].SLACK_CHANNEL == "#mine"


def test_commented_out_samples_are_ready_to_be_switched_on():
    text = (ROOT / "tasks.xml").read_text()
    switched_on = re.sub(r"<!--\s+Ready tasks.*?mulligan check\.\n(.*?)-->", r"\1", text, flags=re.DOTALL)

    from mulligan.tasks.manifest import parse

    manifest, problems = parse(switched_on.encode())

    assert problems == []
    assert len(manifest.entries) == 7
    assert all((ROOT / "tasks" / f"{entry.file_name}.py").is_file() for entry in manifest.entries)


def test_version_is_the_projects():
    assert mulligan.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
