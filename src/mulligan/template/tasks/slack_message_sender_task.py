"""Slack: a message in a channel for every message, sent once. It needs these environment variables:

export SLACK_API_TOKEN=<token>       of an app that may chat:write and channels:history (xoxb-...)
export SLACK_CHANNEL=<channel name>  or its id; the app must be a member: /invite @app

`mulligan check` looks whether Slack takes them. More: docs/integrations/slack.md.
"""

from mulligan import integrations


class SlackMessageSenderTask(integrations.SlackMessageSenderTask):
    # What is in a Slack message is said by this; it gets the message:
    #
    # def text(self, message):
    #     return f"A new order: {message.text}"
    pass
