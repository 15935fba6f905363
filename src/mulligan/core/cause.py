"""The exceptions behind an exception: what it was raised from, or while handling what. Pure.

Exceptions are user code, too: whatever their texts do, nothing here raises for it.
"""

from collections.abc import Iterator

from mulligan.core.secret import redacted

__all__ = ["behind", "first_cause", "with_causes"]

CAUSES_SHOWN = 3
CAUSE_MAX = 160
_CHAIN_MAX = 100
_READ_MAX = 20_000


def behind(exc: BaseException) -> tuple[str, ...]:
    """A phrase for each exception behind it, the nearest first: ("caused by KeyError: 'id'", "while handling ...").

    At most three, the first of all among them, each of at most 160 characters in one line, without passwords of URLs.
    () when there is none, or `from None` says that it is of no interest.
    """
    causes: list[str] = []
    last = _named(exc)
    for word, one in _chain(exc):
        text = _named(one)
        if text not in (last, "CancelledError"):  # a client's own wrapping says the same again
            causes.append(_cut(f"{word} {text}"))
            last = text
    if len(causes) > CAUSES_SHOWN:
        causes[CAUSES_SHOWN - 1 :] = causes[-1:]
    return tuple(causes)


def first_cause(exc: BaseException) -> BaseException | None:
    """The exception that everything began with; None when there is no other behind this one."""
    found = [one for _, one in _chain(exc)]
    return found[-1] if found else None


def with_causes(text: str, exc: BaseException) -> str:
    """The text of an exception with what is behind it, at the end of its first line: some readers see no other."""
    phrases = behind(exc)
    if not phrases:
        return text
    first, line_break, rest = text.partition("\n")
    return "; ".join((first.rstrip(), *phrases)) + line_break + rest


def _chain(exc: BaseException) -> Iterator[tuple[str, BaseException]]:
    seen = {id(exc)}
    for _ in range(_CHAIN_MAX):
        word, following = "caused by", exc.__cause__
        if following is None and isinstance(exc, BaseExceptionGroup) and len(exc.exceptions) == 1:
            following = exc.exceptions[0]  # a group of one counts as that one
        if following is None and not exc.__suppress_context__:
            word, following = "while handling", exc.__context__
        if following is None or id(following) in seen:
            return
        seen.add(id(following))
        exc = following
        yield word, following


def _named(exc: BaseException) -> str:
    name = type(exc).__name__
    try:
        text = redacted(str(exc)[:_READ_MAX]).strip().partition("\n")[0].rstrip()
    except BaseException as raised:  # noqa: BLE001 - a __str__ is user code
        text = f"(its text can't be made: __str__ raised {type(raised).__name__})"
    return f"{name}: {text}" if text else name


def _cut(text: str) -> str:
    return text if len(text) <= CAUSE_MAX else text[: CAUSE_MAX - 4] + " ..."
