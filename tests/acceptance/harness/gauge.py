"""How many messages an application's queues have ready, asked of the broker: a command takes a second to start."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mulligan.brokers.base import Broker
from mulligan.brokers.open import open_broker
from mulligan.clock import SystemClock
from mulligan.core.delivery import Queues
from mulligan.settings.model import Settings

__all__ = ["Gauge", "gauge"]


class Gauge:
    """One connection to the application's broker."""

    def __init__(self, runner: asyncio.Runner, broker: Broker, queues: Queues) -> None:
        self._runner = runner
        self._broker = broker
        self._queues = queues

    def ready(self) -> int:
        """Messages on requests and rejects that a receive would bring now."""
        return sum(
            self._runner.run(self._broker.depth(name)).ready for name in (self._queues.requests, self._queues.rejects)
        )


@contextmanager
def gauge(app: Any) -> Iterator[Gauge]:
    """For an application whose queues are there; in any thread. AWS keys are those of this process's environment."""
    settings = Settings(**{name.lower(): item for name, item in app.settings.items()})
    url = settings.broker_url
    if url.startswith("amqp"):
        url += "?heartbeat=0"  # between two looks the loop stands still
    with asyncio.Runner() as runner:
        broker = open_broker(url, clock=SystemClock(), emit=lambda _: None, base_dir=app.folder)
        try:
            runner.run(broker.declare(settings.queues, create=False))
            yield Gauge(runner, broker, settings.queues)
        finally:
            runner.run(broker.close())
