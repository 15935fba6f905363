"""A server that says what a test tells it to, byte by byte."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from mulligan.brokers.sqs.client import Client
from mulligan.brokers.sqs.credentials import Credentials
from mulligan.brokers.sqs.environment import EndpointConfig
from mulligan.brokers.sqs.http import Endpoint
from mulligan.brokers.sqs.sign import Keys

FOLDER = Path(__file__).parent
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

Reply = bytes | None
"""Bytes to send, b"" for nothing, None to cut the connection."""


class Speaker:
    """Answers requests with `replies` in turn, the last one for ever.

    requests: heads and bodies as they came. connections: made so far. arrived: set with each request.
    """

    def __init__(self, port: int, replies: list[Reply]) -> None:
        self.port = port
        self.replies = replies
        self.requests: list[bytes] = []
        self.connections = 0
        self.arrived = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int((head.lower() + b"content-length: 0").split(b"content-length: ")[1].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(size))
                self.arrived.set()
                reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
                if reply is None:
                    return
                writer.write(reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def hang_up(self) -> None:
        """Close every connection, as a server does with idle ones."""
        for writer in self.writers:
            writer.close()


Speak = Callable[..., Awaitable[Speaker]]


@pytest.fixture
async def speak() -> AsyncIterator[Speak]:
    """Start a Speaker: `speak(reply, ..., tls=False)`."""
    servers: list[asyncio.Server] = []
    speakers: list[Speaker] = []

    async def start(*replies: Reply, tls: bool = False) -> Speaker:
        speaker = Speaker(0, list(replies))
        context = None
        if tls:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(FOLDER / "certificates/server.pem")
        server = await asyncio.start_server(speaker.serve, "127.0.0.1", 0, ssl=context, limit=1 << 22)
        speaker.port = server.sockets[0].getsockname()[1]
        servers.append(server)
        speakers.append(speaker)
        return speaker

    yield start
    for speaker in speakers:
        speaker.hang_up()
    for server in servers:
        server.close()
        await server.wait_closed()


@pytest.fixture
def authority() -> Path:
    """The file of the authority that signed the speakers' certificate."""
    return FOLDER / "certificates/authority.pem"


@pytest.fixture
def ok() -> bytes:
    return OK


class StillClock:
    def now(self):
        return 1_700_000_000.0

    def monotonic(self):
        return 1000.0


class Keyring:
    """Fills `Source`: OLD, and after a renewal NEW; with `is_endless` others at every renewal, with `is_same` OLD."""

    def __init__(self):
        self.given = Keys("OLD", "old", "t1")
        self.is_endless = self.is_same = False
        self.renewals = 0

    def load(self, *, force):
        if force:
            self.renewals += 1
            if not self.is_same:
                self.given = Keys(f"NEW{self.renewals}" if self.is_endless else "NEW", "new", "t2")
        return self.given, False


@pytest.fixture
async def client_of():
    """Makes a client of a speaker; waits between tries are 0 s long."""
    clients = []

    def make(speaker, *, rand=lambda: 0.0):
        events = []
        endpoint = Endpoint("127.0.0.1", speaker.port, False)
        config = EndpointConfig("eu-west-1", f"http://127.0.0.1:{speaker.port}", endpoint)
        source = Keyring()
        client = Client(config, Credentials(source, events.append), StillClock(), events.append, rand=rand)
        client.events, client.source = events, source
        clients.append(client)
        return client

    yield make
    for client in clients:
        await client.close()
