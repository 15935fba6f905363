"""Finds the three queues, creates those that are missing, and reports what differs. Makes calls; `setup` decides."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mulligan.brokers.base import Declared, Features, Queues, not_there
from mulligan.brokers.sqs import foreign, setup
from mulligan.brokers.sqs.batch import Queue
from mulligan.brokers.sqs.client import Client
from mulligan.brokers.sqs.environment import EndpointConfig
from mulligan.brokers.sqs.error import ServiceRefused
from mulligan.brokers.sqs.lookup import QueueLookup
from mulligan.core.message import QueueName

__all__ = ["Provisioning", "fitted"]


class Provisioning:
    """One run over the queues. lookup: knows the accounts of the queues, and remembers those that are found."""

    def __init__(self, client: Client, lookup: QueueLookup, queues: Queues) -> None:
        self._client = client
        self._lookup = lookup
        self._queues = queues
        self._created: list[QueueName] = []
        self._missing: list[QueueName] = []
        self._refusals: dict[QueueName, str] = {}
        self.found: dict[QueueName, Mapping[str, str]] = {}
        """Attributes of the queues that are there."""

    async def run(self, names: Sequence[QueueName], *, create: bool) -> Declared:
        """Find the queues of these names, and create those that are missing if `create`, in this order.

        Raises BrokerUnavailable, and ServiceRefused if `create`.
        """
        for name in names:
            account = self._lookup.accounts.get(name)
            try:
                await self._run(name, create=create and account is None)
            except ServiceRefused as exc:
                if account is not None:
                    self._refusals[name] = f"{exc} {foreign.denied(account)}"
                elif create:
                    raise
                else:
                    self._refusals[name] = str(exc)
        return self._declared()

    async def _run(self, name: QueueName, *, create: bool) -> None:
        queue = await self._lookup.find(name)
        if queue is None and create:
            queue = await self._create(name)
            self._created.append(name)
        if queue is None:
            self._missing.append(name)
            return
        self.found[name] = await self._lookup.attributes(queue, ["All"], is_new=name in self._created)

    async def _create(self, name: QueueName) -> Queue:
        dead = self._queues.dead
        may_redrive = dead not in self._lookup.accounts
        dead_arn = self.found.get(dead, {}).get("QueueArn") if may_redrive else None
        made = await self._client.call_object("CreateQueue", setup.creation(self._queues, name, dead_arn), where=name)
        return self._lookup.remember(name, str(made["QueueUrl"]))

    def _declared(self) -> Declared:
        queues, accounts = self._queues, self._lookup.accounts
        gone = tuple(name for name in queues.all if name in self._missing)
        own = tuple(name for name in gone if name not in accounts)
        problems = [not_there(own)] if own else []
        problems += foreign.not_there([name for name in gone if name in accounts], accounts)
        problems += [self._refusals[name] for name in queues.all if name in self._refusals]
        problems += setup.problems(queues, self.found)
        notes = [
            *_config_notes(self._client.config),
            *foreign.notes(queues, self.found, accounts),
            *setup.notes(queues, self.found, accounts),
        ]
        receives = setup.receives(queues, self.found)
        return Declared(tuple(reversed(self._created)), tuple(problems), tuple(notes), gone, receives)


def fitted(features: Features, found: Mapping[QueueName, Mapping[str, str]]) -> Features:
    """The features with the delay and the size that these queues allow. found: attributes by queue, at least one."""
    return replace(
        features,
        max_delay_s=0.0 if any(map(setup.is_fifo, found)) else features.max_delay_s,
        max_message_bytes=min(map(setup.size_limit, found.values())),
    )


def _config_notes(config: EndpointConfig) -> list[str]:
    if not config.is_readable:
        return []
    return [
        f"The endpoint {config.url} is plain http, as insecure=true in BROKER_URL allows: messages can be read and "
        f"changed on the way. Use this only on a network that you control; otherwise use https."
    ]
