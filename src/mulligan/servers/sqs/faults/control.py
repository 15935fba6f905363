"""The control endpoint, `/_mulligan/...`: health, counters, and the fault script of a running server."""

from typing import Any

import msgspec

from mulligan.brokers.base import Clock
from mulligan.core.error import ConfigurationError
from mulligan.servers.sqs.faults import script
from mulligan.servers.sqs.faults.script import Faults
from mulligan.servers.sqs.handler import CONTROL_PATH
from mulligan.servers.sqs.wire.http import HttpRequest, HttpResponse
from mulligan.servers.sqs.wire.response import Counters, Responder

__all__ = ["Control"]

_encode = msgspec.json.Encoder().encode


class Control:
    """Answers control requests. is_enabled: whether requests may read and change faults and reset counters."""

    def __init__(
        self, faults: Faults, counters: Counters, responder: Responder, clock: Clock, *, is_enabled: bool
    ) -> None:
        self._faults = faults
        self._counters = counters
        self._responder = responder
        self._clock = clock
        self._is_enabled = is_enabled

    def handle(self, request: HttpRequest) -> HttpResponse:
        """The response to a request whose target begins with CONTROL_PATH."""
        now = self._clock.now()
        status, data = self._answer(request.method, request.target.removeprefix(CONTROL_PATH), request.body)
        return self._responder.page(status, "application/json", _encode(data), request, now)

    def _answer(self, method: str, name: str, body: bytes) -> tuple[int, Any]:
        match method, name:
            case "GET", "health":
                return 200, {"status": "ok"}
            case "GET", "counters":
                return 200, self._counters.snapshot()
            case (("GET" | "PUT" | "DELETE"), ("faults" | "counters")) if not self._is_enabled:
                return 403, {"error": "The server was started without control: start it with --control."}
            case "DELETE", "counters":
                self._counters.reset()
                return 200, self._counters.snapshot()
            case "GET", "faults":
                return 200, self._faults.script
            case "PUT", "faults":
                try:
                    self._faults.play(script.parse(body, "PUT /_mulligan/faults"))
                except ConfigurationError as error:
                    return 400, {"error": str(error)}
                return 200, self._faults.script
            case "DELETE", "faults":
                self._faults.play(script.Script())
                return 200, self._faults.script
            case _:
                return 404, {"error": "There are /_mulligan/counters, /_mulligan/faults and /_mulligan/health."}
