"""All stand-ins at once, and the environment variables that lead to them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.fakes import jira, slack, trello
from tests.fakes.jira import Jira
from tests.fakes.slack import Slack
from tests.fakes.smtp import Smtp
from tests.fakes.trello import Trello
from tests.fakes.webhook import Webhook


class All(NamedTuple):
    jira: Jira
    trello: Trello
    slack: Slack
    webhook: Webhook
    smtp: Smtp

    @property
    def environment(self) -> dict[str, str]:
        return {
            "JIRA_SERVER_URL": self.jira.url, "JIRA_API_VERSION": "3", "JIRA_USERNAME": jira.USER,
            "JIRA_PASSWORD": jira.TOKEN, "JIRA_PROJECT_KEY": jira.PROJECT, "JIRA_ISSUE_TYPE": jira.TYPE,
            "TRELLO_SERVER_URL": self.trello.url, "TRELLO_KEY": trello.KEY, "TRELLO_AUTH_TOKEN": trello.TOKEN,
            "TRELLO_BOARD_ID": trello.BOARD, "TRELLO_LIST_NAME": trello.LIST,
            "SLACK_SERVER_URL": self.slack.url, "SLACK_API_TOKEN": slack.TOKEN, "SLACK_CHANNEL": slack.CHANNEL,
            "ALERT_SMTP_URL": self.smtp.url, "ALERT_EMAIL_FROM": "a@example.com", "ALERT_EMAIL_TO": "b@example.com",
            "ALERT_WEBHOOK_URL": self.webhook.url,
            "ALERT_WEBHOOK_SECRET": "whsec_c2l4dHktZm91ci1ieXRlcy1vZi1iYXNlNjQ=",
        }  # fmt: skip


@contextmanager
def running() -> Iterator[All]:
    with Jira() as one, Trello() as two, Slack() as three, Webhook() as four, Smtp() as five:
        yield All(one, two, three, four, five)
