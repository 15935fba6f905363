"""Jira: an issue for every message. Cloud (REST v3) and Data Center (REST v2).

The issue carries its key as a label; where the project's screens have no labels, in its description.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

from mulligan.clock import SystemClock
from mulligan.core.message import Message
from mulligan.core.value import value
from mulligan.integrations import http
from mulligan.integrations.content import json_of, text_of, title_of
from mulligan.integrations.environment import missing, missing_extra, token_problems, url_problems, variable
from mulligan.integrations.failure import Fault, Refused
from mulligan.integrations.once import ATTEMPTS, BACKOFF, TIMEOUT_S, RateLimitGate, once
from mulligan.tasks.base import Task
from mulligan.tasks.context import TaskContext

__all__ = ["JiraIssueCreatorTask"]

SUMMARY_MAX = 255  # Jira refuses a longer one
DESCRIPTION_MAX = 30_000  # 32,767 with the document's own characters

_OURS = frozenset({"project", "issuetype", "summary", "description", "labels"})


@value
class _Account:
    """Where, and as whom. api: 3 is Cloud, 2 is Data Center."""

    url: str
    user: str
    token: str
    project: str
    issue_type: str
    api: Literal["2", "3"]


class JiraIssueCreatorTask(Task):
    """Creates an issue for each message, once. Override `summary`, `description`, `fields` to say what is in it.

    labels: of every issue, besides its key.
    looks_at_s: seconds after an ambiguous create at which to look for the issue, before creating it again.
    """

    max_attempts = ATTEMPTS
    backoff = BACKOFF
    timeout_s = TIMEOUT_S
    labels: Sequence[str] = ("mulligan",)
    looks_at_s: tuple[float, ...] = (5.0, 15.0, 45.0, 120.0)  # Jira's search index lags by seconds to minutes
    now: Callable[[], float] = staticmethod(SystemClock.now)

    def __init__(self) -> None:
        url = variable("JIRA_SERVER_URL").rstrip("/")
        api: Any = variable("JIRA_API_VERSION", "3" if _is_cloud(url) else "2")
        self._account = _Account(
            url,
            variable("JIRA_USERNAME"),
            variable("JIRA_PASSWORD"),
            variable("JIRA_PROJECT_KEY"),
            variable("JIRA_ISSUE_TYPE"),
            api,
        )
        self._gate = RateLimitGate()
        self._has_labels = True

    def summary(self, message: Message) -> str:
        """The issue's summary; made one line, and cut at 255 characters."""
        return title_of(message, SUMMARY_MAX)

    def description(self, message: Message) -> str:
        """The issue's description, plain text. A body that is JSON is shown as code."""
        return text_of(message, DESCRIPTION_MAX)

    def fields(self, message: Message) -> Mapping[str, Any]:  # noqa: ARG002 - the signature is what a subclass overrides
        """Further fields of the issue, as Jira's REST API takes them, e.g. {"priority": {"name": "High"}}."""
        return {}

    def check(self) -> Sequence[str]:
        """Missing variables; see `Task.check`."""
        account = self._account
        needed = {
            "JIRA_SERVER_URL": account.url,
            "JIRA_USERNAME": account.user,
            "JIRA_PASSWORD": account.token,
            "JIRA_PROJECT_KEY": account.project,
            "JIRA_ISSUE_TYPE": account.issue_type,
        }
        if account.api == "2" and account.url:  # Data Center takes a token alone
            del needed["JIRA_USERNAME"]
        problems = missing_extra() + missing(**needed)
        if not account.user:  # with a user the two are encoded, and may hold anything
            problems += token_problems(JIRA_PASSWORD=account.token)
        if account.url:
            problems += url_problems("JIRA_SERVER_URL", account.url)
        if account.api not in ("2", "3"):
            problems.append(f"JIRA_API_VERSION is {account.api!r}, expected 3 (Cloud) or 2 (Data Center).")
        return problems

    async def probe(self) -> Sequence[str]:
        """Token, project, right to create, issue type, its fields; see `Task.probe`."""
        from mulligan.integrations.jira_probe import probe

        account = self._account
        return await probe(self._get, account.project, account.issue_type, account.url, _OURS)

    async def run(self, message: Message, context: TaskContext) -> None:
        """Create the issue of a message unless it is there."""
        where = await once(_Issue(self, message, context), context, self._gate, self.now())
        context.log.info("Jira issue", issue=where)

    # -- calls

    async def _get(self, path: str, params: Mapping[str, str | int] | None = None) -> http.Reply:
        return await self._call("GET", path, params=params)

    async def _call(
        self, method: str, path: str, *, params: Mapping[str, str | int] | None = None, data: Any = None
    ) -> http.Reply:
        account = self._account
        headers = {"authorization": _authorization(account), "accept": "application/json"}
        return await http.call(
            method, f"{account.url}/rest/api/{account.api}/{path}", headers=headers, params=params, data=data
        )

    async def _find(self, key: str) -> str | None:
        account = self._account
        place = f"labels = {_quoted(key)}" if self._has_labels else f"description ~ {_quoted(_quoted(key))}"
        query = {"jql": f"project = {_quoted(account.project)} AND {place}", "fields": ["key"], "maxResults": 2}
        reply = await self._call("POST", "search/jql" if account.api == "3" else "search", data=query)
        data = reply.data
        issues = data.get("issues") if reply.status == 200 and isinstance(data, dict) else None
        if not isinstance(issues, list):
            raise self._fault(reply, "to the search for an earlier issue")
        return next((str(one["key"]) for one in issues if isinstance(one, dict) and one.get("key")), None)

    async def _create(self, key: str, message: Message, *, may_exist: bool) -> str:
        if not self._has_labels:
            return await self._post(key, message)
        try:
            return await self._post(key, message)
        except _NoLabels:
            self._has_labels = False
        # an earlier attempt may have found this out as well, and put the key where the first look did not search
        if may_exist and (where := await self._find(key)) is not None:
            return where
        return await self._post(key, message)

    async def _post(self, key: str, message: Message) -> str:
        reply = await self._call("POST", "issue", data={"fields": self._fields(key, message)})
        data = reply.data
        if reply.status == 201 and isinstance(data, dict) and data.get("key"):
            return str(data["key"])
        if reply.status == 400 and self._has_labels and "labels" in _field_errors(data):
            raise _NoLabels(self._reason(reply))
        raise self._fault(reply, "to the new issue")

    def _fields(self, key: str, message: Message) -> dict[str, Any]:
        account = self._account
        text = self.description(message)
        is_code = json_of(message) is not None
        footer = "" if self._has_labels else key
        fields = {
            "project": {"key": account.project},
            "issuetype": {"name": account.issue_type},
            "summary": _summary(self.summary(message)) or f"Message {message.uid}",
            "description": document(text, footer, is_code=is_code)
            if account.api == "3"
            else wiki(text, footer, is_code=is_code),
            **self.fields(message),
        }
        if self._has_labels:
            fields["labels"] = [*self.labels, key]
        return fields

    def _fault(self, reply: http.Reply, what: str) -> Fault:
        return http.fault_of(reply, f"{what}: {self._reason(reply)}", self.now())

    def _reason(self, reply: http.Reply) -> str:
        data = reply.data
        texts = [*_messages(data), *(f"{name}: {text}" for name, text in _field_errors(data).items())]
        reason = "; ".join(texts) or reply.headers.get("ratelimit-reason") or reply.text or "(no text)"
        if reply.status == 401:
            reason += " (the user or the token is not taken; tokens expire within a year: make a new JIRA_PASSWORD)"
        if 300 <= reply.status < 400:
            reason = f"redirects to {reply.headers.get('location', '?')[:200]}: correct JIRA_SERVER_URL"
        return reason


class _NoLabels(Refused):
    """The issue type's screen has no field for labels."""


@value
class _Issue:
    """The issue of one message, as `once` handles it."""

    task: JiraIssueCreatorTask
    message: Message
    context: TaskContext

    @property
    def name(self) -> str:
        return "Jira"

    @property
    def looks_at_s(self) -> tuple[float, ...]:
        return self.task.looks_at_s

    async def find(self, key: str) -> str | None:
        return await self.task._find(key)  # noqa: SLF001 - the other half of the task

    async def create(self, key: str) -> str:
        context = self.context
        may_exist = context.attempt > 1 or context.may_repeat or context.generation > 0
        return await self.task._create(key, self.message, may_exist=may_exist)  # noqa: SLF001 - as above


def document(text: str, footer: str, *, is_code: bool) -> dict[str, Any]:
    """Plain text as an Atlassian document. It must hold no empty text node."""
    if is_code:
        content = [{"type": "codeBlock", "attrs": {"language": "json"}, "content": [{"type": "text", "text": text}]}]
    else:
        content = [_paragraph(line) for line in text.splitlines()]
    if footer:
        content.append(_paragraph(footer))
    return {"type": "doc", "version": 1, "content": content or [_paragraph("")]}


def wiki(text: str, footer: str, *, is_code: bool) -> str:
    """Text as Data Center takes it; {noformat} keeps its wiki marks from meaning anything."""
    mark = "{code:json}" if is_code else "{noformat}"
    inside = text.replace("{noformat}", "(noformat)").replace("{code", "(code")
    end = "{code}" if is_code else "{noformat}"
    return f"{mark}\n{inside}\n{end}" + (f"\n{footer}" if footer else "")


def _paragraph(line: str) -> dict[str, Any]:
    return {"type": "paragraph", "content": [{"type": "text", "text": line}] if line else []}


def _summary(text: str) -> str:
    return " ".join(text.split())[:SUMMARY_MAX]


def _is_cloud(url: str) -> bool:
    host = urlsplit(url).hostname or "" if "[" not in url else ""
    return host.endswith(".atlassian.net") or host == "api.atlassian.com"


def _authorization(account: _Account) -> str:
    if account.api == "2" and not account.user:
        return f"Bearer {account.token}"
    pair = f"{account.user}:{account.token}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _messages(data: Any) -> list[str]:
    texts = data.get("errorMessages") if isinstance(data, dict) else None
    return [str(one)[:300] for one in texts[:5]] if isinstance(texts, list) else []


def _field_errors(data: Any) -> dict[str, str]:
    texts = data.get("errors") if isinstance(data, dict) else None
    return {str(name): str(text)[:300] for name, text in list(texts.items())[:10]} if isinstance(texts, dict) else {}
