"""Messages between the supervisor, its workers and their isolated processes: msgpack frames over a socket pair.

The end of the stream is a message too: the other side is gone. It may never come where a child of the other side has
that one's end: the part that knows that its process has ended says so by `end_input`.
"""

import asyncio
import contextlib
import socket
import struct
from typing import Protocol, TypeVar

import msgspec

from mulligan.settings.worker import WorkerSettings

__all__ = [
    "Channel",
    "ClaimsLost",
    "Drained",
    "Fatal",
    "FromIsolated",
    "FromSupervisor",
    "FromWorker",
    "Go",
    "Isolate",
    "Isolated",
    "Job",
    "JobEnd",
    "LeasesLost",
    "LeftAlone",
    "MayIsolate",
    "OtherVersion",
    "Problems",
    "Ready",
    "Recycle",
    "Requests",
    "Setup",
    "SocketChannel",
    "Stop",
    "from_isolated",
    "from_parent",
    "from_supervisor",
    "from_worker",
    "hear",
    "send_early",
]

_LENGTH = struct.Struct("<I")


class Setup(msgspec.Struct, tag=True, frozen=True):
    """Supervisor to worker, first: who it is and what to do. folder: the application's, absolute.

    isolated: processes for suspects that a queue may have there at once.
    """

    worker: int
    settings: WorkerSettings
    requests: int
    rejects: int
    table_slots: int
    folder: str
    isolated: int = 1


class Go(msgspec.Struct, tag=True, frozen=True):
    """Supervisor to worker: begin to receive."""


class Stop(msgspec.Struct, tag=True, frozen=True):
    """Supervisor to worker: take nothing new; running tasks have grace_s seconds.

    forgives: what fails meanwhile has been interrupted. The terminal is gone, to which it may have written.
    """

    grace_s: float
    forgives: bool = False


class LeasesLost(msgspec.Struct, tag=True, frozen=True):
    """Supervisor to worker: (slot, sequence) whose lease could not be extended: somebody else's now."""

    slots: list[tuple[int, int]]


class ClaimsLost(msgspec.Struct, tag=True, frozen=True):
    """Supervisor to worker: the same of claims. asked_at: monotonic seconds since which the ledger was asked."""

    slots: list[tuple[int, int]]
    asked_at: float


class Ready(msgspec.Struct, tag=True, frozen=True):
    """Worker to supervisor: the tasks are loaded, `Go` may come."""


class Problems(msgspec.Struct, tag=True, frozen=True):
    """Worker to supervisor: the tasks can't be used."""

    problems: list[str]


class Recycle(msgspec.Struct, tag=True, frozen=True):
    """Worker to supervisor: I end in order, because of a task that does not; replace me."""

    reason: str


class Fatal(msgspec.Struct, tag=True, frozen=True):
    """Worker to supervisor: the storage is broken; nobody should go on."""

    error: str


class Requests(msgspec.Struct, tag=True, frozen=True):
    """Worker to supervisor, now and then: requests to the broker since the worker's start, by action."""

    counts: dict[str, int]


class LeftAlone(msgspec.Struct, tag=True, frozen=True):
    """Worker to supervisor: a message that this process can do nothing for was released, or went to rejects as a copy.

    It is a copy whose state or body can't be read, or a message all of whose pending tasks are missing.
    id: the broker's, or another one of its own. until: monotonic seconds at which it may be received again, and so
    nobody can remove it before. version: of its state; None for a damaged one.
    in_group: others of its message group wait behind it. on_requests: it is on requests, not on rejects.
    tasks: those that are missing; [] where it can't be read. lacks_body: its state can be read, its body is missing.
    lacks_row: its row in the ledger can't be read.
    """

    id: str
    until: float
    version: int | None
    in_group: bool
    on_requests: bool = False
    tasks: list[str] = []
    lacks_body: bool = False
    lacks_row: bool = False


class Isolate(msgspec.Struct, tag=True, frozen=True):
    """Worker to supervisor: may I start a suspect's task? is_last: while no other one runs on this host."""

    number: int
    is_last: bool


class MayIsolate(msgspec.Struct, tag=True, frozen=True):
    """Supervisor to worker: start it."""

    number: int


class Isolated(msgspec.Struct, tag=True, frozen=True):
    """Worker to supervisor: that one has ended, or I don't want to start it any more."""

    number: int


class Drained(msgspec.Struct, tag=True, frozen=True):
    """Worker to supervisor, last: nothing is left with me. An exit without it is a crash, whatever its code."""


class OtherVersion(msgspec.Struct, tag=True, frozen=True):
    """A new process to who started it, instead of everything else: I am of another build. told: of which.

    This is all that two versions have to understand of each other, so it never changes; see `build.check`, which sends
    it.
    """

    told: str = ""


class Job(msgspec.Struct, tag=True, frozen=True):
    """Worker to its isolated process: one attempt.

    Attributes are (name, kind, is text, value); a plain attribute has the kind "".
    """

    uid: str
    generation: int
    body: bytes
    attributes: list[tuple[str, str, bool, bytes]]
    sent_at: float
    first_seen_at: float
    task: str
    attempt: int
    progress: str


class JobEnd(msgspec.Struct, tag=True, frozen=True):
    """Isolated process to its worker: how the attempt ended; fields as in `core.outcome`.

    Before the first job its kind is "ready": the tasks are loaded. leaves: what the attempt has left in the process,
    which takes no other job and ends: its threads or timers might end the next one.
    """

    kind: str
    text: str = ""
    is_final: bool = False
    retry_after_s: float | None = None
    leaves: bool = False


FromSupervisor = Setup | Go | Stop | LeasesLost | ClaimsLost | MayIsolate
FromWorker = Ready | Problems | Recycle | Requests | LeftAlone | Isolate | Isolated | OtherVersion | Fatal | Drained
FromIsolated = JobEnd | OtherVersion

from_supervisor = msgspec.msgpack.Decoder(FromSupervisor)
from_worker = msgspec.msgpack.Decoder(FromWorker)
from_isolated = msgspec.msgpack.Decoder(FromIsolated)
from_parent = msgspec.msgpack.Decoder(Setup | Job)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Channel(Protocol[T_co]):
    """One end: `send` never waits and never raises; `receive` gives None at the end of the stream."""

    def send(self, message: msgspec.Struct) -> None:
        """Hand a message over. If the other side is gone, `receive` reports it."""

    async def flush(self) -> None:
        """Wait until what was sent has been handed to the system, or the other side is gone."""

    async def receive(self) -> T_co | None:
        """The next message; None when the other side is gone."""

    def end_input(self) -> None:
        """Have `receive` give what has been sent already, and then the end of the stream: no one is left to send."""

    def close(self) -> None:
        """Close this end."""


class SocketChannel(Channel[T]):
    """Over one end of a socket pair."""

    def __init__(
        self,
        end: socket.socket,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        decoder: msgspec.msgpack.Decoder[T],
    ) -> None:
        self._end = end
        self._reader = reader
        self._writer = writer
        self._decoder = decoder

    @classmethod
    async def open(cls, end: socket.socket, decoder: msgspec.msgpack.Decoder[T]) -> "SocketChannel[T]":
        """The channel over one end of a socket pair, which it owns from now on."""
        reader, writer = await asyncio.open_connection(sock=end)
        return cls(end, reader, writer, decoder)

    def send(self, message: msgspec.Struct) -> None:
        """See `Channel`."""
        if not self._writer.is_closing():
            self._writer.write(_frame(message))

    async def flush(self) -> None:
        """See `Channel`."""
        try:
            await self._writer.drain()
        except ConnectionError:
            return

    async def receive(self) -> T | None:
        """See `Channel`."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            return self._decoder.decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def end_input(self) -> None:
        """See `Channel`."""
        with contextlib.suppress(OSError):  # closed, or ended by the other side
            self._end.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """See `Channel`."""
        self._writer.close()


def send_early(end: socket.socket, message: msgspec.Struct) -> None:
    """Send before there is an event loop. If the other side is gone, `hear` reports it."""
    with contextlib.suppress(OSError):
        end.sendall(_frame(message))


def hear(end: socket.socket, decoder: msgspec.msgpack.Decoder[T]) -> T | None:
    """Receive before there is an event loop: the next message; None when the other side is gone. Blocks."""
    head = _exactly(end, _LENGTH.size)
    body = None if head is None else _exactly(end, *_LENGTH.unpack(head))
    return None if body is None else decoder.decode(body)


def _exactly(end: socket.socket, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        try:
            part = end.recv(count - len(data))
        except ConnectionError:
            return None
        if not part:
            return None
        data += part
    return data


def _frame(message: msgspec.Struct) -> bytes:
    data = msgspec.msgpack.encode(message)
    return _LENGTH.pack(len(data)) + data
