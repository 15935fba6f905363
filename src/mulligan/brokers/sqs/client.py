"""One call to SQS, until it has an answer or is over: signs, sends, repeats, repairs. Nothing else repeats.

Ends as a value or as BrokerUnavailable (may be tried again later) or ServiceRefused (will not get better). What is
repeated is bounded twice: by tries a call, and by a budget over all calls, so that an outage doesn't multiply requests.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from mulligan.brokers.base import Clock, Emit
from mulligan.brokers.sqs import codec
from mulligan.brokers.sqs.codec import Garbled, ServiceError
from mulligan.brokers.sqs.credentials import KeyRing
from mulligan.brokers.sqs.environment import Site
from mulligan.brokers.sqs.error import Reaction, ServiceRefused, reaction_to, refusal_text, stranger_hint
from mulligan.brokers.sqs.http import Keep, Pool, Response, Unreachable
from mulligan.brokers.sqs.sign import Keys, Signer
from mulligan.core.clock import Lead, lead
from mulligan.core.error import BrokerUnavailable
from mulligan.core.event import BrokerWarning
from mulligan.core.value import value

__all__ = ["READ_S", "Client", "Counts", "PollCut"]

T = TypeVar("T")

READ_S = 5.0
"""The longest silence of the service within an answer; a long poll's wait comes on top."""
TRIES = 3
RETRY_BASE_S, BACK_OFF_BASE_S, WAIT_MAX_S = 0.05, 0.5, 5.0
BUDGET = 100.0
RETRY_COST, SUCCESS_GAIN = 5.0, 1.0  # so at most one request in five is a repeat, once the budget is spent
SKEW_MIN_S = 60.0
"""AWS takes 5 minutes (15 for some calls); below this a refused signature has another reason."""
BILLED_BYTES = 65536
"""Every 64 KiB of a payload, begun, is one request on the bill."""


class Counts:
    """Plain counters by action, since the start. requests: sent, repeats included. billed: as AWS counts them."""

    __slots__ = ("billed", "errors", "requests", "retries", "throttled")

    def __init__(self) -> None:
        self.requests: dict[str, int] = {}
        self.billed: dict[str, int] = {}
        self.retries: dict[str, int] = {}
        self.throttled: dict[str, int] = {}
        self.errors: dict[str, int] = {}

    @staticmethod
    def add(counter: dict[str, int], action: str, count: int = 1) -> None:
        """One more (or `count`)."""
        counter[action] = counter.get(action, 0) + count


class PollCut(Exception):
    """A poll was cut as all are that take as long; see `cut`. It brought nothing."""


_CUT_STATUSES = (408, 502, 504)  # of a proxy that lost patience and says so, in words of its own

_DATE_ERROR_S = 1.0
"""An answer that tells the service's time to this is good enough: no other is looked at. A date has whole seconds."""

_PASSING = (Reaction.RETRY, Reaction.BACK_OFF, Reaction.SLOW_DOWN)


_SHOWN_BYTES = 80


def _with_hint(text: str, response: Response) -> str:
    hint = stranger_hint(response.status, response.headers, response.body)
    return f"{text}. {hint}" if hint else text


@value
class _Trouble:
    """Why one try failed. keys: that signed it. error, date: what the service said, where it said something.

    cut_after_s: seconds of silence after which something in between ended it; None where it ended in another way.
    """

    reaction: Reaction
    text: str
    keys: Keys
    error: ServiceError | None = None
    date: bytes = b""
    cut_after_s: float | None = None


class Client:
    """Calls to one site with one key ring. Belongs to one event loop."""

    def __init__(
        self,
        site: Site,
        ring: KeyRing,
        clock: Clock,
        emit: Emit,
        *,
        rand: Callable[[], float],
        pool: Pool | None = None,
    ) -> None:
        self.site = site
        self.counts = Counts()
        self._ring = ring
        self._clock = clock
        self._emit = emit
        self._rand = rand
        self._pool = pool or Pool(site.endpoint, tls=site.tls, proxy=site.proxy)
        self._signer: Signer | None = None
        self._skew_s = 0.0
        self.lead: Lead | None = None
        """This machine's clock against the service's; None once that is corrected, which is told of by itself."""
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
        keep: Keep | None = None,
        is_usual: Callable[[float | None], bool] | None = None,
    ) -> T:
        """What `read` makes of the answer's body; `Garbled` from it is a passing fault.

        where: the queue, for error texts. wait_s: how long the service may wait by itself. keep: as in `Pool.exchange`.
        is_usual: asked about each try that brought no answer of the service, with `_Trouble.cut_after_s`; when it says
        so, PollCut is raised.
        """
        body_hash = hashlib.sha256(body).hexdigest()
        tries = 0
        mended: set[str] = set()
        while True:
            tries += 1
            result = await self._try(action, body, body_hash, read, wait_s, keep)
            if not isinstance(result, _Trouble):
                return result
            Counts.add(self.counts.errors, action)
            reaction, error = result.reaction, result.error
            if error is None and is_usual is not None and is_usual(result.cut_after_s):
                raise PollCut
            if await self._repair(result, mended):
                continue
            if error is not None and reaction not in _PASSING:
                raise ServiceRefused(error.code, self._refusal(action, where, error))
            await self._before_retry(action, reaction, tries, f"{where}: {action} failed: {result.text}")

    async def _try(
        self, action: str, body: bytes, body_hash: str, read: Callable[[bytes], T], wait_s: float, keep: Keep | None
    ) -> "T | _Trouble":
        """One request, signed and sent."""
        clock = self._clock
        self._ring.look_after(clock.monotonic())
        signer = self._signer
        if signer is None or signer.keys is not self._ring.keys:
            signer = await self._make_signer()
        asked_at = clock.now()
        head = signer.head(action, body_hash, len(body), asked_at + self._skew_s)
        Counts.add(self.counts.requests, action)
        began_at = clock.monotonic()
        try:
            response = await self._pool.exchange(head + body, wait_s + READ_S, keep)
            if response.sent_count > 1:
                Counts.add(self.counts.requests, action, response.sent_count - 1)
            if not self._skew_s and (self.lead is None or self.lead.error_s > _DATE_ERROR_S):
                self._compare(asked_at, response.headers.get(b"date", b""))
            if response.status == 200:
                result = read(response.body)
                self._succeeded(action, len(body) + len(response.body))
                return result
        except Unreachable as exc:
            return _Trouble(Reaction.RETRY, str(exc), signer.keys, cut_after_s=exc.cut_after_s)
        except Garbled as exc:
            return _Trouble(Reaction.RETRY, _with_hint(str(exc), response), signer.keys)
        error = codec.read_error(response.status, response.headers, response.body)
        if error is None:
            text = f"HTTP {response.status}, and {response.body[:_SHOWN_BYTES]!r} is no answer of SQS"
            text = _with_hint(text, response)
            reaction = Reaction.BACK_OFF if response.status == 429 else Reaction.RETRY
            cut_after_s = clock.monotonic() - began_at if response.status in _CUT_STATUSES else None
            return _Trouble(reaction, text, signer.keys, cut_after_s=cut_after_s)
        text = f"{error.code} (HTTP {error.status}): {error.message or 'no reason given'}"
        return _Trouble(reaction_to(error), text, signer.keys, error, response.headers.get(b"date", b""))

    async def call_object(self, action: str, data: Mapping[str, Any], *, where: str) -> dict[str, Any]:
        """A rare call: any request as a mapping, the answer as a dict."""
        return await self.call(action, codec.encode(data), codec.read_object, where=where)

    def stop_retries(self) -> None:
        """From now on the first failure of a call is its last, and no call waits for keys: we are closing."""
        self._closing.set()
        self._ring.close()

    async def close(self) -> None:
        """Close the connections. Twice is once."""
        self.stop_retries()
        await self._pool.close()

    # -- inside

    async def _make_signer(self) -> Signer:
        keys = await self._ring.ready()
        if self._signer is None or self._signer.keys is not keys:
            self._signer = Signer(keys, region=self.site.region, host=self.site.endpoint.authority)
        return self._signer

    async def _repair(self, trouble: "_Trouble", mended: set[str]) -> bool:
        """Mend what made the service refuse the signature, each thing once a call; True: sign again at once."""
        is_clock = trouble.reaction in (Reaction.CHECK_CLOCK, Reaction.CHECK_SIGNATURE)
        if is_clock and "clock" not in mended and self._correct_clock(trouble.date):
            mended.add("clock")
            return True
        is_keys = trouble.reaction in (Reaction.RENEW_KEYS, Reaction.OTHER_KEYS, Reaction.CHECK_SIGNATURE)
        if not is_keys or "keys" in mended:
            return False
        try:
            are_others = await self._ring.renew(trouble.keys)
        except BrokerUnavailable as exc:
            raise BrokerUnavailable(f"{trouble.text}; {exc}") from None
        if are_others:
            mended.add("keys")
            if trouble.reaction is not Reaction.RENEW_KEYS:
                self._tell_of_keys(trouble)
        return are_others

    def _tell_of_keys(self, trouble: "_Trouble") -> None:
        code = trouble.error.code if trouble.error is not None else ""
        text = (
            f"the service refused the access key ...{trouble.keys.access_key[-4:]} ({code}). Others were found when "
            f"they were looked for again, and are used from now on."
        )
        self._emit(BrokerWarning(self.site.endpoint.authority, text))

    def _compare(self, asked_at: float, date: bytes) -> None:
        """Keep what an answer tells of the clock, if it tells more than those before."""
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
        self._emit(BrokerWarning(self.site.endpoint.authority, text))
        return True

    async def _before_retry(self, action: str, reaction: Reaction, tries: int, text: str) -> None:
        """Wait before the next try, or raise when there is none."""
        is_throttle = reaction in (Reaction.BACK_OFF, Reaction.SLOW_DOWN)
        if is_throttle:
            Counts.add(self.counts.throttled, action)
        may_retry = reaction is not Reaction.SLOW_DOWN and tries < TRIES and self._budget >= RETRY_COST
        if not may_retry or self._closing.is_set():
            raise BrokerUnavailable(f"{text} (tried {tries}x at {self.site.url})")
        self._budget -= RETRY_COST
        longest_s = min(WAIT_MAX_S, (BACK_OFF_BASE_S if is_throttle else RETRY_BASE_S) * 2**tries)
        try:
            async with asyncio.timeout(self._rand() * longest_s):
                await self._closing.wait()
        except TimeoutError:
            Counts.add(self.counts.retries, action)
            return
        raise BrokerUnavailable(f"{text} (closing, so not tried again)")

    def _refusal(self, action: str, where: str, error: ServiceError) -> str:
        return refusal_text(action, f"{where} at {self.site.url} ({self.site.region})", error)

    def _succeeded(self, action: str, payload_bytes: int) -> None:
        self._budget = min(BUDGET, self._budget + SUCCESS_GAIN)
        Counts.add(
            self.counts.billed, action, 1 if payload_bytes <= BILLED_BYTES else -(-payload_bytes // BILLED_BYTES)
        )


def _epoch(date: bytes) -> float | None:
    """Epoch seconds of an answer's date; None when there is none that can be read."""
    try:
        return parsedate_to_datetime(date.decode("latin-1")).timestamp()
    except ValueError:
        return None
