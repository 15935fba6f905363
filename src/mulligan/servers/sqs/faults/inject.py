"""A wrapper around the action handler that makes requests go wrong as the fault script says.

Without an active fault it passes a request on. Otherwise it takes the request through the handler's steps itself, and
acts between them: a skewed clock before authentication, errors and cuts in place of the action, a `FaultEffect` inside
the action, delays and cuts after it.
"""

import asyncio
import re
from collections.abc import Awaitable, Sequence
from typing import Any, assert_never

from mulligan.brokers.base import Clock
from mulligan.servers.sqs.actions.context import FaultEffect
from mulligan.servers.sqs.dispatch import Answer
from mulligan.servers.sqs.faults import script
from mulligan.servers.sqs.faults.script import Fault, Faults
from mulligan.servers.sqs.handler import ActionHandler, named_action
from mulligan.servers.sqs.wire.error import SqsError
from mulligan.servers.sqs.wire.http import HttpRequest, HttpResponse
from mulligan.servers.sqs.wire.response import Counters, Responder

__all__ = ["FaultInjector"]

_QUEUE_IN_BODY = re.compile(rb'"QueueUrl"\s*:\s*"(?:[^"]*/)?([A-Za-z0-9_.-]+)/?"')
"""Exact enough for faults, which are chosen before the body is decoded; permissions are checked on the decoded body."""
_HTML = b"<html><head><title>Service Unavailable</title></head><body><h1>Service Unavailable</h1></body></html>\n"


class FaultInjector:
    """Handles actions like the handler that it wraps, but for the faults of the script."""

    def __init__(
        self, handler: ActionHandler, faults: Faults, counters: Counters, responder: Responder, clock: Clock
    ) -> None:
        self._handler = handler
        self._faults = faults
        self._counters = counters
        self._responder = responder
        self._clock = clock

    def handle(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        """The response to an action's request, with the faults that are active for it."""
        if not self._faults.script.rules:
            return self._handler.handle(request)
        found = _QUEUE_IN_BODY.search(request.body)
        active = self._faults.active_faults(named_action(request), found.group(1).decode() if found else "")
        if not active:
            return self._handler.handle(request)
        return self._handle_with(active, request)

    def _handle_with(self, active: Sequence[Fault], request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        handler = self._handler
        now = self._clock.now() + sum(fault.by_s for fault in active if isinstance(fault, script.Skew))
        try:
            identity = handler.authenticate(request, now)
            response = self._in_place_of_action(active, request, now)
            if response is not None:
                return response
            decoded = handler.decode(request, identity)
        except SqsError as error:
            return handler.refused(error, request, now)
        try:
            answer = handler.run(decoded, identity, request, self._effect(active))
        except Exception as exc:  # noqa: BLE001 - reported to the client as the service would; the text has the reason
            return handler.raised(exc, decoded.action, request, now)
        return self._after_action(answer, active, decoded.action, request, now)

    def _in_place_of_action(
        self, active: Sequence[Fault], request: HttpRequest, now: float
    ) -> HttpResponse | Awaitable[HttpResponse] | None:
        """What the first such fault answers; None when the action is to be carried out. Raises SqsError."""
        action = named_action(request)
        for fault in active:
            match fault:
                case script.Throttle():
                    raise SqsError(fault.code, "Request is throttled, as the fault script asked.")
                case script.Fail():
                    raise SqsError(fault.code, fault.message, status=fault.status)
                case script.Html():
                    self._counters.count(action, "html")
                    return self._responder.page(fault.status, "text/html", _HTML, request, now)
                case script.Cut(when="before"):
                    self._counters.count(action, "cut before")
                    return HttpResponse(b"", is_cut=True)
                case script.BlackHole(when="before"):
                    self._counters.count(action, "black hole before")
                    return asyncio.get_running_loop().create_future()
                case (
                    script.Cut()
                    | script.BlackHole()
                    | script.Delay()
                    | script.Duplicate()
                    | script.Reorder()
                    | script.Empty()
                    | script.ExpireEarly()
                    | script.FailEntries()
                    | script.Skew()
                ):
                    pass
                case _:
                    assert_never(fault)
        return None

    def _effect(self, active: Sequence[Fault]) -> FaultEffect:
        def last(kind: type[Any]) -> Any:
            return next((fault for fault in reversed(active) if isinstance(fault, kind)), None)

        duplicate, expire, entries = last(script.Duplicate), last(script.ExpireEarly), last(script.FailEntries)
        return FaultEffect(
            random=self._faults.random,
            is_empty=last(script.Empty) is not None,
            is_reordered=last(script.Reorder) is not None,
            duplicate_share=duplicate.share if duplicate else 0.0,
            lease_s=expire.after_s if expire else None,
            failing_share=entries.share if entries else 0.0,
            failing_code=entries.code if entries else "",
            failing_text=entries.message if entries else "",
            is_sender_fault=entries.is_sender_fault if entries else False,
        )

    async def _after_action(
        self,
        pending: Answer | Awaitable[Answer],
        active: Sequence[Fault],
        action: str,
        request: HttpRequest,
        now: float,
    ) -> HttpResponse:
        try:
            answer = pending if isinstance(pending, Answer) else await pending
        except Exception as exc:  # noqa: BLE001 - as above
            return self._handler.raised(exc, action, request, now)
        response = self._handler.answered(answer, action, request, now)
        for fault in active:
            match fault:
                case script.Delay():
                    await asyncio.sleep(fault.delay_s)
                case script.Cut(when="after"):
                    self._counters.count(action, "cut after")
                    response = HttpResponse(response.data[: fault.after_bytes], is_cut=True)
                case script.BlackHole(when="after"):
                    self._counters.count(action, "black hole after")
                    await asyncio.get_running_loop().create_future()
                case _:
                    pass  # it took effect earlier
        return response
