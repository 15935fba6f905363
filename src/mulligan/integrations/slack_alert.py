"""A default task that posts to a Slack channel about messages that could not be finished.

In a storm there is one message per kind of error and minute, which is updated with the count (see `fold`).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mulligan.clock import SystemClock
from mulligan.core.message import Message
from mulligan.integrations.alert import Alert, alert_of, lines_of, log, title_of
from mulligan.integrations.alert_group import AlertGroup, Post, post_grouped
from mulligan.integrations.environment import missing, missing_extra, token_problems, url_problems, variable
from mulligan.integrations.failure import Refused
from mulligan.integrations.once import ATTEMPTS, BACKOFF, TIMEOUT_S
from mulligan.integrations.slack_client import DEFAULT_URL, Posted, SlackChannel, escaped
from mulligan.tasks.base import Note, Task
from mulligan.tasks.context import TaskContext

__all__ = ["SlackAlertTask"]

INTERVAL_S = 5.0
BLOCK_MAX = 2900  # Slack takes 3,000 characters in one block
SEARCHED_S = 3 * 3600.0
"""How far back the channel is searched for an alert that may have been posted: a turn that failed is soon repeated."""


class SlackAlertTask(Task):
    """Posts an alert to a Slack channel; writes it to the log when there is no token.

    token, channel: where to; the environment's SLACK_API_TOKEN and SLACK_CHANNEL when None.
    shows_body: with the beginning of the body. fold_file: where alerts of one kind meet.
    """

    max_attempts = ATTEMPTS
    backoff = BACKOFF
    timeout_s = TIMEOUT_S
    token: str | None = None
    channel: str | None = None
    shows_body = False
    fold_file = "var/alerts.db"
    now: Callable[[], float] = staticmethod(SystemClock.now)

    def __init__(self) -> None:
        self._token = variable("SLACK_API_TOKEN") if self.token is None else self.token
        self._name = variable("SLACK_CHANNEL") if self.channel is None else self.channel
        self._url = variable("SLACK_SERVER_URL", DEFAULT_URL)
        self._slack = SlackChannel(self._url, self._token, self._name, self.now)
        self._fold = AlertGroup(Path(self.fold_file).absolute(), type(self).__name__, INTERVAL_S)

    def text(self, alert: Alert, turn: Post) -> str:
        """The alert's text, in Slack's mark-up."""
        title, *lines = [title_of(alert, turn.count), *lines_of(alert, turn.uids, turn.count)]
        shown = [f"`{escaped(line[6:])}`" if line.startswith("look: ") else escaped(line) for line in lines]
        return "\n".join([f":rotating_light: *{escaped(title)}*", *shown])[:BLOCK_MAX]

    def check(self) -> Sequence[str]:
        """What is missing, if there is a token; see `Task.check`."""
        if not self._token:
            return []
        return [
            *missing_extra(),
            *missing(SLACK_CHANNEL=self._name),
            *token_problems(SLACK_API_TOKEN=self._token),
            *url_problems("SLACK_SERVER_URL", self._url),
        ]

    async def probe(self) -> Sequence[str]:
        """Token, rights, channel; see `Task.probe`."""
        if not self._token:
            return [
                Note("there is no Slack token, so alerts are written to the log only (export SLACK_API_TOKEN=...).")
            ]
        return await self._slack.probe()

    async def run(self, message: Message, context: TaskContext) -> None:
        """Post a message that could not be finished."""
        alert = alert_of(message, context, self.now(), shows_body=self.shows_body)
        log(alert, context, channel=self._name)
        if self._token:
            await post_grouped(
                self._fold,
                context,
                alert.group,
                lambda turn: self._say(alert, turn),
                service="Slack",
                now=self.now,
            )

    async def _say(self, alert: Alert, turn: Post) -> str:
        text = self.text(alert, turn)
        blocks: list[Mapping[str, Any]] = [{"type": "section", "text": {"type": "mrkdwn", "text": text}}]
        posted = _posted(turn.place)
        if posted is None and turn.is_unsure:
            posted, _ = await self._slack.find(turn.key, self.now() - SEARCHED_S)
        if posted is not None:
            try:
                await self._slack.update(posted, text, blocks)
            except Refused as exc:  # somebody removed it, or it can't be changed any more: say it anew
                if "message_not_found" not in exc.reason and "cant_update_message" not in exc.reason:
                    raise
            else:
                return posted.text
        return (await self._slack.post(turn.key, text, blocks)).text


def _posted(place: str | None) -> Posted | None:
    if place is None:
        return None
    channel, _, ts = place.partition("/")
    return Posted(channel, ts)
