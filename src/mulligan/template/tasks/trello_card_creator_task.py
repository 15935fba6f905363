"""Trello: a card for every message, created once. It needs these environment variables:

export TRELLO_KEY=<key>
export TRELLO_AUTH_TOKEN=<token>
export TRELLO_BOARD_ID=<board>
export TRELLO_LIST_NAME=<list name>

`mulligan check` looks whether Trello takes them. More: docs/integrations/trello.md.
"""

from mulligan import integrations


class TrelloCardCreatorTask(integrations.TrelloCardCreatorTask):
    # What is on a card is said by these; each gets the message:
    #
    # def title(self, message):
    #     return f"Order {message.text}"
    #
    # def description(self, message):
    #     return "To do: look at it"
    pass
