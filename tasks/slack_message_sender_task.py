"""Slack: a message in a channel for every message. It needs these environment variables:

export SLACK_API_TOKEN=<token>
export SLACK_CHANNEL=<channel name>

It can't send Slack messages yet, and says so for every message.
"""

import os

from mulligan import GiveUp, Task

NEEDED = (
    "SLACK_API_TOKEN",
    "SLACK_CHANNEL",
)


class SlackMessageSenderTask(Task):
    def check(self) -> list[str]:
        return [
            f"the environment variable {name} is not set: export {name}=..."
            for name in NEEDED
            if not os.environ.get(name)
        ]

    async def run(self, data: str) -> None:  # noqa: ARG002 - nothing is made of it yet
        raise GiveUp("this sample can't send Slack messages yet: take it out of tasks.xml")
