"""Where actions are carried out: directly on the memory store here, or in a transaction of a database elsewhere."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from mulligan.servers.sqs import dispatch as engine
from mulligan.servers.sqs.actions.context import Call
from mulligan.servers.sqs.actions.limit import Limits
from mulligan.servers.sqs.dispatch import Answer, Request
from mulligan.servers.sqs.store.memory import MemoryStore

__all__ = ["Advanced", "Backend", "MemoryBackend"]

Advanced = tuple[bool, tuple[str, ...]]
"""Whether move tasks are still running, and the places of queues whose waiting receives must look again."""


class Backend(Protocol):
    """Runs one action at a time, as a whole or not at all, on the queues of the call's region."""

    async def open(self, wake: Callable[[str], None]) -> None:
        """Begin. `wake` is called in the loop with a queue's place when another process has changed the queue."""

    def run(self, request: Request, call: Call) -> Answer | Awaitable[Answer]:
        """Carry an action out; at once where that needs no waiting."""

    def advance(self, call: Call) -> Advanced | Awaitable[Advanced]:
        """Carry the move tasks of all regions on."""

    def watch(self, queue: str, *, is_waiting: bool) -> None:
        """Receives have begun, or ceased, to wait for messages of the queue of that place."""

    async def close(self) -> None:
        """End. Twice is once."""


class MemoryBackend:
    """Everything in this process."""

    def __init__(self, limits: Limits, new_id: Callable[[], str]) -> None:
        self._stores: dict[str, MemoryStore] = {}
        self._limits = limits
        self._new_id = new_id

    async def open(self, wake: Callable[[str], None]) -> None:
        """Nothing to open: there is no other process."""

    def run(self, request: Request, call: Call) -> Answer:
        """Carry an action out."""
        store = self._stores.get(call.region)
        if store is None:
            # a region in which nothing was ever made has no store: any client may name any number of them
            store = MemoryStore(self._new_id)
            if request.action == "CreateQueue":
                self._stores[call.region] = store
        return engine.run(request, store, self._limits, call, self._new_id)

    def advance(self, call: Call) -> Advanced:
        """Carry the move tasks of all regions on."""
        advanced = [
            engine.advance(store, self._limits, replace(call, region=region), self._new_id)
            for region, store in self._stores.items()
        ]
        return any(is_running for is_running, _ in advanced), tuple(name for _, woken in advanced for name in woken)

    def watch(self, queue: str, *, is_waiting: bool) -> None:
        """Nobody else could put a message in."""

    async def close(self) -> None:
        """Nothing to close."""
