"""A default task that calls a webhook, signed as Standard Webhooks say (https://www.standardwebhooks.com).

One call a message: a program counts for itself. `webhook-id` is the same on every attempt, so that it can fold them.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from mulligan.clock import SystemClock
from mulligan.core.message import Message
from mulligan.integrations import http
from mulligan.integrations.alert import alert_of, as_data
from mulligan.integrations.environment import missing, missing_extra, url_problems, variable
from mulligan.integrations.failure import Fault, RateLimited
from mulligan.integrations.once import ATTEMPTS, BACKOFF, TIMEOUT_S, spread_s
from mulligan.tasks.base import Task
from mulligan.tasks.context import TaskContext
from mulligan.tasks.exceptions import GiveUp, Retry

__all__ = ["WebhookAlertTask", "signature"]

EVENT_TYPE = "mulligan.dead_letter"
_PREFIX = "whsec_"


class WebhookAlertTask(Task):
    """Posts an alert to ALERT_WEBHOOK_URL, signed with ALERT_WEBHOOK_SECRET. shows_body: with the body's beginning."""

    max_attempts = ATTEMPTS
    backoff = BACKOFF
    timeout_s = TIMEOUT_S
    shows_body = False
    now: Callable[[], float] = staticmethod(SystemClock.now)

    def __init__(self) -> None:
        self._url = variable("ALERT_WEBHOOK_URL")
        self._secret = variable("ALERT_WEBHOOK_SECRET")

    def check(self) -> Sequence[str]:
        """Missing variables, a secret that is none; see `Task.check`."""
        problems = missing_extra() + missing(ALERT_WEBHOOK_URL=self._url, ALERT_WEBHOOK_SECRET=self._secret)
        if self._url:
            problems += url_problems("ALERT_WEBHOOK_URL", self._url)
        if self._secret and not _key_of(self._secret):
            problems.append(
                "ALERT_WEBHOOK_SECRET is not a secret of Standard Webhooks: whsec_ and then 24 to 64 bytes as base64. "
                "Make one: python -c \"import base64, os; print('whsec_' + base64.b64encode(os.urandom(32)).decode())\""
            )
        return problems

    async def run(self, message: Message, context: TaskContext) -> None:
        """Call the webhook."""
        now = self.now()
        alert = alert_of(message, context, now, shows_body=self.shows_body)
        event = {
            "type": EVENT_TYPE,
            "timestamp": datetime.fromtimestamp(now, UTC).isoformat(),
            "data": as_data(alert),
        }
        body = json.dumps(event).encode()
        key, at = context.idempotency_key, int(now)
        headers = {
            "content-type": "application/json",
            "webhook-id": key,
            "webhook-timestamp": str(at),
            "webhook-signature": signature(self._secret, key, at, body),
        }
        try:
            reply = await http.call("POST", self._url, headers=headers, content=body)
        except Fault as exc:
            raise Retry(exc.after_s, f"webhook: {exc.reason}") from None
        if 200 <= reply.status < 300:
            return
        if reply.status == 410:
            raise GiveUp("webhook: 410, its receiver wants no more events: correct ALERT_WEBHOOK_URL")
        # the specification: whatever is not 2xx is tried again
        fault = http.fault_of(reply, f"{reply.text or '(no text)'}", now)
        after_s = fault.after_s
        if isinstance(fault, RateLimited):
            after_s = (after_s or 0.0) + spread_s(key, context.attempt)
        raise Retry(after_s, f"webhook: {fault.reason}")


def signature(secret: str, message_id: str, at: int, body: bytes) -> str:
    """The value of `webhook-signature`. at: epoch seconds, as in `webhook-timestamp`."""
    signed = f"{message_id}.{at}.".encode() + body
    digest = hmac.new(_key_of(secret), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _key_of(secret: str) -> bytes:
    """The key in a secret; b"" when it is none."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        return b""
    return key if 24 <= len(key) <= 64 else b""
