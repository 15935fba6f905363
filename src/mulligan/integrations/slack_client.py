"""One Slack channel: post, update, find by key, probe. Its errors as faults.

Slack answers 200 to nearly everything; `ok` and `error` in the body decide.
"""

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mulligan.core.value import value
from mulligan.integrations import http
from mulligan.integrations.failure import Ambiguous, Fault, RateLimited, Refused
from mulligan.tasks.base import Note

__all__ = ["TEXT_MAX", "Posted", "SlackChannel", "escaped"]

TEXT_MAX = 4000
DEFAULT_URL = "https://slack.com/api"

_ID = re.compile(r"[CGD][A-Z0-9]{7,}")
_PAGES_MAX = 100
_KEYS = uuid.UUID("5b0d6f2c-9a53-4c39-9a3d-3f6a5a1f0c11")  # of no meaning: the name space of client_msg_id
_LIMITED_S = 1.0  # one message a second a channel

_RETRY = frozenset({"ratelimited", "rate_limited", "service_unavailable", "request_timeout"})
_AMBIGUOUS = frozenset({"fatal_error", "internal_error"})
_ADVICE = {
    "channel_not_found": "there is no such channel, or the app can't see it. SLACK_CHANNEL is its name or its id; "
    "invite the app to it: /invite @app",
    "not_in_channel": "the app is not a member of the channel. Invite it there: /invite @app",
    "is_archived": "the channel is archived. Choose another SLACK_CHANNEL",
    "invalid_auth": "SLACK_API_TOKEN is not taken. Copy the bot token (xoxb-...) from the app's page again",
    "not_authed": "SLACK_API_TOKEN is empty",
    "token_revoked": "SLACK_API_TOKEN was revoked. Install the app again, and copy its new token",
    "token_expired": "SLACK_API_TOKEN has expired. Copy a new one from the app's page",
    "account_inactive": "the app was removed, or its user deactivated. Install it again",
    "missing_scope": "the app lacks a right. Add it under OAuth & Permissions, and install the app again",
    "msg_too_long": "the message is too long",
    "invalid_blocks": "Slack does not take the blocks of the message",
}


@value
class Posted:
    """A message that is there. channel: its id."""

    channel: str
    ts: str

    @property
    def text(self) -> str:
        """As it is kept and logged."""
        return f"{self.channel}/{self.ts}"


class _Unsearchable(Refused):
    """The history can't be read with this token."""


class SlackChannel:
    """A channel, by name or id. now: epoch seconds."""

    def __init__(self, url: str, token: str, channel: str, now: Callable[[], float]) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._channel = channel
        self._id = channel if _ID.fullmatch(channel) else None
        self._now = now

    async def post(self, key: str, text: str, blocks: Sequence[Mapping[str, Any]] = ()) -> Posted:
        """Post a message that carries the key. Raises Fault."""
        body = {
            "channel": self._id or self._channel,
            "text": text[:TEXT_MAX],
            "metadata": {"event_type": "mulligan", "event_payload": {"key": key}},
            "client_msg_id": str(uuid.uuid5(_KEYS, key)),
            "unfurl_links": False,
        }
        data = await self._ask("chat.postMessage", {**body, "blocks": list(blocks)} if blocks else body)
        if not data.get("ts") or not data.get("channel"):
            raise Ambiguous("chat.postMessage: its reply names no message")
        posted = Posted(str(data["channel"]), str(data["ts"]))
        self._id = posted.channel
        return posted

    async def update(self, posted: Posted, text: str, blocks: Sequence[Mapping[str, Any]] = ()) -> None:
        """Put another text in the place of a message's. Raises Fault."""
        body = {"channel": posted.channel, "ts": posted.ts, "text": text[:TEXT_MAX]}
        await self._ask("chat.update", {**body, "blocks": list(blocks)} if blocks else body)

    async def find(self, key: str, oldest: float) -> tuple[Posted | None, bool]:
        """The message with this key among those since `oldest` (epoch seconds), and whether that could be looked up.

        Without the right to read the history nobody can know. Raises Fault.
        """
        try:
            channel = await self._channel_id()
            return await self._in_history(channel, key, oldest), True
        except _Unsearchable:
            return None, False

    async def probe(self) -> Sequence[str]:
        """What is wrong with token, rights and channel, as sentences."""
        try:
            reply = await self._call("auth.test", {})
            self._checked("auth.test", reply)
            scopes = {one.strip() for one in reply.headers.get("x-oauth-scopes", "").split(",") if one.strip()}
            if scopes and "chat:write" not in scopes:
                return [_scope_problem("chat:write", "it can't post")]
            return await self._probe_channel(scopes)
        except Refused as exc:
            return [f"Slack: {exc.reason}."]
        except Fault as exc:
            return [f"Slack at {self._url}: {exc.reason}. Is the service reachable from here?"]

    async def _probe_channel(self, scopes: set[str]) -> list[str]:
        try:
            channel = await self._channel_id()
            info = await self._ask("conversations.info", None, {"channel": channel})
        except _Unsearchable as exc:
            return [Note(f"Slack: {exc.reason}, so the channel {self._channel!r} was not looked at.")]
        found = info.get("channel")
        known: Mapping[str, Any] = found if isinstance(found, dict) else {}
        if known.get("is_archived"):
            return [f"Slack: the channel {self._channel!r}: {_ADVICE['is_archived']}."]
        if known.get("is_member") is False:
            return [f"Slack: the channel {self._channel!r}: {_ADVICE['not_in_channel']}."]
        if scopes and not scopes & {"channels:history", "groups:history"}:
            lack = "after a crash or a lost reply it can't look whether a message is there, and may repeat it"
            return [Note(_scope_problem("channels:history", lack))]
        return []

    # -- calls

    async def _channel_id(self) -> str:
        if self._id is None:
            self._id = await self._look_up(self._channel.removeprefix("#"))
        return self._id

    async def _look_up(self, name: str) -> str:
        async for page in self._pages("conversations.list", {"types": "public_channel,private_channel", "limit": 1000}):
            for one in _rows(page, "channels"):
                if one.get("name") == name and one.get("id"):
                    return str(one["id"])
        raise Refused(f"channel_not_found: {_ADVICE['channel_not_found']}")

    async def _in_history(self, channel: str, key: str, oldest: float) -> Posted | None:
        query: dict[str, str | int] = {
            "channel": channel,
            "oldest": f"{oldest:.6f}",
            "include_all_metadata": "true",
            "limit": 200,
        }
        async for page in self._pages("conversations.history", query):
            for one in _rows(page, "messages"):
                if _key_of(one) == key and one.get("ts"):
                    return Posted(channel, str(one["ts"]))
        return None

    async def _pages(self, method: str, query: Mapping[str, str | int]) -> Any:
        cursor = ""
        for _ in range(_PAGES_MAX):
            page = await self._ask(method, None, {**query, "cursor": cursor} if cursor else query)
            yield page
            more = page.get("response_metadata")
            cursor = str(more.get("next_cursor") or "") if isinstance(more, dict) else ""
            if not cursor:
                return
        raise _Unsearchable(f"{method} goes on after {_PAGES_MAX} pages")

    async def _ask(
        self, method: str, body: Mapping[str, Any] | None, query: Mapping[str, str | int] | None = None
    ) -> dict[str, Any]:
        return self._checked(method, await self._call(method, body, query))

    async def _call(
        self, method: str, body: Mapping[str, Any] | None, query: Mapping[str, str | int] | None = None
    ) -> http.Reply:
        headers = {"authorization": f"Bearer {self._token}"}
        url = f"{self._url}/{method}"
        if body is None:
            return await http.call("GET", url, headers=headers, params=query)
        return await http.call("POST", url, headers=headers, data=body)

    def _checked(self, method: str, reply: http.Reply) -> dict[str, Any]:
        data = reply.data
        if not isinstance(data, dict) or "ok" not in data:
            raise http.fault_of(reply, f"to {method}: {reply.text or '(no text)'}", self._now(), limited_s=_LIMITED_S)
        if data["ok"] is True:
            return data
        error = str(data.get("error", "unknown"))[:100]
        reason = f"{method}: {error}"
        asked_s = http.wait_asked(reply, self._now())
        if error in _RETRY or reply.status == 429:
            raise RateLimited(reason, _LIMITED_S if asked_s is None else asked_s)
        if error in _AMBIGUOUS or reply.status >= 500:
            raise Ambiguous(reason, asked_s)
        if method.startswith("conversations.") and error in (
            "missing_scope",
            "unknown_method",
            "not_allowed_token_type",
        ):
            raise _Unsearchable(f"{reason} (needs the right {data.get('needed', 'channels:history')})")
        needed = f" (it needs {data['needed']})" if error == "missing_scope" and data.get("needed") else ""
        raise Refused(f"{reason}{needed}: {_ADVICE[error]}" if error in _ADVICE else f"{reason}{needed}")


def escaped(text: str) -> str:
    """Text in which nothing calls @channel, mentions a person or makes a link: Slack's three characters escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _key_of(message: Mapping[str, Any]) -> Any:
    metadata = message.get("metadata")
    payload = metadata.get("event_payload") if isinstance(metadata, dict) else None
    return payload.get("key") if isinstance(payload, dict) else None


def _rows(page: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    rows = page.get(name)
    return [one for one in rows if isinstance(one, dict)] if isinstance(rows, list) else []


def _scope_problem(scope: str, lack: str) -> str:
    return (
        f"Slack: the app has not the right {scope}, so {lack}. Add it under OAuth & Permissions of the app, install "
        "the app again, and copy its new token."
    )
