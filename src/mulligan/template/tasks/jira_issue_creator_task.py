"""Jira: an issue for every message, created once. It needs these environment variables:

export JIRA_SERVER_URL=<server url>       e.g. https://shop.atlassian.net
export JIRA_USERNAME=<user name>          the e-mail address of the user; on Data Center only with a password
export JIRA_PASSWORD=<API token>
export JIRA_PROJECT_KEY=<project key>     e.g. OPS
export JIRA_ISSUE_TYPE=<issue type>       e.g. Task

`mulligan check` looks whether Jira takes them. More: docs/integrations/jira.md.
"""

from mulligan import integrations


class JiraIssueCreatorTask(integrations.JiraIssueCreatorTask):
    # What is in an issue is said by these; each gets the message:
    #
    # def summary(self, message):
    #     return f"Order {message.text}"
    #
    # def fields(self, message):
    #     return {"priority": {"name": "High"}}
    pass
