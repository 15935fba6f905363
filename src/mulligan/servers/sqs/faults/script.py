"""The fault script: what the server does wrong on purpose, and when.

A script is a list of rules. A rule names an action (or all), the calls of it that are hit (by number, by chance with a
seed, with a maximum of hits) and one fault. All rules that match a call apply together. Loaded from JSON:

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
    """The request is throttled. code: RequestThrottled, ThrottlingException or KmsThrottled."""

    code: str = "RequestThrottled"


class Fail(_Fault, tag="fail"):
    """The answer is an error: any shape of the service model, or one common to AWS such as ExpiredTokenException."""

    code: str = "ServiceUnavailable"
    message: str = "The service is unavailable, as the fault script asked."
    status: int | None = None


class Html(_Fault, tag="html"):
    """The answer is an HTML page in place of JSON, as a proxy would send it."""

    status: int = 503


class Cut(_Fault, tag="cut"):
    """The connection ends, before or after the action is carried out.

    after_bytes: how much of the response is sent first; -n sends all but the last n.
    """

    when: Literal["before", "after"] = "after"
    after_bytes: int = 0


class BlackHole(_Fault, tag="black-hole"):
    """No response at all. when: before the action is carried out, or after it."""

    when: Literal["before", "after"] = "before"


class Delay(_Fault, tag="delay"):
    """The response comes late."""

    delay_s: float = 1.0


class Duplicate(_Fault, tag="duplicate"):
    """Each received message gets a duplicate with the same MessageId, which stays when the first one is deleted."""

    share: float = 1.0


class Reorder(_Fault, tag="reorder"):
    """Messages are received in a random order (standard queues only)."""


class Empty(_Fault, tag="empty"):
    """A receive returns nothing, immediately, even if there are messages."""


class ExpireEarly(_Fault, tag="expire-early"):
    """Leases end after `after_s` seconds, whatever was requested."""

    after_s: float = 0.0


class FailEntries(_Fault, tag="fail-entries"):
    """Entries of a batch fail. share: the probability for each entry."""

    share: float = 0.5
    code: str = "InternalFailure"
    message: str = "The entry failed, as the fault script asked."
    is_sender_fault: bool = False


class Skew(_Fault, tag="skew"):
    """The server's clock is ahead by `by_s` seconds, for signatures and the Date header."""

    by_s: float = 600.0


Fault = (
    Throttle | Fail | Html | Cut | BlackHole | Delay | Duplicate | Reorder | Empty | ExpireEarly | FailEntries | Skew
)


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a fault happens.

    action: its name, or "*".
    calls: numbers of the action's calls, from 1; empty for all.
    every: each n-th call; 0 for all.
    chance: probability that a call is hit, 0 to 1.
    times: maximum of hits; 0 for no limit.
    queue: name of the only queue that the rule is for; "" for all.
    """

    fault: Fault
    action: str = "*"
    calls: tuple[int, ...] = ()
    every: int = 0
    chance: float = 1.0
    times: int = 0
    queue: str = ""


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rules, and the seed of their chances."""

    rules: tuple[Rule, ...] = ()
    seed: int = 0


class Faults:
    """A running script: counts calls and hits."""

    def __init__(self, script: Script | None = None) -> None:
        self.play(script or Script())

    def play(self, script: Script) -> None:
        """Start a script from its beginning."""
        self.script = script
        self.random = Random(script.seed)  # noqa: S311 - a fault script must be repeatable, not secret
        self._calls: dict[str, int] = {}
        self._hits = [0] * len(script.rules)

    def active_faults(self, action: str, queue: str) -> Sequence[Fault]:
        """Count a call, and return the faults that hit it."""
        if not self.script.rules:
            return ()
        number = self._calls[action] = self._calls.get(action, 0) + 1
        active = []
        for index, rule in enumerate(self.script.rules):
            if self._matches(rule, index, action, queue, number):
                self._hits[index] += 1
                active.append(rule.fault)
        return active

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
    """A script from JSON. where: named in errors. Raises ConfigurationError."""
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
