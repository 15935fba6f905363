"""The default task: it is run when a task of a message could not be done, and posts to a Slack channel.

Channel and token are in task4_constants.py; the environment wins. Without a token it writes to the log only. In a
storm of failures there is one Slack message per kind of error and minute. More: docs/integrations/alerts.md.
"""

from mulligan import integrations
from tasks.task4_constants import SLACK_API_TOKEN, SLACK_CHANNEL


class Task4(integrations.SlackAlertTask):
    token = SLACK_API_TOKEN
    channel = SLACK_CHANNEL
    # shows_body = True  # show the beginning of the body, too
