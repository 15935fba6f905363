"""The hub: where events go in, and from where every listener gets them."""

from collections import Counter
from collections.abc import Callable, Iterable

from mulligan.core.cause import with_causes
from mulligan.core.event import Event, ListenerFailed

__all__ = ["Hub", "Listener"]

Listener = Callable[[Event], None]
"""Hears events. Called where the event happened, so it must be quick and must not wait.

Three methods are optional: `wants(kind) -> bool` (kinds of events that it hears; the answer is kept), `tend()` (called
from time to time) and `close()`.
"""


class Hub:
    """Hands events to listeners. Never raises: a listener that does is counted, reported once, and called again."""

    def __init__(self, listeners: Iterable[Listener]) -> None:
        self._listeners = tuple(listeners)
        self._hearers: dict[type[Event], tuple[Listener, ...]] = {}
        self._reported: set[tuple[int, type[BaseException]]] = set()
        self.raised: Counter[str] = Counter()
        """How often each listener raised, by its name."""

    def emit(self, event: Event) -> None:
        """Give the event to every listener that wants its kind."""
        kind = type(event)
        hearers = self._hearers.get(kind)
        for listener in self._found(kind) if hearers is None else hearers:
            try:
                listener(event)
            except (Exception, SystemExit) as exc:  # noqa: BLE001 - a listener may be anybody's, and changes nothing
                self._count(listener, exc, event)

    def wants(self, kind: type[Event]) -> bool:
        """Whether anybody hears such events: where nobody does, a hot caller need not make one."""
        hearers = self._hearers.get(kind)
        return bool(self._found(kind) if hearers is None else hearers)

    def tend(self) -> None:
        """Let listeners do what is due now and then, such as the rotation of the log. About once a second."""
        self._call("tend")

    def close(self) -> None:
        """Let listeners write what they hold and let go of files. Twice is once."""
        self._call("close")

    def _found(self, kind: type[Event]) -> tuple[Listener, ...]:
        found = tuple(listener for listener in self._listeners if self._is_wanted(listener, kind))
        self._hearers[kind] = found
        return found

    def _is_wanted(self, listener: Listener, kind: type[Event]) -> bool:
        wants = getattr(listener, "wants", None)
        if wants is None:
            return True
        try:
            return bool(wants(kind))
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - as in emit
            self._count(listener, exc, None)
            return True

    def _call(self, method: str) -> None:
        for listener in self._listeners:
            function = getattr(listener, method, None)
            if function is None:
                continue
            try:
                function()
            except (Exception, SystemExit) as exc:  # noqa: BLE001 - as in emit
                self._count(listener, exc, None)

    def _count(self, listener: Listener, exc: BaseException, event: Event | None) -> None:
        name = _name(listener)
        self.raised[name] += 1
        key = (id(listener), type(exc))
        # one that raises at ListenerFailed itself must not be reported in a loop
        if key in self._reported or isinstance(event, ListenerFailed):
            return
        self._reported.add(key)
        self.emit(ListenerFailed(listener=name, error=_text(exc)))


def _name(listener: Listener) -> str:
    owner = listener if hasattr(listener, "__qualname__") else type(listener)
    return f"{owner.__module__}:{owner.__qualname__}"


def _text(exc: BaseException) -> str:
    try:
        return with_causes(f"{type(exc).__name__}: {exc}", exc)
    except Exception:  # noqa: BLE001 - a __str__ may raise too
        return type(exc).__name__
