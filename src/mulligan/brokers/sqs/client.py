"""One call to SQS, until it has an answer or has failed: signs, sends, retries, repairs. Nothing else retries.

Ends as a value, as BrokerUnavailable (may be tried again later) or as ServiceRefused (a retry would not help). Retries
are limited twice: by tries per call, and by a budget over all calls, so that an outage doesn't multiply requests.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from mulligan.brokers.base import Clock, Emit
from mulligan.brokers.sqs import codec
from mulligan.brokers.sqs.codec import InvalidResponse, ServiceError
from mulligan.brokers.sqs.credentials import Credentials
from mulligan.brokers.sqs.environment import EndpointConfig
from mulligan.brokers.sqs.error import Reaction, ServiceRefused, reaction_to, refusal_text, stranger_hint
from mulligan.brokers.sqs.http import OnAbandoned, Pool, Response, Unreachable
from mulligan.brokers.sqs.sign import Keys, Signer
from mulligan.core.clock import Lead, lead
from mulligan.core.error import BrokerUnavailable
from mulligan.core.event import BrokerWarning
from mulligan.core.value import value

__all__ = ["READ_S", "Client", "Counts", "PollCut"]

T = TypeVar("T")

READ_S = 5.0
"""The longest silence of the service within an answer, in addition to the wait of a long poll."""
TRIES = 3
RETRY_BASE_S, BACK_OFF_BASE_S, WAIT_MAX_S = 0.05, 0.5, 5.0
BUDGET = 100.0
RETRY_COST, SUCCESS_GAIN = 5.0, 1.0  # once the budget is spent, at most one request in five is a retry
SKEW_MIN_S = 60.0
"""AWS accepts a skew of 5 minutes (15 for some calls); below this a refused signature has another reason."""
BILLED_BYTES = 65536
"""A payload is billed as one request per 64 KiB or part of it."""


class Counts:
    """Counters by action, since the start. requests: sent, retries included. billed: as AWS counts them."""

    __slots__ = ("billed", "errors", "requests", "retries", "throttled")

    def __init__(self) -> None:
        self.requests: dict[str, int] = {}
        self.billed: dict[str, int] = {}
        self.retries: dict[str, int] = {}
        self.throttled: dict[str, int] = {}
        self.errors: dict[str, int] = {}

    @staticmethod
    def add(counter: dict[str, int], action: str, count: int = 1) -> None:
        """Add `count` for the action."""
        counter[action] = counter.get(action, 0) + count


class PollCut(Exception):
    """A poll was cut as all polls of this length are; see `cut`. It received nothing."""


_CUT_STATUSES = (408, 502, 504)  # of a proxy whose timeout has passed

_DATE_ERROR_S = 1.0
"""Once an answer shows the service's time this exactly, no other is looked at. A date has whole seconds."""

_TRANSIENT = (Reaction.RETRY, Reaction.BACK_OFF, Reaction.SLOW_DOWN)


_SHOWN_BYTES = 80


def _with_hint(text: str, response: Response) -> str:
    hint = stranger_hint(response.status, response.headers, response.body)
    return f"{text}. {hint}" if hint else text


@value
class _Failure:
    """Why one try failed. keys: that signed it. error, date: of the service's answer, where there was one.

    cut_after_s: seconds of silence after which a device on the way closed it; None where it ended in another way.
    """

    reaction: Reaction
    text: str
    keys: Keys
    error: ServiceError | None = None
    date: bytes = b""
    cut_after_s: float | None = None


class Client:
    """Calls to one endpoint with one set of credentials. Belongs to one event loop."""

    def __init__(
        self,
        config: EndpointConfig,
        credentials: Credentials,
        clock: Clock,
        emit: Emit,
        *,
        rand: Callable[[], float],
        pool: Pool | None = None,
    ) -> None:
        self.config = config
        self.counts = Counts()
        self._credentials = credentials
        self._clock = clock
        self._emit = emit
        self._rand = rand
        self._pool = pool or Pool(config.endpoint, tls=config.tls, proxy=config.proxy)
        self._signer: Signer | None = None
        self._skew_s = 0.0
        self.lead: Lead | None = None
        """This machine's clock against the service's; None once requests are signed with a corrected time."""
        self._budget = BUDGET
        self._closing = asyncio.Event()

    async def call(
        self,
        action: str,
        body: bytes,
        read: Callable[[bytes], T],
        *,
        where: str,
        wait_s: float = 0.0,
        on_abandoned: OnAbandoned | None = None,
        is_usual: Callable[[float | None], bool] | None = None,
    ) -> T:
        """What `read` returns for the answer's body. When it raises InvalidResponse, the call is retried.

        where: the queue, for error texts. wait_s: of a long poll. on_abandoned: as in `Pool.exchange`.
        is_usual: called for each try without an answer of the service, with `_Failure.cut_after_s`; PollCut is raised
        when it returns true.
        """
        body_hash = hashlib.sha256(body).hexdigest()
        tries = 0
        repaired: set[str] = set()
        while True:
            tries += 1
            result = await self._try(action, body, body_hash, read, wait_s, on_abandoned)
            if not isinstance(result, _Failure):
                return result
            Counts.add(self.counts.errors, action)
            reaction, error = result.reaction, result.error
            if error is None and is_usual is not None and is_usual(result.cut_after_s):
                raise PollCut
            if await self._repair(result, repaired):
                continue
            if error is not None and reaction not in _TRANSIENT:
                raise ServiceRefused(error.code, self._refusal(action, where, error))
            await self._before_retry(action, reaction, tries, f"{where}: {action} failed: {result.text}")

    async def _try(
        self,
        action: str,
        body: bytes,
        body_hash: str,
        read: Callable[[bytes], T],
        wait_s: float,
        on_abandoned: OnAbandoned | None,
    ) -> "T | _Failure":
        """One request, signed and sent."""
        clock = self._clock
        self._credentials.refresh_if_due(clock.monotonic())
        signer = self._signer
        if signer is None or signer.keys is not self._credentials.keys:
            signer = await self._make_signer()
        asked_at = clock.now()
        head = signer.head(action, body_hash, len(body), asked_at + self._skew_s)
        Counts.add(self.counts.requests, action)
        began_at = clock.monotonic()
        try:
            response = await self._pool.exchange(head + body, wait_s + READ_S, on_abandoned)
            if response.sent_count > 1:
                Counts.add(self.counts.requests, action, response.sent_count - 1)
            if not self._skew_s and (self.lead is None or self.lead.error_s > _DATE_ERROR_S):
                self._compare(asked_at, response.headers.get(b"date", b""))
            if response.status == 200:
                result = read(response.body)
                self._succeeded(action, len(body) + len(response.body))
                return result
        except Unreachable as exc:
            return _Failure(Reaction.RETRY, str(exc), signer.keys, cut_after_s=exc.cut_after_s)
        except InvalidResponse as exc:
            return _Failure(Reaction.RETRY, _with_hint(str(exc), response), signer.keys)
        error = codec.read_error(response.status, response.headers, response.body)
        if error is None:
            text = f"HTTP {response.status}, and {response.body[:_SHOWN_BYTES]!r} is not an answer from SQS"
            text = _with_hint(text, response)
            reaction = Reaction.BACK_OFF if response.status == 429 else Reaction.RETRY
            cut_after_s = clock.monotonic() - began_at if response.status in _CUT_STATUSES else None
            return _Failure(reaction, text, signer.keys, cut_after_s=cut_after_s)
        text = f"{error.code} (HTTP {error.status}): {error.message or 'no reason given'}"
        return _Failure(reaction_to(error), text, signer.keys, error, response.headers.get(b"date", b""))

    async def call_object(self, action: str, data: Mapping[str, Any], *, where: str) -> dict[str, Any]:
        """A rare call: any request as a mapping, the answer as a dict."""
        return await self.call(action, codec.encode(data), codec.read_object, where=where)

    def stop_retries(self) -> None:
        """Before `close`: from now on no call is retried, and none waits for keys."""
        self._closing.set()
        self._credentials.close()

    async def close(self) -> None:
        """Close the connections. May be called twice."""
        self.stop_retries()
        await self._pool.close()

    # -- inside

    async def _make_signer(self) -> Signer:
        keys = await self._credentials.ready()
        if self._signer is None or self._signer.keys is not keys:
            self._signer = Signer(keys, region=self.config.region, host=self.config.endpoint.authority)
        return self._signer

    async def _repair(self, failure: "_Failure", repaired: set[str]) -> bool:
        """Correct clock or keys after a refused signature, each once per call. True: sign again now."""
        is_clock = failure.reaction in (Reaction.CHECK_CLOCK, Reaction.CHECK_SIGNATURE)
        if is_clock and "clock" not in repaired and self._correct_clock(failure.date):
            repaired.add("clock")
            return True
        is_keys = failure.reaction in (Reaction.RENEW_KEYS, Reaction.OTHER_KEYS, Reaction.CHECK_SIGNATURE)
        if not is_keys or "keys" in repaired:
            return False
        try:
            are_others = await self._credentials.renew(failure.keys)
        except BrokerUnavailable as exc:
            raise BrokerUnavailable(f"{failure.text}; {exc}") from None
        if are_others:
            repaired.add("keys")
            if failure.reaction is not Reaction.RENEW_KEYS:
                self._report_keys(failure)
        return are_others

    def _report_keys(self, failure: "_Failure") -> None:
        code = failure.error.code if failure.error is not None else ""
        text = (
            f"the service refused the access key ...{failure.keys.access_key[-4:]} ({code}). A new "
            f"search found others, which are used from now on."
        )
        self._emit(BrokerWarning(self.config.endpoint.authority, text))

    def _compare(self, asked_at: float, date: bytes) -> None:
        """Keep what an answer shows about the clock, if it is more exact than the answers before."""
        served_at = _epoch(date)
        if served_at is None:
            return
        found = lead(asked_at, self._clock.now(), served_at, 1.0)
        if self.lead is None or found.error_s < self.lead.error_s:
            self.lead = found

    def _correct_clock(self, date: bytes) -> bool:
        served_at = _epoch(date)
        if served_at is None:
            return False
        skew_s = served_at - self._clock.now()
        if abs(skew_s - self._skew_s) < SKEW_MIN_S:
            return False
        self._skew_s, self.lead = skew_s, None
        text = (
            f"this machine's clock is off by {-skew_s:+.0f} s; requests are signed with the service's time. "
            f"Set the clock (NTP): delays and expiries here are off as well."
        )
        self._emit(BrokerWarning(self.config.endpoint.authority, text))
        return True

    async def _before_retry(self, action: str, reaction: Reaction, tries: int, text: str) -> None:
        """Wait before the next try, or raise when there is none."""
        is_throttle = reaction in (Reaction.BACK_OFF, Reaction.SLOW_DOWN)
        if is_throttle:
            Counts.add(self.counts.throttled, action)
        may_retry = reaction is not Reaction.SLOW_DOWN and tries < TRIES and self._budget >= RETRY_COST
        if not may_retry or self._closing.is_set():
            raise BrokerUnavailable(f"{text} (tried {tries}x at {self.config.url})")
        self._budget -= RETRY_COST
        longest_s = min(WAIT_MAX_S, (BACK_OFF_BASE_S if is_throttle else RETRY_BASE_S) * 2**tries)
        try:
            async with asyncio.timeout(self._rand() * longest_s):
                await self._closing.wait()
        except TimeoutError:
            Counts.add(self.counts.retries, action)
            return
        raise BrokerUnavailable(f"{text} (closing, so not retried)")

    def _refusal(self, action: str, where: str, error: ServiceError) -> str:
        return refusal_text(action, f"{where} at {self.config.url} ({self.config.region})", error)

    def _succeeded(self, action: str, payload_bytes: int) -> None:
        self._budget = min(BUDGET, self._budget + SUCCESS_GAIN)
        Counts.add(
            self.counts.billed, action, 1 if payload_bytes <= BILLED_BYTES else -(-payload_bytes // BILLED_BYTES)
        )


def _epoch(date: bytes) -> float | None:
    """Epoch seconds of an answer's date; None for a date that is missing or unreadable."""
    try:
        return parsedate_to_datetime(date.decode("latin-1")).timestamp()
    except ValueError:
        return None
