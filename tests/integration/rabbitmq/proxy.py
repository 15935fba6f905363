"""A TCP proxy that resets a connection after a number of bytes in one direction, and notes where frames end."""

import asyncio
import socket
import struct
from dataclasses import dataclass, field


@dataclass
class Flow:
    """What went one way on one connection. ends: offsets at which a frame ended, the protocol header included."""

    size: int = 0
    ends: list[int] = field(default_factory=list)
    _rest: bytes = b""
    _is_begun: bool = False

    def took(self, data: bytes, *, has_preamble: bool) -> None:
        start = self.size - len(self._rest)
        self.size += len(data)
        rest = self._rest + data
        if has_preamble and not self._is_begun and len(rest) >= 8:
            start, rest, self._is_begun = start + 8, rest[8:], True
            self.ends.append(start)
        while len(rest) >= 7 and len(rest) >= (end := 8 + struct.unpack_from(">I", rest, 3)[0]):
            start, rest = start + end, rest[end:]
            self.ends.append(start)
        self._rest = rest


class Proxy:
    """cut: (place of the connection since `begin`, "up" or "down", bytes after which it is reset); None for no cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.cut: tuple[int, str, int] | None = None
        self.was_cut = asyncio.Event()
        self.flows: list[dict[str, Flow]] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def begin(self, cut: tuple[int, str, int] | None) -> None:
        """From now on connections are counted anew."""
        self.cut = cut
        self.was_cut = asyncio.Event()
        self.flows = []

    async def stop(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, flows = len(self.flows), {"up": Flow(), "down": Flow()}
        self.flows.append(flows)
        cut = self.cut if self.cut is not None and self.cut[0] == number else None
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._port)
        ends = (writer, server_writer)
        self._writers.update(ends)
        for way, source, target in (("up", reader, server_writer), ("down", server_reader, writer)):
            limit = cut[2] if cut is not None and cut[1] == way else None
            task = asyncio.create_task(self._pump(way, flows[way], source, target, ends, limit))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, way, flow, source, target, ends, limit) -> None:
        try:
            while data := await source.read(65_536):
                if limit is not None and flow.size + len(data) >= limit:
                    target.write(data[: limit - flow.size])
                    await target.drain()
                    self.was_cut.set()
                    break
                flow.took(data, has_preamble=way == "up")
                target.write(data)
                await target.drain()
        except OSError:
            pass
        for writer in ends:
            self._writers.discard(writer)
            sock = writer.get_extra_info("socket")
            if limit is not None and self.was_cut.is_set():
                # what is on its way in the direction of the cut arrives; the rest of the world sees a reset
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                await asyncio.sleep(0)
            writer.transport.abort()
