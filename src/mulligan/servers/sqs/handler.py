"""From an HTTP request to an HTTP response: who asks, may they, what goes wrong on purpose, how it is told."""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Mapping, Sequence
from email.utils import formatdate
from typing import Any, assert_never

import msgspec

from mulligan.brokers.base import Clock
from mulligan.core.error import ConfigurationError, MulliganError, StorageBroken
from mulligan.servers.sqs.actions import queue_attributes as attribute
from mulligan.servers.sqs.actions.context import NO_TWIST, Call, Twist, name_in
from mulligan.servers.sqs.auth.host import Hosts
from mulligan.servers.sqs.auth.signature import Identity, Key, Verifier
from mulligan.servers.sqs.dispatch import Answer, Request, decode
from mulligan.servers.sqs.faults import script as fault
from mulligan.servers.sqs.faults.script import Faults
from mulligan.servers.sqs.long_poll import Waiting
from mulligan.servers.sqs.wire.counter import Counters
from mulligan.servers.sqs.wire.error import SqsError, access_denied, serialization
from mulligan.servers.sqs.wire.http import HttpRequest, HttpResponse, response_bytes
from mulligan.servers.sqs.wire.schema import REQUESTS

__all__ = ["Front"]

_TYPE = "application/x-amz-json-1.0"
_TARGET = "AmazonSQS."
_QUEUE_IN_BODY = re.compile(rb'"QueueUrl"\s*:\s*"(?:[^"]*/)?([A-Za-z0-9_.-]+)/?"')
"""Good enough for faults, which strike before a body is read; rights are held against what it decodes to."""
_HTML = b"<html><head><title>Service Unavailable</title></head><body><h1>Service Unavailable</h1></body></html>\n"
_QUERY_PROTOCOL = """<?xml version="1.0"?>
<ErrorResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/"><Error><Type>Sender</Type>\
<Code>AWS.SimpleQueueService.UnsupportedOperation</Code><Message>This server speaks AWS JSON 1.0 only (the header \
X-Amz-Target: AmazonSQS.&lt;Action&gt;), not the older query protocol. \
Use an SDK of November 2023 or later: boto3 1.28.82, \
the aws command line 1.29.82 or 2.13.33.</Message><Detail/></Error><RequestId>{request_id}</RequestId></ErrorResponse>
"""

_encode = msgspec.json.Encoder().encode


class Front:
    """Answers requests of one server."""

    def __init__(
        self,
        waiting: Waiting,
        clock: Clock,
        faults: Faults,
        counters: Counters,
        *,
        verifier: Verifier | None,
        account: str,
        region: str,
        has_control: bool,
        hosts: Hosts | None = None,
    ) -> None:
        self._waiting = waiting
        self._clock = clock
        self._faults = faults
        self._counters = counters
        self._verifier = verifier
        self._account = account
        self._nobody = Identity(Key("mulligan", ""), region)
        self._has_control = has_control
        self._hosts = hosts
        self._request_prefix = _dashed(secrets.token_hex(16))[:24]
        self._request_number = 0
        self._date = (0, b"")
        self._broken_by: asyncio.Future[StorageBroken] = asyncio.get_running_loop().create_future()

    @property
    def broken(self) -> "asyncio.Future[StorageBroken]":
        """Done with the reason once the storage can't be trusted any more: whoever runs the server must end it."""
        return self._broken_by

    def handle(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        """The response, at once if it needs no waiting."""
        if self._hosts is not None and not self._hosts.has(host := request.headers.get("host", "")):
            return self._stranger(request, host)
        if request.target.startswith("/_mulligan/"):
            return self._control(request)
        target = request.headers.get("x-amz-target")
        if request.method != "POST" or target is None:
            return self._stray(request)
        action = target.removeprefix(_TARGET)
        struck: Sequence[fault.Fault] = ()
        if self._faults.script.rules:
            found = _QUEUE_IN_BODY.search(request.body)
            struck = self._faults.strike(action, found.group(1).decode() if found else "")
        try:
            now = self._clock.now() + sum(item.by_s for item in struck if isinstance(item, fault.Skew))
            if not target.startswith(_TARGET) or action not in REQUESTS:
                raise SqsError("UnknownOperationException", f"The operation {target!r} does not exist.")
            identity = self._identity(request, now)
            early = self._before(struck, action, request, now)
            if early is not None:
                return early
            content_type = request.headers.get("content-type", "")
            if content_type != _TYPE:
                raise serialization(f"The Content-Type is {content_type!r}, expected {_TYPE}.")
            decoded = decode(action, request.body)
            self._check_rights(identity, decoded)
        except SqsError as error:
            return self._failed(error, action if action in REQUESTS else "?", request, now)
        call = Call(
            now=self._clock.now(),
            account=self._account,
            region=identity.region,
            base_url=f"http://{request.headers.get('host', '').encode('ascii', 'replace').decode()}",
            sender=identity.key.id,
            twist=self._twist(struck) if struck else NO_TWIST,
            trace=_trace(request.headers),
        )
        try:
            answer = self._waiting.run(decoded, call)
        except Exception as exc:  # noqa: BLE001 - told to the client as the service would; the reason is in its text
            return self._broken(exc, action, request, now)
        if struck or not isinstance(answer, Answer):
            return self._later(answer, action, request, struck, now)
        return self._answered(answer, action, request, now)

    # -- who ------------------------------------------------------------------------------------------------------

    def _identity(self, request: HttpRequest, now: float) -> Identity:
        if self._verifier is None:
            return self._nobody
        return self._verifier.verify(request.method, request.target, request.headers, request.body, now)

    def _check_rights(self, identity: Identity, request: Request) -> None:
        key = identity.key
        if key.actions is None and key.policy is None:
            return
        allowed = request.action.removesuffix("Batch")  # rights know no batches: sqs:SendMessage covers both
        arn = attribute.arn(self._queue_of(request.body), identity.region, self._account)
        if not key.may(allowed, arn):
            raise access_denied(f"arn:aws:iam::{self._account}:user/{key.id}", allowed, arn)

    def _queue_of(self, body: Any) -> str:
        """The name of the queue that a request is about; * for one that names none of this account."""
        url = getattr(body, "queue_url", None)
        source = attribute.parse_arn(getattr(body, "source_arn", None) or "")
        name = name_in(url, self._account) if url else source[2] if source else getattr(body, "queue_name", None)
        return name or "*"

    # -- faults ---------------------------------------------------------------------------------------------------

    def _before(
        self, struck: Sequence[fault.Fault], action: str, request: HttpRequest, now: float
    ) -> HttpResponse | Awaitable[HttpResponse] | None:
        """What comes instead of the action."""
        for item in struck:
            match item:
                case fault.Throttle():
                    raise SqsError(item.code, "Request is throttled, as the fault script asked.")
                case fault.Fail():
                    raise SqsError(item.code, item.message, status=item.status)
                case fault.Html():
                    self._counters.count(action, "html")
                    return HttpResponse(response_bytes(item.status, self._headers(request, now, "text/html"), _HTML))
                case fault.Cut(when="before"):
                    self._counters.count(action, "cut before")
                    return HttpResponse(b"", is_cut=True)
                case fault.BlackHole(when="before"):
                    self._counters.count(action, "black hole before")
                    return asyncio.get_running_loop().create_future()
                case (
                    fault.Cut()
                    | fault.BlackHole()
                    | fault.Delay()
                    | fault.Duplicate()
                    | fault.Reorder()
                    | fault.Empty()
                    | fault.ExpireEarly()
                    | fault.FailEntries()
                    | fault.Skew()
                ):
                    pass
                case _:
                    assert_never(item)
        return None

    def _twist(self, struck: Sequence[fault.Fault]) -> Twist:
        def last(kind: type[Any]) -> Any:
            return next((item for item in reversed(struck) if isinstance(item, kind)), None)

        duplicate, expire, entries = last(fault.Duplicate), last(fault.ExpireEarly), last(fault.FailEntries)
        return Twist(
            random=self._faults.random,
            is_empty=last(fault.Empty) is not None,
            is_reordered=last(fault.Reorder) is not None,
            duplicate_share=duplicate.share if duplicate else 0.0,
            lease_s=expire.after_s if expire else None,
            failing_share=entries.share if entries else 0.0,
            failing_code=entries.code if entries else "",
            failing_text=entries.message if entries else "",
            is_sender_fault=entries.is_sender_fault if entries else False,
        )

    async def _later(
        self,
        pending: Answer | Awaitable[Answer],
        action: str,
        request: HttpRequest,
        struck: Sequence[fault.Fault],
        now: float,
    ) -> HttpResponse:
        try:
            answer = pending if isinstance(pending, Answer) else await pending
        except Exception as exc:  # noqa: BLE001 - told to the client as the service would; the reason is in its text
            return self._broken(exc, action, request, now)
        response = self._answered(answer, action, request, now)
        for item in struck:
            match item:
                case fault.Delay():
                    await asyncio.sleep(item.delay_s)
                case fault.Cut(when="after"):
                    self._counters.count(action, "cut after")
                    response = HttpResponse(response.data[: item.after_bytes], is_cut=True)
                case fault.BlackHole(when="after"):
                    self._counters.count(action, "black hole after")
                    await asyncio.get_running_loop().create_future()
                case _:
                    pass  # it has had its effect before
        return response

    # -- answers --------------------------------------------------------------------------------------------------

    def _answered(self, answer: Answer, action: str, request: HttpRequest, now: float) -> HttpResponse:
        if answer.error is not None:
            return self._failed(answer.error, action, request, now)
        number = self._counters.count_messages(action, answer.data)
        self._counters.count(action, "ok" if number or action != "ReceiveMessage" else "empty")
        return HttpResponse(response_bytes(200, self._headers(request, now, _TYPE), _encode(answer.data)))

    def _failed(self, error: SqsError, action: str, request: HttpRequest, now: float) -> HttpResponse:
        self._counters.count(action, error.shape)
        headers = self._headers(request, now, _TYPE)
        if request.headers.get("x-amzn-query-mode", "").lower() == "true":
            kind = "Sender" if error.is_sender_fault else "Receiver"
            headers += f"x-amzn-query-error: {error.code};{kind}\r\n".encode()
        text = error.message.encode("utf-8", "backslashreplace").decode()  # headers may hold any byte, and errors quote
        body = _encode({"__type": error.type, "message": text})
        return HttpResponse(response_bytes(error.status, headers, body))

    def _broken(self, exc: Exception, action: str, request: HttpRequest, now: float) -> HttpResponse:
        if isinstance(exc, StorageBroken) and not self._broken_by.done():
            self._broken_by.set_result(exc)
        if isinstance(exc, MulliganError):
            return self._failed(SqsError("ServiceUnavailable", str(exc)), action, request, now)
        context = {"message": f"{action} raised {exc!r}", "exception": exc}
        asyncio.get_running_loop().call_exception_handler(context)
        return self._failed(SqsError("InternalFailure", f"{action}: {type(exc).__name__}: {exc}"), action, request, now)

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

    def _stray(self, request: HttpRequest) -> HttpResponse:
        """A request that isn't of this protocol: somebody looks with a browser, or an old SDK asks."""
        now = self._clock.now()
        if "x-www-form-urlencoded" in request.headers.get("content-type", "") or "Action=" in request.target:
            self._counters.count("?", "query protocol")
            text = _QUERY_PROTOCOL.format(request_id=f"{self._request_prefix}{self._request_number:012x}")
            return HttpResponse(response_bytes(400, self._headers(request, now, "text/xml"), text.encode()))
        if request.method == "GET" and request.target == "/":
            text = "mulligan's SQS-compatible server. Point an SDK here: AWS_ENDPOINT_URL_SQS=http://HOST:PORT\n"
            return HttpResponse(response_bytes(200, self._headers(request, now, "text/plain"), text.encode()))
        self._counters.count("?", "no action")
        text = "POST with the header X-Amz-Target: AmazonSQS.<Action> is what is answered here.\n"
        status = 400 if request.method == "POST" else 405
        return HttpResponse(response_bytes(status, self._headers(request, now, "text/plain"), text.encode()))

    def _stranger(self, request: HttpRequest, host: str) -> HttpResponse:
        """A request that a browser makes for another site, whose name leads to this address now."""
        return self._failed(
            SqsError(
                "AccessDeniedException",
                f"The Host {host[:100]!r} is none of this server's: it listens on a loopback address and answers to "
                "127.0.0.1, localhost and [::1]. For another name start it with --also-host NAME.",
            ),
            "?",
            request,
            self._clock.now(),
        )

    # -- control --------------------------------------------------------------------------------------------------

    def _control(self, request: HttpRequest) -> HttpResponse:
        now = self._clock.now()
        status, told = self._controlled(request.method, request.target.removeprefix("/_mulligan/"), request.body)
        return HttpResponse(response_bytes(status, self._headers(request, now, "application/json"), _encode(told)))

    def _controlled(self, method: str, name: str, body: bytes) -> tuple[int, Any]:
        match method, name:
            case "GET", "health":
                return 200, {"status": "ok"}
            case "GET", "counters":
                return 200, self._counters.told()
            case (("GET" | "PUT" | "DELETE"), ("faults" | "counters")) if not self._has_control:
                return 403, {"error": "The server was started without control: start it with --control."}
            case "DELETE", "counters":
                self._counters.reset()
                return 200, self._counters.told()
            case "GET", "faults":
                return 200, self._faults.script
            case "PUT", "faults":
                try:
                    self._faults.play(fault.parse(body, "PUT /_mulligan/faults"))
                except ConfigurationError as error:
                    return 400, {"error": str(error)}
                return 200, self._faults.script
            case "DELETE", "faults":
                self._faults.play(fault.Script())
                return 200, self._faults.script
            case _:
                return 404, {"error": "There are /_mulligan/counters, /_mulligan/faults and /_mulligan/health."}


def _trace(headers: Mapping[str, str]) -> str | None:
    text = headers.get("x-amzn-trace-id")
    return text if text and text.isascii() and text.isprintable() else None


def new_id() -> str:
    """A random message id, in the form of a UUID of version 4."""
    return _dashed(secrets.token_hex(16))


def _dashed(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
