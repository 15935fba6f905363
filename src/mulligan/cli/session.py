"""What most commands need: the settings of the current folder, and a broker that is open while they work."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import field, replace
from pathlib import Path
from typing import Any, TypeVar

from mulligan.brokers.base import Broker
from mulligan.cli import preflight
from mulligan.cli.output import hide, say
from mulligan.core.delivery import Queues
from mulligan.core.error import BrokerRefused
from mulligan.core.event import Event
from mulligan.core.message import QueueName
from mulligan.core.value import value
from mulligan.environ import ENVIRON
from mulligan.settings import kubernetes
from mulligan.settings.load import Loaded, load
from mulligan.settings.model import Settings
from mulligan.storage.body import BodyFolder

__all__ = [
    "Session",
    "app_dir",
    "loaded_application",
    "of_application",
    "report",
    "run",
    "service_links",
    "session",
    "settings",
]

T = TypeVar("T")


@value
class Session:
    """An open broker whose queues are there. now: epoch seconds. receives: as in `Declared`."""

    settings: Settings
    broker: Broker
    queues: Queues
    now: Callable[[], float]
    receives: Mapping[QueueName, int] = field(default_factory=dict)

    @property
    def bodies(self) -> BodyFolder:
        """Where the bodies of copies are that fitted no queue."""
        return BodyFolder(app_dir() / self.settings.bodies_url)

    def queue(self, kind: str) -> QueueName:
        """The queue that is called "requests", "rejects" or "dead"."""
        return {"requests": self.queues.requests, "rejects": self.queues.rejects, "dead": self.queues.dead}[kind]


def app_dir() -> Path:
    """The application's folder: the current one."""
    return Path.cwd()


def settings() -> Loaded:
    """The application's settings. Raises ConfigurationError."""
    loaded = load(app_dir(), ENVIRON)
    hide(loaded.settings.broker_url, loaded.settings.ledger_url)
    return loaded


def service_links() -> tuple[str, ...]:
    """Variables of this process that Kubernetes has set, and that are not settings."""
    return kubernetes.service_links(ENVIRON)


def of_application() -> Settings:
    """The settings of the application that is here. Raises ConfigurationError, also where there is none: else an empty
    queue and ledger would stay behind.
    """
    return loaded_application().settings


def loaded_application() -> Loaded:
    """The same, with where each value came from."""
    loaded = settings()
    preflight.require_application(app_dir(), loaded)
    return loaded


def run(work: Callable[[Session], Coroutine[Any, Any, T]], *, create: bool = False, only: str | None = None) -> T:
    """Open the broker, do the work, close the broker; what the work returns. Ctrl-C cancels the work, then closes."""

    chosen = of_application()

    async def whole() -> T:
        async with session(chosen, create=create, only=only) as opened:
            return await work(opened)

    return asyncio.run(whole())


@asynccontextmanager
async def session(chosen: Settings, *, create: bool, only: str | None = None) -> AsyncIterator[Session]:
    """An open session. Raises BrokerRefused if a queue isn't there, can't be seen or can't be used.

    create: make queues that are missing, if the settings allow it. only: "requests", "rejects" or "dead", the one queue
    that is needed; a producer may have no right to see another. Nothing is raised then: the send reports it.
    """
    from mulligan.brokers.open import open_broker
    from mulligan.clock import SystemClock

    clock = SystemClock()
    broker = open_broker(chosen.broker_url, clock=clock, emit=report, base_dir=app_dir())
    try:
        opened = Session(chosen, broker, chosen.queues, clock.now)
        declared = await broker.declare(
            chosen.queues, create=create and chosen.create_queues, only=None if only is None else opened.queue(only)
        )
        if declared.problems and only is None:
            raise BrokerRefused(" ".join(declared.problems))
        yield replace(opened, receives=declared.receives)
    finally:
        await broker.close()


def report(event: Event) -> None:
    """Print what a broker reports while a command waits for it."""
    if event.level in ("warning", "error"):
        from mulligan.telemetry.messages import sentence_of

        say(sentence_of(event))
