"""What a run with `--drain` has to leave: copies whose state this program can't read (see `hold`).

Until a released copy may be received again nobody can take it from its queue, so it is there for certain: what the
broker counts beyond such copies is for us to do.
"""

from mulligan.core.delivery import Depth
from mulligan.core.error import LeftUndoneError
from mulligan.core.message import QueueName
from mulligan.core.story import VERSION
from mulligan.worker.channel import LeftAlone

__all__ = ["Remainder"]

_STILL_S = 30.0
"""Seconds without a message that can be read, longer than a receive waits, after which what is ready counts as waiting
behind a copy of its group: no broker tells how many do."""


class Remainder:
    """Of the rejects queue. Knows nothing until it is told, so what it says is never too much."""

    def __init__(self) -> None:
        self._copies: dict[str, LeftAlone] = {}
        self._received = -1
        self._still_since = 0.0

    def add(self, told: LeftAlone) -> None:
        """A copy was released."""
        self._copies[told.id] = told

    def is_all(self, requests: Depth, rejects: Depth, received: int, now: float) -> bool:
        """Whether the two queues hold nothing else. True for empty ones, too.

        received: messages that could be read, so far. now: monotonic seconds.
        """
        if received != self._received:
            self._received, self._still_since = received, now
        self._copies = {name: one for name, one in self._copies.items() if one.until > now}
        if requests.total:
            return False
        if rejects.total <= len(self._copies):
            return True
        has_moved = now - self._still_since < _STILL_S
        is_blocked = any(one.in_group for one in self._copies.values())
        return is_blocked and not has_moved and rejects.total - rejects.ready <= len(self._copies)

    def error(self, queue: QueueName, depth: int) -> LeftUndoneError | None:
        """What is left, in words; None when that is nothing. depth: what the broker counts."""
        if not self._copies:
            return None
        count = max(depth, len(self._copies))
        versions = sorted({one.version for one in self._copies.values() if one.version is not None})
        damaged = sum(one.version is None for one in self._copies.values())
        parts: list[str] = []
        if versions:
            parts.append(
                f"{len(self._copies) - damaged} with a state of version {', '.join(map(str, versions))}, this program"
                f" knows {VERSION}: upgrade it, or let the newer one run that wrote them"
            )
        if damaged:
            parts.append(
                f"{damaged} with a state that can't be read: look at them with `mulligan peek rejects` and mend or"
                " remove them at the broker"
            )
        if count > len(self._copies):
            parts.append(f"{count - len(self._copies)} behind them in their message groups")
        noun = "message is" if count == 1 else "messages are"
        return LeftUndoneError(f"{queue}: {count} {noun} left, neither run nor removed: {'; '.join(parts)}.")
