"""A stand-in for Slack: 200 for nearly everything, `ok` decides."""

from typing import Any

from tests.fakes.service import Answer, Request, Service

TOKEN, CHANNEL, CHANNEL_ID = "xoxb-token", "alerts", "C0123456789"


class Slack(Service):
    """messages: all that were posted, in order. limit: messages that are taken in 1 s; None for no limit."""

    root = "/api"

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[dict[str, Any]] = []
        self.scopes = {"chat:write", "channels:history", "channels:read"}
        self.is_member = True
        self.is_archived = False
        self.limit: int | None = None
        self.page = 100
        self._taken: list[float] = []
        self._tick = 0

    def keys(self) -> list[str]:
        return [one["metadata"]["event_payload"]["key"] for one in self.messages]

    def handle(self, request: Request) -> Answer:
        method = request.path.removeprefix("/api/")
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _error("invalid_auth")
        body = request.data if request.method == "POST" else request.query
        match method:
            case "auth.test":
                return Answer(200, {"ok": True, "team": "T"}, {"x-oauth-scopes": ",".join(sorted(self.scopes))})
            case "chat.postMessage":
                return self._post(body)
            case "chat.update":
                return self._update(body)
        return self._conversations(method, body)

    def _conversations(self, method: str, body: Any) -> Answer:
        match method:
            case "conversations.list":
                if "channels:read" not in self.scopes:
                    return _error("missing_scope", needed="channels:read")
                rows = [{"id": "C0000000001", "name": "general"}, {"id": CHANNEL_ID, "name": CHANNEL}]
                return self._paged(rows, "channels", body.get("cursor", ""))
            case "conversations.info":
                if body["channel"] != CHANNEL_ID:
                    return _error("channel_not_found")
                found = {"id": CHANNEL_ID, "is_member": self.is_member, "is_archived": self.is_archived}
                return Answer(200, {"ok": True, "channel": found})
            case "conversations.history":
                if "channels:history" not in self.scopes:
                    return _error("missing_scope", needed="channels:history")
                if body["channel"] != CHANNEL_ID:
                    return _error("channel_not_found")
                oldest, is_asked = float(body.get("oldest", 0)), body.get("include_all_metadata") == "true"
                rows = [one for one in reversed(self.messages) if float(one["ts"]) > oldest]
                if not is_asked:
                    rows = [{name: item for name, item in one.items() if name != "metadata"} for one in rows]
                return self._paged(rows, "messages", body.get("cursor", ""))
        return _error("unknown_method")

    def _post(self, body: Any) -> Answer:
        if "chat:write" not in self.scopes:
            return _error("missing_scope", needed="chat:write")
        if body["channel"].removeprefix("#") not in (CHANNEL, CHANNEL_ID):
            return _error("channel_not_found")
        if self.is_archived:
            return _error("is_archived")
        if not self.is_member:
            return _error("not_in_channel")
        if not body.get("text") or len(body["text"]) > 4000:
            return _error("msg_too_long" if body.get("text") else "no_text")
        now = self.now()
        if self.limit is not None:
            self._taken = [at for at in self._taken if at > now - 1]
            if len(self._taken) >= self.limit:
                return Answer(429, {"ok": False, "error": "ratelimited"}, {"retry-after": "1"})
            self._taken.append(now)
        self._tick += 1
        self.messages.append({**body, "channel": CHANNEL_ID, "ts": f"{now + self._tick * 1e-6:.6f}"})
        return Answer(200, {"ok": True, "channel": CHANNEL_ID, "ts": self.messages[-1]["ts"]})

    def _update(self, body: Any) -> Answer:
        for one in self.messages:
            if one["ts"] == body["ts"] and body["channel"] == CHANNEL_ID:
                one |= {"text": body["text"], "blocks": body.get("blocks", []), "edits": one.get("edits", 0) + 1}
                return Answer(200, {"ok": True, "channel": CHANNEL_ID, "ts": one["ts"]})
        return _error("message_not_found")

    def _paged(self, rows: list[Any], name: str, cursor: str) -> Answer:
        start = int(cursor or 0)
        more = str(start + self.page) if start + self.page < len(rows) else ""
        shown = rows[start : start + self.page]
        return Answer(200, {"ok": True, name: shown, "response_metadata": {"next_cursor": more}})


def _error(name: str, **more: str) -> Answer:
    return Answer(200, {"ok": False, "error": name, **more})
