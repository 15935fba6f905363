"""From an HTTP request to an HTTP response: who asks, may they, what the action answers.

`Router` separates actions from other requests. `ActionHandler` takes an action through its steps; it knows nothing
about faults, `faults.inject` wraps it.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any

from mulligan.brokers.base import Clock
from mulligan.core.error import MulliganError, StorageBroken
from mulligan.servers.sqs.actions.context import NO_EFFECT, Call, FaultEffect
from mulligan.servers.sqs.auth.host import Hosts
from mulligan.servers.sqs.auth.key import Key
from mulligan.servers.sqs.auth.signature import Identity, Verifier
from mulligan.servers.sqs.dispatch import Answer, Request, Runner, decode
from mulligan.servers.sqs.wire.error import SqsError, access_denied, serialization
from mulligan.servers.sqs.wire.http import Handler, HttpRequest, HttpResponse
from mulligan.servers.sqs.wire.response import JSON_TYPE, Counters, Responder
from mulligan.servers.sqs.wire.schema import REQUESTS, arn, parse_arn, queue_name

__all__ = ["CONTROL_PATH", "ActionHandler", "Router", "named_action"]

CONTROL_PATH = "/_mulligan/"

_TARGET = "x-amz-target"
_PREFIX = "AmazonSQS."
_QUERY_PROTOCOL = """<?xml version="1.0"?>
<ErrorResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/"><Error><Type>Sender</Type>\
<Code>AWS.SimpleQueueService.UnsupportedOperation</Code><Message>This server speaks AWS JSON 1.0 only (the header \
X-Amz-Target: AmazonSQS.&lt;Action&gt;), not the older query protocol. \
Use an SDK of November 2023 or later: boto3 1.28.82, \
the aws command line 1.29.82 or 2.13.33.</Message><Detail/></Error><RequestId>{request_id}</RequestId></ErrorResponse>
"""


def named_action(request: HttpRequest) -> str:
    """The action that the header X-Amz-Target names, whether it exists or not."""
    return request.headers[_TARGET].removeprefix(_PREFIX)


class Router:
    """The first step of every request: `act` answers actions, `control` answers what is below CONTROL_PATH.

    hosts: the names that a Host header may have; None for any.
    """

    def __init__(
        self,
        act: Handler,
        control: Handler,
        counters: Counters,
        responder: Responder,
        clock: Clock,
        *,
        hosts: Hosts | None = None,
    ) -> None:
        self._act = act
        self._control = control
        self._counters = counters
        self._responder = responder
        self._clock = clock
        self._hosts = hosts

    def handle(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        """The response, immediately if it needs no waiting."""
        if self._hosts is not None and not self._hosts.has(host := request.headers.get("host", "")):
            return self._foreign_host(request, host)
        if request.target.startswith(CONTROL_PATH):
            return self._control(request)
        if request.method != "POST" or _TARGET not in request.headers:
            return self._not_an_action(request)
        return self._act(request)

    def _not_an_action(self, request: HttpRequest) -> HttpResponse:
        """A request of another protocol: from a browser, or from an old SDK."""
        now = self._clock.now()
        if "x-www-form-urlencoded" in request.headers.get("content-type", "") or "Action=" in request.target:
            self._counters.count("?", "query protocol")
            text = _QUERY_PROTOCOL.format(request_id=self._responder.last_request_id)
            return self._responder.page(400, "text/xml", text.encode(), request, now)
        if request.method == "GET" and request.target == "/":
            text = "mulligan's SQS-compatible server. Point an SDK here: AWS_ENDPOINT_URL_SQS=http://HOST:PORT\n"
            return self._responder.page(200, "text/plain", text.encode(), request, now)
        self._counters.count("?", "no action")
        text = "This server answers POST requests with the header X-Amz-Target: AmazonSQS.<Action>.\n"
        status = 400 if request.method == "POST" else 405
        return self._responder.page(status, "text/plain", text.encode(), request, now)

    def _foreign_host(self, request: HttpRequest, host: str) -> HttpResponse:
        """A request that a browser makes for another site, whose name now resolves to this address."""
        error = SqsError(
            "AccessDeniedException",
            f"The Host {host[:100]!r} is not a name of this server: it listens on a loopback address and answers to "
            "127.0.0.1, localhost and [::1]. For another name start it with --also-host NAME.",
        )
        return self._responder.failed(error, "?", request, self._clock.now())


class ActionHandler:
    """Authenticates, decodes and runs actions.

    runner: carries out what is decoded and allowed.
    verifier: None accepts every request unsigned, as one of `region`.
    broken: done with the reason once the storage can't be trusted any more; the owner of the server must then close it.
    """

    def __init__(
        self,
        runner: Runner,
        responder: Responder,
        clock: Clock,
        *,
        verifier: Verifier | None,
        account: str,
        region: str,
    ) -> None:
        self._runner = runner
        self._responder = responder
        self._clock = clock
        self._verifier = verifier
        self._account = account
        self._unverified = Identity(Key("mulligan", ""), region)
        self.broken: asyncio.Future[StorageBroken] = asyncio.get_running_loop().create_future()

    def handle(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        """The response to a POST request with X-Amz-Target, immediately if it needs no waiting."""
        now = self._clock.now()
        try:
            identity = self.authenticate(request, now)
            decoded = self.decode(request, identity)
        except SqsError as error:
            return self.refused(error, request, now)
        try:
            answer = self.run(decoded, identity, request)
        except Exception as exc:  # noqa: BLE001 - reported to the client as the service would; the text has the reason
            return self.raised(exc, decoded.action, request, now)
        if isinstance(answer, Answer):
            return self.answered(answer, decoded.action, request, now)
        return self._later(answer, decoded.action, request, now)

    async def _later(self, pending: Awaitable[Answer], action: str, request: HttpRequest, now: float) -> HttpResponse:
        try:
            answer = await pending
        except Exception as exc:  # noqa: BLE001 - as above
            return self.raised(exc, action, request, now)
        return self.answered(answer, action, request, now)

    # -- steps ----------------------------------------------------------------------------------------------------

    def authenticate(self, request: HttpRequest, now: float) -> Identity:
        """Who signed the request of an action that exists. Raises SqsError."""
        target = request.headers[_TARGET]
        if not target.startswith(_PREFIX) or named_action(request) not in REQUESTS:
            raise SqsError("UnknownOperationException", f"The operation {target!r} does not exist.")
        if self._verifier is None:
            return self._unverified
        return self._verifier.verify(request.method, request.target, request.headers, request.body, now)

    def decode(self, request: HttpRequest, identity: Identity) -> Request:
        """The action with its parameters, if its signer may carry it out. Raises SqsError."""
        content_type = request.headers.get("content-type", "")
        if content_type != JSON_TYPE:
            raise serialization(f"The Content-Type is {content_type!r}, expected {JSON_TYPE}.")
        decoded = decode(named_action(request), request.body)
        self._check_permission(identity, decoded)
        return decoded

    def run(
        self, decoded: Request, identity: Identity, request: HttpRequest, effect: FaultEffect = NO_EFFECT
    ) -> Answer | Awaitable[Answer]:
        """Carry the action out. Raises what the storage raises."""
        call = Call(
            now=self._clock.now(),
            account=self._account,
            region=identity.region,
            base_url=f"http://{request.headers.get('host', '').encode('ascii', 'replace').decode()}",
            sender=identity.key.id,
            effect=effect,
            trace=_trace(request.headers),
        )
        return self._runner(decoded, call)

    def _check_permission(self, identity: Identity, decoded: Request) -> None:
        key = identity.key
        if key.actions is None and key.policy is None:
            return
        allowed = decoded.action.removesuffix("Batch")  # IAM has no batch actions: sqs:SendMessage covers both
        resource = arn(self._queue_of(decoded.body), identity.region, self._account)
        if not key.may(allowed, resource):
            raise access_denied(f"arn:aws:iam::{self._account}:user/{key.id}", allowed, resource)

    def _queue_of(self, body: Any) -> str:
        """The name of the queue that a request is about; * when it names none of this account."""
        url = getattr(body, "queue_url", None)
        source = parse_arn(getattr(body, "source_arn", None) or "")
        name = queue_name(url, self._account) if url else source[2] if source else getattr(body, "queue_name", None)
        return name or "*"

    # -- responses ------------------------------------------------------------------------------------------------

    def answered(self, answer: Answer, action: str, request: HttpRequest, now: float) -> HttpResponse:
        """The response to an action that was run, be it with success or an error."""
        if answer.error is not None:
            return self._responder.failed(answer.error, action, request, now)
        return self._responder.succeeded(answer.data, action, request, now)

    def refused(self, error: SqsError, request: HttpRequest, now: float) -> HttpResponse:
        """The response to a request that `authenticate` or `decode` refused."""
        action = named_action(request)
        return self._responder.failed(error, action if action in REQUESTS else "?", request, now)

    def raised(self, exc: Exception, action: str, request: HttpRequest, now: float) -> HttpResponse:
        """The response when `run` raised: the storage is unavailable, or there is a bug."""
        if isinstance(exc, StorageBroken) and not self.broken.done():
            self.broken.set_result(exc)
        if isinstance(exc, MulliganError):
            error = SqsError("ServiceUnavailable", str(exc))
        else:
            context = {"message": f"{action} raised {exc!r}", "exception": exc}
            asyncio.get_running_loop().call_exception_handler(context)
            error = SqsError("InternalFailure", f"{action}: {type(exc).__name__}: {exc}")
        return self._responder.failed(error, action, request, now)


def _trace(headers: Mapping[str, str]) -> str | None:
    text = headers.get("x-amzn-trace-id")
    return text if text and text.isascii() and text.isprintable() else None
