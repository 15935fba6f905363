import re
from pathlib import Path

import pytest

from mulligan import integrations
from mulligan.integrations.environment import token_problems

ROOT = Path(__file__).resolve().parents[3]


def test_token_with_a_character_that_no_header_can_hold_is_told_by_its_place_alone():
    told = token_problems(SLACK_API_TOKEN="xoxb-\u2603-secret", TRELLO_KEY="a b", JIRA_PASSWORD="right")

    assert told == [
        "SLACK_API_TOKEN holds the character U+2603 in place 6, expected letters, digits and signs without blanks. "
        "Copy it again.",
        "TRELLO_KEY holds the character U+0020 in place 2, expected letters, digits and signs without blanks. "
        "Copy it again.",
    ]


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (integrations.SlackMessageSenderTask, "SLACK_API_TOKEN"),
        (integrations.SlackAlertTask, "SLACK_API_TOKEN"),
        (integrations.TrelloCardCreatorTask, "TRELLO_AUTH_TOKEN"),
        (integrations.JiraIssueCreatorTask, "JIRA_PASSWORD"),
    ],
)
def test_task_tells_a_token_that_can_not_be_sent_before_anything_starts(monkeypatch, cls, name):
    for one in ("JIRA_USERNAME", "SLACK_API_TOKEN", "TRELLO_AUTH_TOKEN", "JIRA_PASSWORD"):
        monkeypatch.delenv(one, raising=False)
    monkeypatch.setenv(name, "b\u00e4d-token")

    told = [problem for problem in cls().check() if problem.startswith(f"{name} holds")]

    assert len(told) == 1


def test_every_variable_of_the_ready_tasks_is_on_a_page():
    source = "".join(path.read_text("utf-8") for path in (ROOT / "src/mulligan/integrations").glob("*.py"))
    pages = "".join(path.read_text("utf-8") for path in (ROOT / "docs/integrations").glob("*.md"))

    named = set(re.findall(r'\bvariable\("(\w+)"', source))

    assert len(named) == 19
    assert {name for name in named if not re.search(rf"\b{name}\b", pages)} == set()
