"""Creates the exchanges and queues, or checks those that exist. Makes calls; what should exist is in `topology`."""

from collections.abc import Awaitable, Callable, Sequence

from pamqp import commands

from mulligan.brokers.base import Declared, not_there
from mulligan.brokers.rabbitmq.amqp.channel import Channel
from mulligan.brokers.rabbitmq.amqp.error import ChannelClosed, ConnectionLost
from mulligan.brokers.rabbitmq.topology import Exchange, Queue, Topology

__all__ = ["Provisioning"]

_NOT_FOUND, _REFUSED, _DIFFERS = 404, 403, 406


class Provisioning:
    """One run over all exchanges and queues. open_channel: opens a new channel. vhost: for commands in error texts."""

    def __init__(self, topology: Topology, open_channel: Callable[[], Awaitable[Channel]], vhost: str) -> None:
        self._topology = topology
        self._open_channel = open_channel
        self._vhost = vhost
        self._channel: Channel | None = None
        self._problems: list[str] = []

    async def run(self, *, create: bool) -> Declared:
        """Create what is missing if `create`, and report what differs. Raises ChannelClosed."""
        try:
            missing = [one.name for one in self._topology.main if not await self._exists(one.name)]
            if create:
                await self._create()
            else:
                await self._check(missing)
        finally:
            if self._channel is not None:
                self._channel.close_nowait()
        named = tuple(name for name in self._topology.queues.all if name in missing)
        created, gone = (named, ()) if create else ((), named)
        return Declared(created, tuple(self._problems), missing=gone, receives=self._topology.receives)

    async def _create(self) -> None:
        topology = self._topology
        for exchange in topology.exchanges:
            await self._declare(exchange)
        for queue in (topology.unrouted_queue, *topology.main, *topology.delay_queues):
            await self._declare(queue)
        if self._problems:
            return
        for one in topology.bindings:
            if one.to_exchange:
                await self._call(commands.Exchange.Bind(0, one.target, one.source, one.key))
            else:
                await self._call(commands.Queue.Bind(0, one.target, one.source, one.key))

    async def _check(self, missing: list[str]) -> None:
        topology = self._topology
        if missing:
            self._problems.append(not_there([name for name in topology.queues.all if name in missing]))
            await self._compare([one for one in topology.main if one.name not in missing])
            return
        beside = (topology.unrouted_queue, *topology.delay_queues)
        others = [one.name for one in beside if not await self._exists(one.name)]
        gone = [one.name for one in topology.exchanges if not await self._exists(one.name, is_exchange=True)]
        if others or gone:
            missed = [f"the queues {', '.join(others)}"] if others else []
            missed += [f"the exchanges {', '.join(gone)}"] if gone else []
            self._problems.append(
                f"RabbitMQ: {' and '.join(missed)} are missing, and retries need them. Run "
                f"`mulligan setup`, with a user that may configure."
            )
            return
        await self._compare([topology.unrouted_queue, *topology.main, *topology.delay_queues])

    async def _compare(self, queues: Sequence[Queue]) -> None:
        for queue in queues:
            if not await self._declare(queue, is_check=True):
                return  # no right to ask, so the others can't be compared either

    async def _exists(self, name: str, *, is_exchange: bool = False) -> bool:
        try:
            if is_exchange:
                await self._call(commands.Exchange.Declare(0, name, passive=True))
            else:
                await self._call(commands.Queue.Declare(0, name, passive=True))
        except ChannelClosed as exc:
            if exc.code == _NOT_FOUND:
                return False
            raise
        return True

    async def _declare(self, one: Exchange | Queue, *, is_check: bool = False) -> bool:
        """Declare; other arguments than declared are a problem. False: a check without the right to declare."""
        try:
            if isinstance(one, Queue):
                await self._call(commands.Queue.Declare(0, one.name, durable=True, arguments=dict(one.arguments)))
            else:
                await self._call(
                    commands.Exchange.Declare(0, one.name, one.kind, durable=True, arguments=dict(one.arguments))
                )
        except ChannelClosed as exc:
            if exc.code == _REFUSED and is_check:
                return False
            if exc.code != _DIFFERS:
                raise
            self._problems.append(self._difference(one, exc))
        return True

    def _difference(self, one: Exchange | Queue, why: ChannelClosed) -> str:
        if isinstance(one, Exchange):
            return (
                f"Exchange {one.name}: {why.text}. Another program created it: leave it alone, and choose another "
                f"COMMON_PREFIX. If it is an older one of your own, stop what uses it, then remove it: "
                f"rabbitmqadmin --vhost={self._vhost} delete exchange name={one.name} - the next start makes it again."
            )
        return (
            f"Queue {one.name}: {why.text}. Another program or version made it; as it is, it could lose messages or "
            f"not do what retries need. Leave it alone, and choose another COMMON_PREFIX, or another name where a "
            f'setting names it (docs/rabbitmq.md, "A queue that you have already"). If it is an older one of your own, '
            f"remove it when it is empty: rabbitmqctl -p {self._vhost} delete_queue {one.name} - the next start makes "
            f"it again."
        )

    async def _call(self, method: object) -> object:
        if self._channel is None or self._channel.closed is not None:
            if self._channel is not None and isinstance(self._channel.closed, ConnectionLost):
                raise self._channel.closed
            self._channel = await self._open_channel()
        return await self._channel.call(method)
