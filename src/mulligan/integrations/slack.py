"""Slack: a message in a channel for every message. It carries its key in its metadata."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mulligan.clock import SystemClock
from mulligan.core.message import Message
from mulligan.core.value import value
from mulligan.integrations.content import cut, text_of
from mulligan.integrations.environment import missing, missing_extra, token_problems, url_problems, variable
from mulligan.integrations.once import ATTEMPTS, BACKOFF, TIMEOUT_S, RateLimitGate, once
from mulligan.integrations.slack_client import DEFAULT_URL, TEXT_MAX, SlackChannel, escaped
from mulligan.tasks.base import Task
from mulligan.tasks.context import TaskContext

__all__ = ["SlackMessageSenderTask"]

OLDEST_SLACK_S = 300.0
"""How far the clocks of Slack, the broker and this machine may be apart when the history is searched."""

REPEATED = "\n_(This may be a repetition: the app lacks channels:history, so nobody could look.)_"


class SlackMessageSenderTask(Task):
    """Sends a message to a channel for each message, once. Override `text`, `blocks` to say what is in it."""

    max_attempts = ATTEMPTS
    backoff = BACKOFF
    timeout_s = TIMEOUT_S
    now: Callable[[], float] = staticmethod(SystemClock.now)

    def __init__(self) -> None:
        self._token = variable("SLACK_API_TOKEN")
        self._name = variable("SLACK_CHANNEL")
        self._url = variable("SLACK_SERVER_URL", DEFAULT_URL)
        self._channel = SlackChannel(self._url, self._token, self._name, self.now)
        self._gate = RateLimitGate()

    def text(self, message: Message) -> str:
        """The message's text, in Slack's mark-up: what comes from outside must be `escaped`."""
        return escaped(text_of(message, TEXT_MAX))

    def blocks(self, message: Message) -> Sequence[Mapping[str, Any]]:  # noqa: ARG002 - a subclass overrides it
        """Blocks in the place of the text, as Slack's API takes them; () for none."""
        return ()

    def check(self) -> Sequence[str]:
        """Missing variables; see `Task.check`."""
        return [
            *missing_extra(),
            *missing(SLACK_API_TOKEN=self._token, SLACK_CHANNEL=self._name),
            *token_problems(SLACK_API_TOKEN=self._token),
            *url_problems("SLACK_SERVER_URL", self._url),
        ]

    async def probe(self) -> Sequence[str]:
        """Token, rights, channel; see `Task.probe`."""
        return await self._channel.probe()

    async def run(self, message: Message, context: TaskContext) -> None:
        """Send the message unless it is there."""
        post = _Post(self._channel, message, self.text(message), tuple(self.blocks(message)), [])
        where = await once(post, context, self._gate, self.now())
        context.log.info("Slack message", message=where)


@value
class _Post:
    """The Slack message of one message, as `once` handles it. blind: holds True once a look was not possible."""

    channel: SlackChannel
    message: Message
    text: str
    blocks: tuple[Mapping[str, Any], ...]
    blind: list[bool]

    @property
    def name(self) -> str:
        return "Slack"

    @property
    def looks_at_s(self) -> tuple[float, ...]:
        return ()

    async def find(self, key: str) -> str | None:
        posted, could_look = await self.channel.find(key, self.message.sent_at - OLDEST_SLACK_S)
        if not could_look:
            self.blind.append(True)
        return posted.text if posted is not None else None

    async def create(self, key: str) -> str:
        if not self.blind:
            return (await self.channel.post(key, self.text or "(empty)", self.blocks)).text
        blocks = [*self.blocks, {"type": "section", "text": {"type": "mrkdwn", "text": REPEATED.strip()}}]
        text = cut(self.text, TEXT_MAX - len(REPEATED)) + REPEATED
        return (await self.channel.post(key, text, blocks if self.blocks else ())).text
