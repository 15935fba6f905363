"""What Jira alone does: a search that lags, screens without labels, two API versions."""

import pytest

from mulligan import integrations
from tests.fakes.jira import PROJECT, TOKEN


@pytest.fixture
def life(jira_server, make_life):
    return make_life(integrations.JiraIssueCreatorTask)


async def test_issue_is_not_created_again_while_the_search_does_not_show_it(jira_server, life):
    jira_server.lag_s = 100
    jira_server.commit_then_drop("POST /rest/api/3/issue")

    await life.go_on()

    assert (life.ended, len(jira_server.issues)) == ("done", 1)
    assert [round(wait) for wait in life.waits_s] == [5, 10, 30, 75]


async def test_issue_is_created_again_after_the_last_look_when_the_reply_was_cut_before_the_commit(jira_server, life):
    jira_server.lag_s = 100
    jira_server.drop("POST /rest/api/3/issue")

    await life.go_on()

    assert (life.ended, len(jira_server.issues)) == ("done", 1)
    assert sum(life.waits_s) == pytest.approx(120, abs=0.1)


async def test_issue_is_not_created_again_when_the_worker_died_and_the_search_lags(jira_server, life):
    jira_server.lag_s = 60
    await life.die()

    await life.go_on()

    assert (life.ended, len(jira_server.issues)) == ("done", 1)


async def test_schedule_of_looks_goes_on_when_the_search_is_limited_or_down_in_between(jira_server, life):
    jira_server.lag_s = 100
    jira_server.commit_then_drop("POST /rest/api/3/issue")
    await life.start()
    jira_server.fail(429, on="search", retry_after="3")
    jira_server.fail(503, on="search")
    jira_server.drop("search")

    await life.go_on()

    assert (life.ended, len(jira_server.issues)) == ("done", 1)


async def test_looks_begin_anew_when_a_worker_dies_after_it_created_again(jira_server, life):
    jira_server.drop("POST /rest/api/3/issue")
    while not jira_server.issues:
        await life.start()
    jira_server.lag_s = 100
    life.ended, life.may_repeat, life.attempt = None, True, life.attempt - 1

    await life.go_on()

    assert (life.ended, len(jira_server.issues)) == ("done", 1)


async def test_key_goes_into_the_description_when_the_screen_has_no_labels(jira_server, life, make_life):
    jira_server.has_labels = False

    await life.go_on()
    again = make_life(integrations.JiraIssueCreatorTask)
    again.may_repeat = True
    await again.go_on()

    assert (life.ended, again.ended, len(jira_server.issues)) == ("done", "done", 1)
    assert "labels" not in jira_server.issues[0]["fields"]


async def test_issue_of_data_center_is_made_with_a_bearer_token_and_plain_text(jira_server, make_life, monkeypatch):
    monkeypatch.setenv("JIRA_API_VERSION", "2")
    monkeypatch.delenv("JIRA_USERNAME")
    life = make_life(integrations.JiraIssueCreatorTask, b'{"summary": "a {noformat} b", "n": 1}')
    jira_server.commit_then_drop("POST /rest/api/2/issue")

    await life.go_on()

    (issue,) = jira_server.issues
    assert life.ended == "done"
    assert issue["fields"]["summary"] == "a {noformat} b"
    assert issue["fields"]["description"].startswith("{code:json}\n")
    assert jira_server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert jira_server.calls("POST /rest/api/2/search")


async def test_json_message_is_shown_as_code_with_its_title_as_summary(jira_server, make_life):
    life = make_life(integrations.JiraIssueCreatorTask, b'{"id": 7, "title": "Disk\\nfull", "host": "db1"}')

    await life.go_on()

    fields = jira_server.issues[0]["fields"]
    assert fields["summary"] == "Disk full"
    assert fields["description"]["content"][0]["type"] == "codeBlock"
    assert '"host": "db1"' in fields["description"]["content"][0]["content"][0]["text"]
    assert fields["labels"][0] == "mulligan"


async def test_subclass_says_what_is_in_an_issue(jira_server, make_life):
    class Own(integrations.JiraIssueCreatorTask):
        labels = ("shop",)

        def summary(self, message):
            return f"Order {message.text}"

        def description(self, message):
            return "first\n\nsecond"

        def fields(self, message):
            return {"priority": {"name": "High"}}

    await make_life(Own, b"12").go_on()

    fields = jira_server.issues[0]["fields"]
    assert (fields["summary"], fields["priority"], fields["labels"][0]) == ("Order 12", {"name": "High"}, "shop")
    assert [one["content"] for one in fields["description"]["content"]] == [
        [{"type": "text", "text": "first"}],
        [],
        [{"type": "text", "text": "second"}],
    ]


async def test_reason_says_that_tokens_expire_when_jira_answers_401(jira_server, make_life, monkeypatch):
    monkeypatch.setenv("JIRA_PASSWORD", "old")
    life = make_life(integrations.JiraIssueCreatorTask)

    await life.go_on()

    assert (life.ended, life.attempt) == ("exhausted", 1)
    assert "401" in life.error
    assert "tokens expire within a year" in life.error
    assert "old" not in life.error


async def test_reason_names_the_field_when_jira_refuses_one(jira_server, make_life):
    jira_server.required = ["customfield_10"]
    life = make_life(integrations.JiraIssueCreatorTask)

    await life.go_on()

    assert life.error == "Jira: 400 to the new issue: customfield_10: customfield_10 is required."


def test_quotes_in_the_project_key_stay_inside_the_search(monkeypatch):
    from mulligan.integrations.jira import _quoted

    assert _quoted('a" OR key = "B\\') == '"a\\" OR key = \\"B\\\\"'
    assert PROJECT == "OPS"
