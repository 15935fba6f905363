"""The ready tasks on stand-ins of their services, and a message's life of attempts without a worker.

`Life` does what the flow does with a task's end: it hands the attempts what the story of the message carries, and moves
the clock to when the next attempt is due. An attempt that dies leaves no end, and the next start says so.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from mulligan import integrations
from mulligan.core.message import Message, TaskName, Uid
from mulligan.core.policy import delay_s
from mulligan.integrations import http
from mulligan.tasks.base import Task
from mulligan.tasks.context import AttemptFacts, Failure, TaskContext
from mulligan.tasks.exceptions import GiveUp, Retry
from tests.fakes import jira, slack, trello
from tests.fakes.jira import Jira
from tests.fakes.slack import Slack
from tests.fakes.smtp import Smtp
from tests.fakes.trello import Trello
from tests.fakes.webhook import Webhook

NOW = 1_700_000_000.0
UID = Uid("018bcfe56800-00000000000000000000")


class Clock:
    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> float:
        return self.at


class Life:
    """One message and one task. ended: "done", "exhausted", or None. waits_s: before each further attempt."""

    def __init__(self, task: Task, clock: Clock, body: bytes = b"hello", uid: str = UID, **context: Any) -> None:
        self.task = task
        self.clock = clock
        self.moves_clock = True
        self.message = Message(Uid(uid), body, {}, NOW)
        self.context = context
        self.attempt = 1
        self.error: str | None = None
        self.may_repeat = False
        self.ended: str | None = None
        self.waits_s: list[float] = []

    async def start(self) -> None:
        """One attempt, and the wait for the next."""
        context = TaskContext(
            self.message,
            TaskName(type(self.task).__name__),
            AttemptFacts(self.attempt, self.task.max_attempts, self.error, self.may_repeat),
            first_seen_at=NOW,
            **self.context,
        )
        self.may_repeat = False
        try:
            await self.task.run(self.message, context)
            self.ended = "done"
        except GiveUp as exc:
            self.error, self.ended = str(exc), "exhausted"
        except Retry as exc:
            self.error = str(exc)
            wait_s = delay_s(self.task.backoff, self.attempt, 1.0) if exc.after_s is None else exc.after_s
            self.waits_s.append(wait_s)
            self.clock.at += wait_s if self.moves_clock else 0.0
            self.ended = "exhausted" if self.attempt >= self.task.max_attempts else None
            self.attempt += 1

    async def go_on(self, most: int = 40) -> "Life":
        """Attempts until the end."""
        for _ in range(most):
            if self.ended:
                break
            await self.start()
        return self

    async def die(self) -> None:
        """An attempt whose worker is killed after its effect: no end is on record, the next start is the same one."""
        attempt, error = self.attempt, self.error
        await self.start()
        self.attempt, self.error, self.ended, self.may_repeat = attempt, error, None, True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
async def _client(tmp_path, monkeypatch) -> AsyncIterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    await http.close()


@pytest.fixture
def jira_server(clock, monkeypatch) -> Iterator[Jira]:
    with Jira() as server:
        server.now = clock
        monkeypatch.setenv("JIRA_SERVER_URL", server.url)
        monkeypatch.setenv("JIRA_API_VERSION", "3")
        monkeypatch.setenv("JIRA_USERNAME", jira.USER)
        monkeypatch.setenv("JIRA_PASSWORD", jira.TOKEN)
        monkeypatch.setenv("JIRA_PROJECT_KEY", jira.PROJECT)
        monkeypatch.setenv("JIRA_ISSUE_TYPE", jira.TYPE)
        yield server


@pytest.fixture
def trello_server(clock, monkeypatch) -> Iterator[Trello]:
    with Trello() as server:
        server.now = clock
        monkeypatch.setenv("TRELLO_SERVER_URL", server.url)
        monkeypatch.setenv("TRELLO_KEY", trello.KEY)
        monkeypatch.setenv("TRELLO_AUTH_TOKEN", trello.TOKEN)
        monkeypatch.setenv("TRELLO_BOARD_ID", trello.BOARD)
        monkeypatch.setenv("TRELLO_LIST_NAME", trello.LIST)
        yield server


@pytest.fixture
def slack_server(clock, monkeypatch) -> Iterator[Slack]:
    with Slack() as server:
        server.now = clock
        monkeypatch.setenv("SLACK_SERVER_URL", server.url)
        monkeypatch.setenv("SLACK_API_TOKEN", slack.TOKEN)
        monkeypatch.setenv("SLACK_CHANNEL", slack.CHANNEL)
        yield server


@pytest.fixture
def webhook_server() -> Iterator[Webhook]:
    with Webhook() as server:
        yield server


@pytest.fixture
def smtp_server(monkeypatch) -> Iterator[Smtp]:
    with Smtp() as server:
        monkeypatch.setenv("ALERT_SMTP_URL", server.url)
        monkeypatch.setenv("ALERT_EMAIL_FROM", "mulligan@example.com")
        monkeypatch.setenv("ALERT_EMAIL_TO", "ops@example.com, boss@example.com")
        yield server


@pytest.fixture
def make_life(clock):
    """Makes a life of a task class: make_life(cls, body, uid=...)."""

    def make(cls: type[Task], body: bytes = b"hello", **more: Any) -> Life:
        task = type(cls.__name__, (cls,), {"now": staticmethod(clock)})()
        assert list(task.check()) == []
        return Life(task, clock, body, **more)

    return make


@pytest.fixture(params=["jira", "trello", "slack"])
def creator(request, make_life):
    """(stand-in, its creating call, a life): what holds for all three services alike."""
    server = request.getfixturevalue(f"{request.param}_server")
    cls, call = {
        "jira": (integrations.JiraIssueCreatorTask, "POST /rest/api/3/issue"),
        "trello": (integrations.TrelloCardCreatorTask, "POST /1/cards"),
        "slack": (integrations.SlackMessageSenderTask, "POST /api/chat.postMessage"),
    }[request.param]
    return server, call, make_life(cls)


@pytest.fixture
def failure():
    """Makes what a default task is told."""

    def make(task: str = "Trello", reason: str = "Trello: 400 no", attempts: int = 2, at: float = NOW) -> Failure:
        return Failure(TaskName(task), reason, attempts, at)

    return make
