"""What `mulligan check` says about a service that is set up wrongly. Nothing is changed by asking."""

import pytest

from mulligan import integrations
from mulligan.tasks.base import Note

JIRA, TRELLO, SLACK = (
    integrations.JiraIssueCreatorTask,
    integrations.TrelloCardCreatorTask,
    integrations.SlackMessageSenderTask,
)


@pytest.fixture
def servers(jira_server, trello_server, slack_server):
    return {"jira": jira_server, "trello": trello_server, "slack": slack_server}


@pytest.mark.parametrize("cls", [JIRA, TRELLO, SLACK, integrations.SlackAlertTask])
async def test_probe_finds_nothing_and_changes_nothing_when_all_is_right(servers, cls):
    assert list(await cls().probe()) == []
    assert servers["jira"].issues == servers["trello"].cards == servers["slack"].messages == []


@pytest.mark.parametrize(
    ("cls", "variable", "wrong", "told"),
    [
        (JIRA, "JIRA_PASSWORD", "old", "does not take JIRA_USERNAME with JIRA_PASSWORD (401)"),
        (JIRA, "JIRA_PROJECT_KEY", "NOPE", "no project 'NOPE' that this user may see"),
        (JIRA, "JIRA_ISSUE_TYPE", "Epos", "no issue type 'Epos'. JIRA_ISSUE_TYPE must be one of: Bug, Task."),
        (JIRA, "JIRA_SERVER_URL", "http://127.0.0.1:9", "can't be reached"),
        (TRELLO, "TRELLO_KEY", "x", "401 to the lists of the board: invalid key (TRELLO_KEY is not taken"),
        (TRELLO, "TRELLO_AUTH_TOKEN", "x", "invalid token (TRELLO_AUTH_TOKEN is not taken"),
        (TRELLO, "TRELLO_BOARD_ID", "nope", "no board 'nope' that this token may see"),
        (TRELLO, "TRELLO_LIST_NAME", "Nope", "TRELLO_LIST_NAME must be one of: 'Incoming', 'Done'."),
        (SLACK, "SLACK_API_TOKEN", "x", "invalid_auth: SLACK_API_TOKEN is not taken"),
        (SLACK, "SLACK_CHANNEL", "nope", "channel_not_found: there is no such channel"),
        (SLACK, "SLACK_SERVER_URL", "http://127.0.0.1:9", "can't be reached"),
    ],
)
async def test_probe_says_what_to_do_when_a_variable_is_wrong(servers, monkeypatch, cls, variable, wrong, told):
    monkeypatch.setenv(variable, wrong)

    (problem,) = await cls().probe()

    assert told in problem
    assert not isinstance(problem, Note)


async def test_probe_tells_that_the_user_may_not_create_issues(servers):
    servers["jira"].may_create = False

    assert "may not create issues" in (await JIRA().probe())[0]


async def test_probe_notes_labels_and_required_fields_that_are_not_a_problem(servers):
    servers["jira"].has_labels = False
    servers["jira"].required = ["customfield_10"]

    notes = await JIRA().probe()

    assert all(isinstance(note, Note) for note in notes)
    assert "needs Customfield_10" in notes[0]
    assert "no Labels" in notes[1]


@pytest.mark.parametrize(
    ("attribute", "item", "told"),
    [
        ("is_member", False, "Invite it there: /invite @app"),
        ("is_archived", True, "archived"),
        ("scopes", {"channels:read", "channels:history"}, "has not the right chat:write"),
    ],
)
async def test_probe_says_what_to_do_when_slack_would_refuse_a_message(servers, attribute, item, told):
    setattr(servers["slack"], attribute, item)

    (problem,) = await SLACK().probe()

    assert told in problem
    assert not isinstance(problem, Note)


@pytest.mark.parametrize("scopes", [{"chat:write"}, {"chat:write", "channels:read"}])
async def test_probe_notes_rights_without_which_slack_works_less_well(servers, scopes):
    servers["slack"].scopes = scopes

    (note,) = await SLACK().probe()

    assert isinstance(note, Note)


@pytest.mark.parametrize("status", [500, 200])
async def test_probe_is_a_sentence_when_something_else_answers(servers, status):
    for server in servers.values():
        server.fail(status, "<html>a proxy</html>", times=3)

    told = [await cls().probe() for cls in (JIRA, TRELLO, SLACK)]

    assert all(len(one) == 1 for one in told)


async def test_probe_of_mail_looks_at_the_server_and_sends_nothing(smtp_server, monkeypatch):
    right = await integrations.EmailAlertTask().probe()
    monkeypatch.setenv("ALERT_SMTP_URL", "smtp://127.0.0.1:9")
    wrong = await integrations.EmailAlertTask().probe()

    assert list(right) == []
    assert "ALERT_SMTP_URL" in wrong[0]
    assert smtp_server.mails == []
