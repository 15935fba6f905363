"""Jira: an issue for every message. It needs these environment variables:

export JIRA_SERVER_URL=<server url>
export JIRA_USERNAME=<user name>
export JIRA_PASSWORD=<password or API token>
export JIRA_PROJECT_KEY=<project key>
export JIRA_ISSUE_TYPE=<issue type>

It can't create Jira issues yet, and says so for every message.
"""

import os

from mulligan import GiveUp, Task

NEEDED = (
    "JIRA_SERVER_URL",
    "JIRA_USERNAME",
    "JIRA_PASSWORD",
    "JIRA_PROJECT_KEY",
    "JIRA_ISSUE_TYPE",
)


class JiraIssueCreatorTask(Task):
    def check(self) -> list[str]:
        return [
            f"the environment variable {name} is not set: export {name}=..."
            for name in NEEDED
            if not os.environ.get(name)
        ]

    async def run(self, data: str) -> None:  # noqa: ARG002 - nothing is made of it yet
        raise GiveUp("this sample can't create Jira issues yet: take it out of tasks.xml")
