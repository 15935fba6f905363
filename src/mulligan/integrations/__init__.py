"""Ready tasks for Jira, Trello and Slack, and alerts by Slack, e-mail, webhook and log.

They need the extra `integrations`.

A task is used by a subclass in the application's folder `tasks` (see docs/integrations). Each follows one rule to
create what it creates exactly once (`once`), over one HTTP client a process (`http`), whose failures have four names
(`fault`). Alerts make a text of what failed (`alert`), and many of one kind one message (`fold`).

Importing this package imports no third-party client: the application starts without the extra as long as these tasks
are switched off.
"""

from mulligan.integrations.email_alert import EmailAlertTask
from mulligan.integrations.jira import JiraIssueCreatorTask
from mulligan.integrations.log_alert import LogAlertTask
from mulligan.integrations.slack import SlackMessageSenderTask
from mulligan.integrations.slack_alert import SlackAlertTask
from mulligan.integrations.trello import TrelloCardCreatorTask
from mulligan.integrations.webhook_alert import WebhookAlertTask

__all__ = [
    "EmailAlertTask",
    "JiraIssueCreatorTask",
    "LogAlertTask",
    "SlackAlertTask",
    "SlackMessageSenderTask",
    "TrelloCardCreatorTask",
    "WebhookAlertTask",
]
