"""Where the alerts of task4 go. The environment wins over what stands here."""

import os

# The channel: its name, e.g. "#alerts", or its id.
SLACK_CHANNEL = os.environ.get("SLACK_CHANNEL") or "#alerts"

# The token of a Slack app that may write to the channel (xoxb-...). Better kept in the environment than here.
SLACK_API_TOKEN = os.environ.get("SLACK_API_TOKEN") or ""
