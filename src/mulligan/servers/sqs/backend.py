"""Where actions are carried out: directly on the memory store here, or in a transaction of a database elsewhere."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from mulligan.servers.sqs import engine
from mulligan.servers.sqs.engine import Answer, Request
from mulligan.servers.sqs.limit import Limits
from mulligan.servers.sqs.memory import MemoryStore
from mulligan.servers.sqs.scope import Call

__all__ = ["Advanced", "Backend", "MemoryBackend"]

Advanced = tuple[bool, tuple[str, ...]]
"""Whether move tasks are still running, and the queues whose waiting receives must look again."""


class Backend(Protocol):
    """Runs one action at a time, as a whole or not at all."""

    async def open(self, wake: Callable[[str], None]) -> None:
        """Begin. `wake` is called in the loop with a queue's name when another process has changed the queue."""

    def run(self, request: Request, call: Call) -> Answer | Awaitable[Answer]:
        """Carry an action out; at once where that needs no waiting."""

    def advance(self, call: Call) -> Advanced | Awaitable[Advanced]:
        """Carry move tasks on."""

    def watch(self, queue: str, *, is_waiting: bool) -> None:
        """Receives have begun, or ceased, to wait for messages of a queue."""

    async def close(self) -> None:
        """End. Twice is once."""


class MemoryBackend:
    """Everything in this process."""

    def __init__(self, limits: Limits, new_id: Callable[[], str]) -> None:
        self.store = MemoryStore(new_id)
        self._limits = limits
        self._new_id = new_id

    async def open(self, wake: Callable[[str], None]) -> None:
        """Nothing to open: there is no other process."""

    def run(self, request: Request, call: Call) -> Answer:
        """Carry an action out."""
        return engine.run(request, self.store, self._limits, call, self._new_id)

    def advance(self, call: Call) -> Advanced:
        """Carry move tasks on."""
        return engine.advance(self.store, self._limits, call, self._new_id)

    def watch(self, queue: str, *, is_waiting: bool) -> None:
        """Nobody else could put a message in."""

    async def close(self) -> None:
        """Nothing to close."""
