"""The fault script: what the server does wrong on purpose, and when.

A script is a list of rules. A rule names an action (or all), the calls of it that are hit (by number, by chance with a
seed, at most so often) and one fault. All rules that match a call apply together. Loaded from JSON:

    {"seed": 7, "rules": [{"action": "ReceiveMessage", "chance": 0.1, "fault": {"kind": "duplicate"}},
                          {"action": "*", "calls": [3, 4], "fault": {"kind": "throttle"}}]}
"""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Literal

import msgspec

from mulligan.core.error import ConfigurationError
from mulligan.servers.sqs.wire.schema import REQUESTS

__all__ = [
    "BlackHole",
    "Cut",
    "Delay",
    "Duplicate",
    "Empty",
    "ExpireEarly",
    "Fail",
    "FailEntries",
    "Fault",
    "Faults",
    "Html",
    "Reorder",
    "Rule",
    "Script",
    "Skew",
    "Throttle",
    "parse",
    "read",
]


class _Fault(msgspec.Struct, forbid_unknown_fields=True, tag_field="kind"):
    pass


class Throttle(_Fault, tag="throttle"):
    """The request is refused as too many. code: RequestThrottled, ThrottlingException or KmsThrottled."""

    code: str = "RequestThrottled"


class Fail(_Fault, tag="fail"):
    """The request is answered with an error: any shape of the service model (or ExpiredTokenException, and so on)."""

    code: str = "ServiceUnavailable"
    message: str = "The service is unavailable, as the fault script asked."
    status: int | None = None


class Html(_Fault, tag="html"):
    """A page of HTML instead of JSON, as a proxy in between sends it."""

    status: int = 503


class Cut(_Fault, tag="cut"):
    """The connection ends, before or after the action is carried out.

    after_bytes: of the answer, sent first; if negative, all but so many.
    """

    when: Literal["before", "after"] = "after"
    after_bytes: int = 0


class BlackHole(_Fault, tag="black-hole"):
    """No answer at all. when: before the action is carried out, or after it."""

    when: Literal["before", "after"] = "before"


class Delay(_Fault, tag="delay"):
    """The answer comes late."""

    delay_s: float = 1.0


class Duplicate(_Fault, tag="duplicate"):
    """Each message received gets a twin with the same MessageId, which outlives the first one's deletion."""

    share: float = 1.0


class Reorder(_Fault, tag="reorder"):
    """Messages come in a random order (standard queues only)."""


class Empty(_Fault, tag="empty"):
    """A receive finds nothing, at once, whatever there is."""


class ExpireEarly(_Fault, tag="expire-early"):
    """Leases end after so many seconds, whatever was asked for."""

    after_s: float = 0.0


class FailEntries(_Fault, tag="fail-entries"):
    """Entries of a batch fail. share: how many of them, by chance."""

    share: float = 0.5
    code: str = "InternalFailure"
    message: str = "The entry failed, as the fault script asked."
    is_sender_fault: bool = False


class Skew(_Fault, tag="skew"):
    """The server's clock, as signatures and the Date header know it, is ahead by so many seconds."""

    by_s: float = 600.0


Fault = (
    Throttle | Fail | Html | Cut | BlackHole | Delay | Duplicate | Reorder | Empty | ExpireEarly | FailEntries | Skew
)


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a fault happens.

    action: its name, or "*".
    calls: numbers of the action's calls, from 1; empty for all.
    every: each so many-th call; 0 for all.
    chance: of a call to be hit.
    times: hits after which the rule is spent; 0 for no end.
    queue: name of the only queue that it is for.
    """

    fault: Fault
    action: str = "*"
    calls: tuple[int, ...] = ()
    every: int = 0
    chance: float = 1.0
    times: int = 0
    queue: str = ""


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rules, and the seed from which their chances follow."""

    rules: tuple[Rule, ...] = ()
    seed: int = 0


class Faults:
    """A script being played: counts calls and hits."""

    def __init__(self, script: Script | None = None) -> None:
        self.play(script or Script())

    def play(self, script: Script) -> None:
        """Start a script from its beginning."""
        self.script = script
        self.random = Random(script.seed)  # noqa: S311 - a fault script must be repeatable, not secret
        self._calls: dict[str, int] = {}
        self._hits = [0] * len(script.rules)

    def strike(self, action: str, queue: str) -> Sequence[Fault]:
        """The faults of this call."""
        if not self.script.rules:
            return ()
        number = self._calls[action] = self._calls.get(action, 0) + 1
        struck = []
        for index, rule in enumerate(self.script.rules):
            if self._matches(rule, index, action, queue, number):
                self._hits[index] += 1
                struck.append(rule.fault)
        return struck

    def _matches(self, rule: Rule, index: int, action: str, queue: str, number: int) -> bool:
        return (
            rule.action in {"*", action}
            and (not rule.queue or rule.queue == queue)
            and (not rule.calls or number in rule.calls)
            and (not rule.every or number % rule.every == 0)
            and (not rule.times or self._hits[index] < rule.times)
            and (rule.chance >= 1.0 or self.random.random() < rule.chance)
        )


def parse(data: bytes, where: str) -> Script:
    """A script from JSON. Raises ConfigurationError that says where and what."""
    try:
        script = msgspec.json.decode(data, type=Script)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ConfigurationError(
            [f"{where}: not a fault script: {exc}. See the docstring of servers/sqs/faults/script.py."]
        ) from None
    problems = [
        f"{where}: rule {index} is for the action {rule.action!r}, which doesn't exist; "
        f"expected '*' or one of {', '.join(sorted(REQUESTS))}."
        for index, rule in enumerate(script.rules, 1)
        if rule.action != "*" and rule.action not in REQUESTS
    ]
    if problems:
        raise ConfigurationError(problems)
    return script


def read(path: Path) -> Script:
    """A script from a file. Raises ConfigurationError."""
    try:
        return parse(path.read_bytes(), str(path))
    except OSError as exc:
        raise ConfigurationError([f"{path}: can't be read ({exc.strerror}): give the path of a JSON file."]) from None
