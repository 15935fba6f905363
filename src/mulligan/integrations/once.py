"""The rule by which every ready task creates something exactly once, as far as its service allows.

None of the services takes an idempotency key. So each object that is made carries the key of its message and task, and
what happened is read from how the call ended:

    not sent   nothing was done            try again after the task's backoff
    limited    nothing was done            try again after the wait that the service asks for, spread out
    refused    nothing was done, nor will  give up
    ambiguous  it may have been done       look for the key first, create again only if it is not found

An attempt that can't repeat anything creates without a look: the first one, and one after an attempt that surely did
nothing. One that may (after an ambiguous end, a timeout, a death of the worker, in a replay) looks first. That there
may be something, and since when, travels with the message in the reason of the failed attempt, so that any worker on
any machine knows it. Where the service's search lags, looking once is not enough: then the time starts a schedule of
looks. Nobody sleeps here: every wait is a `Retry`.
"""

import hashlib
import re
from typing import Protocol

from mulligan.core.policy import Backoff
from mulligan.core.value import value
from mulligan.integrations.failure import Ambiguous, Fault, NotSent, RateLimited, Refused
from mulligan.tasks.context import TaskContext
from mulligan.tasks.exceptions import GiveUp, Retry

__all__ = ["ATTEMPTS", "BACKOFF", "TIMEOUT_S", "RateLimitGate", "Service", "once", "spread_s"]

ATTEMPTS = 30
BACKOFF = Backoff(first_s=5.0, factor=2.0, max_s=1800.0)
"""Together: a service may be away for at least six hours (eleven at most) before a message is given up."""
TIMEOUT_S = 60.0
"""Above the deadlines of all calls of an attempt together, so that an attempt ends with its own reason."""

_SPREAD_MAX_S = 600.0
_NOTE = re.compile(r"\[may be there since (\d{1,11}\.\d{3})\]")


class Service(Protocol):
    """One object to create at one service.

    name: begins the reasons. looks_at_s: seconds after an ambiguous create at which to look, before creating again;
    () where what was created is found at once.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - see above
    @property
    def looks_at_s(self) -> tuple[float, ...]: ...  # noqa: D102

    async def find(self, key: str) -> str | None:
        """Where the object with this key is, None when there is none to be found. Raises Fault."""

    async def create(self, key: str) -> str:
        """Create it; where it is. Raises Fault."""


class RateLimitGate:
    """Shut while a service has asked this process to wait, so that it isn't asked again by every other message."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until = 0.0

    def shut(self, until: float) -> None:
        """Let nothing through before that time (epoch seconds)."""
        self._until = max(self._until, until)

    def wait_s(self, now: float) -> float:
        """Seconds until it opens; 0 when it is open."""
        return max(0.0, self._until - now)


@value
class _Past:
    """What earlier attempts may have left behind.

    must_look: something may have been created. maybe_since: epoch seconds of that, None when it doesn't matter when.
    """

    must_look: bool
    maybe_since: float | None


async def once(service: Service, context: TaskContext, gate: RateLimitGate, now: float) -> str:
    """Create the object unless it is there; where it is. now: epoch seconds.

    Raises Retry or GiveUp, whose reason begins with the service's name.
    """
    key = context.idempotency_key
    past = _past(service, context, now)
    if wait_s := gate.wait_s(now):
        raise _retry(service, context, RateLimited("asked to wait", wait_s), past.maybe_since)
    try:
        if past.must_look and (where := await service.find(key)) is not None:
            return where
    except Fault as exc:
        _shut(gate, exc, now)
        raise _ended(service, context, exc, past.maybe_since) from None
    if past.maybe_since is not None and service.looks_at_s:
        wait_s = _next_look_s(service.looks_at_s, now - past.maybe_since)
        if wait_s > 0:
            reason = "an earlier attempt may have created it; the search doesn't show it yet"
            raise _retry(service, context, Ambiguous(reason, wait_s), past.maybe_since)
    try:
        return await service.create(key)
    except Ambiguous as exc:
        first_s = service.looks_at_s[0] if service.looks_at_s else None
        after_s = max((one for one in (first_s, exc.after_s) if one is not None), default=None)
        raise _retry(service, context, Ambiguous(exc.reason, after_s), now) from None
    except Fault as exc:
        _shut(gate, exc, now)
        raise _ended(service, context, exc, None) from None


def spread_s(key: str, attempt: int) -> float:
    """Seconds between 0 and a window that doubles with each attempt: so that callers that have to wait come back
    one by one, however large it is. The same for the same attempt.
    """
    digest = hashlib.blake2b(f"{key}{attempt}".encode(), digest_size=4).digest()
    fraction = int.from_bytes(digest) / 2**32
    return float(fraction * min(_SPREAD_MAX_S, 2.0 ** (attempt - 1)))


def _past(service: Service, context: TaskContext, now: float) -> _Past:
    error = context.previous_error
    note = _NOTE.search(error) if error is not None else None
    # an attempt whose end is not by this module (timed out, died) may have ended at any point of it
    is_unknown = context.may_repeat or (error is not None and not error.startswith(f"{service.name}: "))
    if is_unknown:
        return _Past(True, now)
    return _Past(note is not None or context.generation > 0, float(note.group(1)) if note else None)


def _next_look_s(looks_at_s: tuple[float, ...], elapsed_s: float) -> float:
    """Seconds until the next look of the schedule; 0 when it is over."""
    return next((at_s - elapsed_s for at_s in looks_at_s if at_s > elapsed_s), 0.0)


def _shut(gate: RateLimitGate, fault: Fault, now: float) -> None:
    if isinstance(fault, RateLimited) and fault.after_s is not None:
        gate.shut(now + fault.after_s)


def _ended(service: Service, context: TaskContext, fault: Fault, maybe_since: float | None) -> Retry | GiveUp:
    if isinstance(fault, Refused):
        return GiveUp(f"{service.name}: {fault.reason}")
    return _retry(service, context, fault, maybe_since)


def _retry(service: Service, context: TaskContext, fault: Fault, maybe_since: float | None) -> Retry:
    after_s = fault.after_s
    if isinstance(fault, RateLimited):
        after_s = (after_s or 0.0) + spread_s(context.idempotency_key, context.attempt)
    if isinstance(fault, NotSent):
        after_s = None  # the task's backoff, which grows
    note = "" if maybe_since is None else f" [may be there since {maybe_since:.3f}]"
    return Retry(after_s, f"{service.name}: {fault.reason}{note}")
