"""What a run with `--drain` has to leave: copies whose state this program can't read (see `held_copies`), those whose
body is not available, messages whose row in the ledger can't be read, and those that wait for a task which is not in
its tasks.xml.

Until such a message may be received again nobody can take it from its queue, so it is there for certain: what the
broker counts beyond them is for us to do.
"""

from collections.abc import Sequence

from mulligan.core.delivery import Depth
from mulligan.core.error import LeftUndoneError
from mulligan.core.message import QueueName
from mulligan.core.retry_state import VERSION
from mulligan.worker.ipc.channel import LeftAlone

__all__ = ["Remainder"]

_STILL_S = 30.0
"""Seconds without a message that can be read, longer than a receive waits, after which what is ready counts as waiting
behind one of its group: no broker knows how many do."""


class Remainder:
    """Of requests and rejects. Knows nothing until a worker reports, so what it says is never too much."""

    def __init__(self) -> None:
        self._left: dict[tuple[bool, str], LeftAlone] = {}
        self._received = -1
        self._still_since = 0.0

    def add(self, reasons: LeftAlone) -> None:
        """A message was left alone."""
        self._left[reasons.on_requests, reasons.id] = reasons

    def is_all(self, requests: Depth, rejects: Depth, received: int, now: float) -> bool:
        """Whether the two queues hold nothing else. True for empty ones, too.

        received: messages that could be read, so far. now: monotonic seconds.
        """
        if received != self._received:
            self._received, self._still_since = received, now
        self._left = {name: one for name, one in self._left.items() if one.until > now}
        has_moved = now - self._still_since < _STILL_S
        return all(
            _is_all(depth, self._on(requests=on_requests), has_moved=has_moved)
            for depth, on_requests in ((requests, True), (rejects, False))
        )

    def error(self, queues: Sequence[QueueName], depths: Sequence[int]) -> LeftUndoneError | None:
        """What is left, in words; None when that is nothing. queues, depths: requests and rejects, and what the broker
        counts of each.
        """
        reasons = [
            _described(queue, depth, left)
            for queue, depth, on_requests in zip(queues, depths, (True, False), strict=True)
            if (left := self._on(requests=on_requests))
        ]
        return LeftUndoneError(" ".join(reasons)) if reasons else None

    def _on(self, *, requests: bool) -> list[LeftAlone]:
        return [one for one in self._left.values() if one.on_requests is requests]


def _is_all(depth: Depth, left: Sequence[LeftAlone], *, has_moved: bool) -> bool:
    if depth.total <= len(left):
        return True
    is_blocked = any(one.in_group for one in left)
    return is_blocked and not has_moved and depth.total - depth.ready <= len(left)


def _described(queue: QueueName, depth: int, left: Sequence[LeftAlone]) -> str:
    count = max(depth, len(left))
    unread = [one for one in left if not (one.tasks or one.lacks_body or one.lacks_row)]
    versions = sorted({one.version for one in unread if one.version is not None})
    damaged = sum(one.version is None for one in unread)
    parts: list[str] = []
    if versions:
        parts.append(
            f"{len(unread) - damaged} with a state of version {', '.join(map(str, versions))}, this program"
            f" knows {VERSION}: upgrade it, or let the newer one run that wrote them"
        )
    if damaged:
        parts.append(
            f"{damaged} with a state that can't be read: look at them with `mulligan peek"
            f" {'requests' if unread[0].on_requests else 'rejects'}` and mend or remove them at the broker"
        )
    if rows := sum(one.lacks_row for one in left):
        parts.append(
            f"{rows} whose row in the ledger can't be read, as the log says: mend the row's progress there; or remove"
            " the row, and all tasks of its message run again"
        )
    if lacking := sum(one.lacks_body for one in left):
        parts.append(
            f"{lacking} whose body is not available, as the log says of each: put its file back into BODIES_URL, or "
            "remove them at the broker"
        )
    if waiting := sum(bool(one.tasks) and not one.lacks_body for one in left):
        tasks = sorted({task for one in left for task in one.tasks})
        parts.append(
            f"{waiting} with a task that is not in tasks.xml here ({', '.join(tasks)}): let a process"
            " run that has it, or have them fail permanently with TASK_MISSING_GRACE_S=0"
        )
    if count > len(left):
        parts.append(f"{count - len(left)} behind them in their message groups")
    noun = "message is" if count == 1 else "messages are"
    return f"{queue}: {count} {noun} left, neither run nor removed: {'; '.join(parts)}."
