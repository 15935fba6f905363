"""From the outcome of a request to an HTTP response, and the counters of all outcomes."""

from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

import msgspec

from mulligan.servers.sqs.wire.error import SqsError
from mulligan.servers.sqs.wire.http import HttpRequest, HttpResponse, response_bytes
from mulligan.servers.sqs.wire.schema import new_id

__all__ = ["JSON_TYPE", "Counters", "Responder"]

JSON_TYPE = "application/x-amz-json-1.0"

_encode = msgspec.json.Encoder().encode


class Counters:
    """Numbers of requests by action and outcome, and of messages, since the start or the last reset."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """All to zero."""
        self._requests: dict[str, dict[str, int]] = {}
        self._sent = self._received = self._deleted = 0

    def count(self, action: str, outcome: str) -> None:
        """Count one request.

        outcome: "ok", "empty" (a receive without a message), the shape of an error, or the name of a fault.
        """
        outcomes = self._requests.setdefault(action, {})
        outcomes[outcome] = outcomes.get(outcome, 0) + 1

    def count_messages(self, action: str, data: Mapping[str, Any]) -> int:
        """Count the messages or entries in a successful answer; returns how many there are."""
        if action == "ReceiveMessage":
            number = len(data.get("Messages", ()))
            self._received += number
            return number
        number = len(data.get("Successful", ())) if action.endswith("Batch") else 1
        if action.startswith("SendMessage"):
            self._sent += number
        elif action.startswith("DeleteMessage"):
            self._deleted += number
        return number

    def snapshot(self) -> dict[str, Any]:
        """All numbers, in the form that the control endpoint answers with."""
        # a copy first: another thread may read while requests are counted
        counted = {action: dict(outcomes) for action, outcomes in sorted(self._requests.items())}
        return {
            "total": sum(sum(outcomes.values()) for outcomes in counted.values()),
            "requests": counted,
            "messages": {"sent": self._sent, "received": self._received, "deleted": self._deleted},
        }


class Responder:
    """Writes the responses of one server, with request ids that count up, and counts the outcomes of actions.

    now: epoch seconds, the time in the Date header.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._request_prefix = new_id()[:24]
        self._request_number = 0
        self._date = (0, b"")

    @property
    def last_request_id(self) -> str:
        """The request id of the last response."""
        return f"{self._request_prefix}{self._request_number:012x}"

    def succeeded(self, data: Mapping[str, Any], action: str, request: HttpRequest, now: float) -> HttpResponse:
        """The response of an action that was carried out."""
        number = self._counters.count_messages(action, data)
        self._counters.count(action, "ok" if number or action != "ReceiveMessage" else "empty")
        return HttpResponse(response_bytes(200, self._headers(request, now, JSON_TYPE), _encode(data)))

    def failed(self, error: SqsError, action: str, request: HttpRequest, now: float) -> HttpResponse:
        """The response of an action that was refused or failed."""
        self._counters.count(action, error.shape)
        headers = self._headers(request, now, JSON_TYPE)
        if request.headers.get("x-amzn-query-mode", "").lower() == "true":
            kind = "Sender" if error.is_sender_fault else "Receiver"
            headers += f"x-amzn-query-error: {error.code};{kind}\r\n".encode()
        # error texts quote headers, which may hold any byte
        text = error.message.encode("utf-8", "backslashreplace").decode()
        body = _encode({"__type": error.type, "message": text})
        return HttpResponse(response_bytes(error.status, headers, body))

    def page(self, status: int, content_type: str, body: bytes, request: HttpRequest, now: float) -> HttpResponse:
        """A response of any other type. Not counted."""
        return HttpResponse(response_bytes(status, self._headers(request, now, content_type), body))

    def _headers(self, request: HttpRequest, now: float, content_type: str) -> bytes:
        second = int(now)
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True).encode())
        self._request_number += 1
        end = b"" if request.keeps_alive else b"Connection: close\r\n"
        return b"Content-Type: %s\r\nx-amzn-RequestId: %s%012x\r\nDate: %s\r\n%s" % (
            content_type.encode(),
            self._request_prefix.encode(),
            self._request_number,
            self._date[1],
            end,
        )
