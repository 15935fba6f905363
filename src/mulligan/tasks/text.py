"""The words of problems: did-you-mean, and values and exceptions of user code shown shortly, whatever they do."""

import difflib
from collections.abc import Iterable

from mulligan.core.cause import with_causes
from mulligan.core.secret import redacted

__all__ = ["cut", "did_you_mean", "raised", "shown"]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` with a leading blank, or "" when nothing known is near."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower()[:200], by_lower, n=1, cutoff=0.6)
    return f" Did you mean {by_lower[near[0]]!r}?" if near else ""


def cut(text: str, length: int) -> str:
    """The text, or its beginning."""
    return text if len(text) <= length else text[: length - 4] + " ..."


def shown(thing: object) -> str:
    """The repr of a thing of the user's, in one line of at most 100 characters."""
    try:
        text = repr(thing)
    except Exception:  # noqa: BLE001 - a __repr__ is user code
        text = f"a {type(thing).__name__}"
    return cut(text, 100)


def raised(exc: BaseException) -> str:
    """An exception as `Type: text; caused by ...`, at most 500 characters of text, without passwords of URLs."""
    try:
        text = cut(redacted(str(exc)[:20_000]), 500)
    except BaseException as other:  # noqa: BLE001 - a __str__ is user code
        text = f"(its text can't be made: __str__ raised {type(other).__name__})"
    return with_causes(f"{type(exc).__name__}: {text}" if text else type(exc).__name__, exc)
