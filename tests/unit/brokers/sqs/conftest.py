"""A server that says what a test tells it to, byte by byte."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

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
