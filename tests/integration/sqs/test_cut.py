"""A relay between broker and server that gives a silent connection no more than some time, as many proxies do."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from mulligan.brokers.sqs.environment import EndpointConfig
from mulligan.brokers.sqs.http import Endpoint
from mulligan.core.delivery import Outgoing
from mulligan.core.error import BrokerUnavailable
from mulligan.core.event import BrokerWarning

SILENCE_S = 1.5


class Relay:
    """Passes everything on; a connection on which nothing moves for SILENCE_S ends by `goodbye`, or a reset."""

    def __init__(self, port: int, goodbye: bytes) -> None:
        self._port = port
        self._goodbye = goodbye
        self._tasks: set[asyncio.Task[None]] = set()
        self.cuts = 0
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        moved = asyncio.Event()
        pumps = [
            asyncio.create_task(self._pump(reader, far_writer, moved)),
            asyncio.create_task(self._pump(far_reader, writer, moved)),
        ]
        try:
            while not any(pump.done() for pump in pumps):
                moved.clear()
                async with asyncio.timeout(SILENCE_S):
                    await moved.wait()
        except TimeoutError:
            self.cuts += 1
            if self._goodbye:
                writer.write(self._goodbye)
                await writer.drain()
                writer.close()
        finally:
            for pump in pumps:
                pump.cancel()
            for one in (writer, far_writer):
                if not one.is_closing():
                    one.transport.abort()
            self._tasks.discard(task)

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, moved: asyncio.Event) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                moved.set()
        except ConnectionError:
            pass
        moved.set()


@pytest.fixture(params=["reset", "504"])
async def relay(request, server) -> AsyncIterator[Relay]:
    body = b"<html>gateway time-out</html>"
    goodbye = b"HTTP/1.1 504 Gateway Time-out\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    made = Relay(server.port, goodbye if request.param == "504" else b"")
    await made.start()
    yield made
    await made.stop()


async def test_polls_that_are_always_cut_at_one_age_are_no_outage_and_become_shorter(
    relay, broker_of, server, queues, events
):
    config = EndpointConfig("eu-west-1", f"http://127.0.0.1:{relay.port}", Endpoint("127.0.0.1", relay.port, False))
    broker = broker_of(server, config=config)
    await broker.declare(queues, create=True)

    first = await broker.receive(queues.requests, 10, wait_s=20.0, lease_s=30.0)
    cuts, began_at = relay.cuts, time.monotonic()
    second = await broker.receive(queues.requests, 10, wait_s=20.0, lease_s=30.0)
    took_s = time.monotonic() - began_at
    sent = await broker.send(queues.requests, [Outgoing(b"1", {})])
    (third,) = await broker.receive(queues.requests, 10, wait_s=20.0, lease_s=30.0)

    assert (first, second, third.body, sent) == ([], [], b"1", [None])
    assert cuts >= 3
    assert relay.cuts == cuts
    assert took_s < SILENCE_S
    (told,) = events
    assert isinstance(told, BrokerWarning)
    assert "long polls are cut after 1.5 s, each time" in told.text
    assert "From now on they wait 1 s: an idle queue costs 3600 requests per hour instead of 180" in told.text


async def test_outage_is_told_though_what_is_on_the_way_ends_every_poll_at_one_age(relay, broker_of, server, queues):
    """It was taken for cuts of long polls, and the queue for an empty one, for as long as it lasted."""
    config = EndpointConfig("eu-west-1", f"http://127.0.0.1:{relay.port}", Endpoint("127.0.0.1", relay.port, False))
    broker = broker_of(server, config=config)
    await broker.declare(queues, create=True)
    silent = await asyncio.start_server(_say_nothing, "127.0.0.1", 0)
    relay._port = silent.sockets[0].getsockname()[1]
    await asyncio.sleep(SILENCE_S + 0.5)  # connections to the server are gone

    first = await broker.receive(queues.requests, 10, wait_s=20.0, lease_s=30.0)
    with pytest.raises(BrokerUnavailable, match="ReceiveMessage failed"):
        await broker.receive(queues.requests, 10, wait_s=20.0, lease_s=30.0)

    silent.close()
    assert first == []


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        await reader.read()
    writer.close()
