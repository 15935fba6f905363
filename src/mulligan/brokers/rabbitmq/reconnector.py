"""Keeps one AMQP connection per purpose: `Reconnector`. Emits what the server reports about blocked connections."""

import asyncio
import os
import ssl

from mulligan.blocking import in_thread
from mulligan.brokers.base import Emit
from mulligan.brokers.rabbitmq.amqp.channel import Channel
from mulligan.brokers.rabbitmq.amqp.connection import Connection, connect
from mulligan.brokers.rabbitmq.amqp.error import ConnectionLost
from mulligan.brokers.rabbitmq.amqp.parameters import ConnectionParameters
from mulligan.brokers.rabbitmq.broker_url import tls
from mulligan.core.event import BrokerWarning
from mulligan.dial import Failed

__all__ = ["Reconnector"]


class Reconnector:
    """One connection for one purpose: opened when it is needed, and again after it was lost."""

    def __init__(self, parameters: ConnectionParameters, purpose: str, emit: Emit) -> None:
        self._parameters = parameters
        self._purpose = purpose
        self._emit = emit
        self._opening = asyncio.Lock()
        self._connection: Connection | None = None
        self._context: ssl.SSLContext | None = None
        self._failed = Failed()
        self._is_closed = False

    async def connection(self) -> Connection:
        """The connection, open. Raises ChannelClosed."""
        found = self._connection
        if found is not None and found.lost is None:
            return found
        async with self._opening:
            if self._is_closed:
                raise ConnectionLost(0, "closed by us")
            if self._connection is None or self._connection.lost is not None:
                if self._parameters.is_tls and self._context is None:
                    self._context = await in_thread(lambda: tls(self._parameters))
                if self._connection is not None:
                    self._failed.add(self._connection.peer)  # lost or silent: try other nodes first
                properties = {"product": "mulligan", "connection_name": f"mulligan {self._purpose} {os.getpid()}"}
                self._connection = await connect(
                    self._parameters, self._context, properties, self._on_blocked, self._failed
                )
            return self._connection

    async def channel(self) -> Channel:
        """A new channel of the connection. Raises ChannelClosed."""
        return await (await self.connection()).channel()

    async def close(self) -> None:
        """Close the connection. May be called twice."""
        self._is_closed = True
        if self._connection is not None:
            await self._connection.close()

    def _on_blocked(self, reason: str | None) -> None:
        text = (
            "RabbitMQ accepts messages again."
            if reason is None
            else f"RabbitMQ accepts no messages ({reason}): copies and dead letters wait, and so do their originals."
        )
        self._emit(BrokerWarning(self._parameters.where, text))
