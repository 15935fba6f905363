"""Trello: a card for every message. It needs these environment variables:

export TRELLO_KEY=<key>
export TRELLO_AUTH_TOKEN=<token>
export TRELLO_BOARD_ID=<board>
export TRELLO_LIST_NAME=<list name>

It can't create Trello cards yet, and says so for every message.
"""

import os

from mulligan import GiveUp, Task

NEEDED = (
    "TRELLO_KEY",
    "TRELLO_AUTH_TOKEN",
    "TRELLO_BOARD_ID",
    "TRELLO_LIST_NAME",
)


class TrelloCardCreatorTask(Task):
    def check(self) -> list[str]:
        return [
            f"the environment variable {name} is not set: export {name}=..."
            for name in NEEDED
            if not os.environ.get(name)
        ]

    async def run(self, data: str) -> None:  # noqa: ARG002 - nothing is made of it yet
        raise GiveUp("this sample can't create Trello cards yet: take it out of tasks.xml")
