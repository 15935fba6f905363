"""One attempt of a task at a message."""

import asyncio

from mulligan.core.outcome import Outcome
from mulligan.tasks.registry import LoadedTask
from mulligan.worker.in_flight import InFlight

__all__ = ["Attempt"]


class Attempt:
    """One attempt under way. number: 1 for the first. why: the outcome of a cancellation that we asked for."""

    __slots__ = ("deadline", "driver", "flight", "has_ended", "number", "started_at", "task", "why")

    def __init__(self, flight: InFlight, task: LoadedTask, number: int, started_at: float) -> None:
        self.flight = flight
        self.task = task
        self.number = number
        self.started_at = started_at
        self.deadline = 0.0
        self.has_ended = False
        self.driver: asyncio.Task[None] | None = None
        self.why: Outcome | None = None
