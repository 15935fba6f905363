"""A real HTTP server in a thread, with a script of faults: what all stand-ins for services are made of.

The stand-ins follow the services' documented contracts and never fold by our key: a second create makes a second
object. Faults may strike before the service does anything, or after it has.
"""

import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Request:
    """path: without the query. query: the last value of each name. headers: names in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body) if self.body else None


@dataclass
class Answer:
    """body: JSON unless it is text."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    """commits: the service does its work all the same. answer: what comes back; None: the connection is cut."""

    commits: bool
    answer: Answer | None
    on: str = ""


DROP = "drop"
COMMIT_THEN_DROP = "commit, then drop"


class Service:
    """Subclasses write `handle`, called under the lock; `url` is where clients go. Use with `with`."""

    root = ""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.faults: deque[Fault] = deque()
        self.lock = threading.RLock()
        self.is_down = False
        self.delay_s = 0.0
        """Between the work and its reply."""
        self.now: Callable[[], float] = time.time
        self.chaos: Callable[[Request], Fault | None] = lambda request: None
        """Asked for a fault of each request for which the script has none."""
        self._connections: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", 0), _handler_for(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{self.root}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        with self.lock:
            for connection in list(self._connections):
                _cut(connection)
        for thread in list(self._server.handlers):
            thread.join(5)

    # -- faults

    def drop(self, on: str = "", times: int = 1) -> None:
        """Cut the connection before anything is done. on: part of "METHOD /path"."""
        self.faults.extend(Fault(False, None, on) for _ in range(times))

    def commit_then_drop(self, on: str = "", times: int = 1) -> None:
        """Do the work, then cut the connection instead of answering."""
        self.faults.extend(Fault(True, None, on) for _ in range(times))

    def fail(self, status: int, body: Any = "", *, on: str = "", times: int = 1, **headers: str) -> None:
        """Answer that without doing anything."""
        named = {name.replace("_", "-"): one for name, one in headers.items()}
        self.faults.extend(Fault(False, Answer(status, body, named), on) for _ in range(times))

    def commit_then_fail(self, status: int, body: Any = "", *, on: str = "", times: int = 1) -> None:
        """Do the work, then answer that."""
        self.faults.extend(Fault(True, Answer(status, body), on) for _ in range(times))

    # -- what handlers use

    def handle(self, request: Request) -> Answer:
        raise NotImplementedError

    def answer(self, request: Request) -> Answer | None:
        """None: cut the connection."""
        with self.lock:
            if self.is_down:
                return None
            self.requests.append(request)
            fault = self._fault(request)
            if fault is None:
                return self.handle(request)
            if fault.commits:
                self.handle(request)
            return fault.answer

    def _fault(self, request: Request) -> Fault | None:
        name = f"{request.method} {request.path}"
        for fault in self.faults:
            if fault.on in name:
                self.faults.remove(fault)
                return fault
        return self.chaos(request)

    def calls(self, part: str) -> list[Request]:
        """The requests so far whose "METHOD /path" holds that."""
        with self.lock:
            return [one for one in self.requests if part in f"{one.method} {one.path}"]

    def opened(self, connection: socket.socket) -> None:
        with self.lock:
            self._connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self.lock:
            self._connections.discard(connection)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, *arguments: Any) -> None:
        self.handlers: list[threading.Thread] = []
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self.handlers = [one for one in self.handlers if one.is_alive()]
        self.handlers.append(thread)
        thread.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are gone are what these servers are for."""


def _handler_for(service: Service) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            service.opened(self.connection)

        def finish(self) -> None:
            service.closed(self.connection)
            super().finish()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            pass

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            parts = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            headers = {name.lower(): one for name, one in self.headers.items()}
            request = Request(self.command, unquote(parts.path), query, headers, body)
            answer = service.answer(request)
            time.sleep(service.delay_s)
            if answer is None:
                self.close_connection = True
                _cut(self.connection)
                return
            content = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
            raw = content.encode()
            self.send_response(answer.status)
            kind = "text/plain" if isinstance(answer.body, str) else "application/json"
            for name, one in {"content-type": kind, **answer.headers, "content-length": str(len(raw))}.items():
                self.send_header(name, one)
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_PUT = do_DELETE = _do

    return Handler


def _cut(connection: socket.socket) -> None:
    """A reset rather than an end."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
