"""A message in words: the history of a dead letter, and the short form that `peek` prints. Pure."""

from datetime import UTC, datetime

from mulligan.cli.dead_letter import UNKNOWN, DeadLetter, attribute_data, failed
from mulligan.cli.output import harmless, hidden, table
from mulligan.core.message import Message
from mulligan.core.progress import Mark, State

__all__ = ["TOO_NEW", "attributes_text", "body_text", "first_line", "moment", "picture"]

_BODY_SHOWN = 2000
_LINE_SHOWN = 100
TOO_NEW = (
    "This program can't read its state, so it neither replays nor removes it, and shows body and attributes as they\n"
    "travel. Use the newer version of mulligan that wrote it, or upgrade this one."
)
_WORDS = {State.DONE: "done", State.EXHAUSTED: "failed permanently", State.PENDING: "pending"}


def picture(letter: DeadLetter, *, whole_body: bool) -> str:
    """Everything about a dead letter, for a person."""
    state = letter.state
    facts = [
        ("uid", letter.uid),
        ("generation", _generation(letter.generation)),
        ("sent", moment(letter.message.sent_at)),
        ("first received", moment(None if state is None else state.first_seen_at)),
        ("dead since", moment(letter.dead_at)),
        ("copies", f"{len(letter.ids)}" + (" (twins, replayed as one)" if len(letter.ids) > 1 else "")),
        ("because", letter.problem or _why(letter)),
    ]
    parts = ["\n".join(f"{name + ':':<16}{harmless(item)}" for name, item in facts)]
    if letter.progress is not None and letter.progress.marks:
        parts.append("tasks\n" + "\n".join(_task(task, mark) for task, mark in letter.progress.marks.items()))
    if letter.is_too_new:
        parts.append(TOO_NEW)
    if letter.body_problem is not None:
        parts.append(f"body (not available)\n  {harmless(hidden(letter.body_problem))}")
        return "\n\n".join(parts)
    if letter.message.attributes:
        parts.append("attributes\n" + attributes_text(letter.message))
    parts.append(f"body ({letter.body_bytes:,} bytes)\n" + body_text(letter.message.body, whole=whole_body))
    return "\n\n".join(parts)


def attributes_text(message: Message) -> str:
    """One line an attribute, indented."""
    rows = [[f"  {first_line(name)}", first_line(attribute_data(item))] for name, item in message.attributes.items()]
    return table([["  name", "value"], *rows])


def body_text(body: bytes, *, whole: bool, limit: int = _BODY_SHOWN) -> str:
    """The body as text, harmless for a terminal; bytes that are not UTF-8 as \\xNN. whole: without a limit."""
    text = body if whole else body[:limit]
    shown = harmless(text.decode("utf-8", "backslashreplace"))
    if len(text) == len(body):
        return shown
    return f"{shown}\n... {len(body) - len(text):,} bytes more: --body shows all"


def first_line(text: str) -> str:
    """The first line of a text, harmless and cut."""
    line, _, rest = text.strip().partition("\n")
    line = harmless(line)
    if len(line) > _LINE_SHOWN:
        return line[: _LINE_SHOWN - 4] + " ..."
    return f"{line} ..." if rest else line


def moment(at: float | None) -> str:
    """A time as 2024-05-01 12:00:00 UTC; '-' for unknown."""
    if at is None:
        return "-"
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{at:g} (no date)"


def _why(letter: DeadLetter) -> str:
    if letter.unfinished:
        return f"somebody, or the broker, moved it here: {', '.join(letter.unfinished)} had not ended"
    names = ", ".join(failed(letter.progress))
    return f"{names} failed permanently" if names else "no task takes it"


def _generation(generation: int) -> str:
    if generation == UNKNOWN:
        return "not known to this version"
    return f"{generation}" + (" (as it was sent)" if generation == 0 else " (replayed)")


def _task(task: str, mark: Mark) -> str:
    tries = f"{mark.attempts} attempt{'' if mark.attempts == 1 else 's'}"
    when = "" if mark.failed_at is None else f", last failure {moment(mark.failed_at)}"
    line = f"  {harmless(task)}: {_WORDS[mark.state]} ({tries}{when})"
    if not mark.reason:
        return line
    return line + "".join(f"\n    | {row}" for row in harmless(hidden(mark.reason)).splitlines())
