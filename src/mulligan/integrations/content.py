"""What of a message becomes a title and a text, for people. Pure; never raises for any body."""

import json
from typing import Any

from mulligan.core.message import Message

__all__ = ["cut", "json_of", "one_line", "text_of", "title_of"]

_TITLES = ("summary", "title", "subject", "name", "message", "text", "event", "type", "id")
_JSON_MAX_BYTES = 1024 * 1024


def json_of(message: Message) -> Any:
    """The body as a JSON object or array; None when it is something else, or too large to be shown as one."""
    body = message.body
    if len(body) > _JSON_MAX_BYTES or body.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def title_of(message: Message, limit: int) -> str:
    """One line: of a JSON object the first of summary, title, subject, name ... (in any case) that is text or a number;
    of other JSON its compact form; else the first line.
    """
    data = json_of(message)
    if isinstance(data, dict) and (named := _named(data, limit)):
        return named
    if data is not None:
        title = one_line(json.dumps(data, ensure_ascii=False, separators=(",", ":")), limit)
    else:
        text = text_of(message, 10_000).strip()
        first = one_line(text.partition("\n")[0], limit)
        # a brace, a bracket or a rule alone says nothing: the lines after it do
        title = first if any(one.isalnum() for one in first) else one_line(text, limit)
    return title if title.strip("{}[], ") else f"Message {message.uid}"


def _named(data: dict[str, Any], limit: int) -> str:
    # SNS writes Subject, and Jira's users Summary; where there are several, the one that is written as here
    fields = {name.lower(): item for name, item in data.items()} | data
    for name in _TITLES:
        item = fields.get(name)
        if isinstance(item, str | int) and not isinstance(item, bool) and (title := one_line(str(item), limit)):
            return one_line(f"{name} {title}", limit) if name in ("event", "type", "id") else title
    return ""


def text_of(message: Message, limit: int) -> str:
    """The body: JSON with indents, other text as it is, binary bodies as their size. At most `limit` characters."""
    data = json_of(message)
    if data is not None:
        return cut(_clean(json.dumps(data, indent=2, ensure_ascii=False)), limit)
    try:
        text = message.body.decode()
    except UnicodeDecodeError:
        return f"({len(message.body):,} bytes that are not text)"
    return cut(_clean(text), limit)


def one_line(text: str, limit: int) -> str:
    """The text with every run of blanks as one, without what can't be printed, cut."""
    return cut("".join(one for one in " ".join(text.split()) if one.isprintable()), limit)


def cut(text: str, limit: int) -> str:
    """The text, or its beginning with " ..."."""
    return text if len(text) <= limit else text[: limit - 4] + " ..."


def _clean(text: str) -> str:
    # control characters, direction marks, and lone surrogates, which no request can carry
    return text if text.isprintable() else "".join(one for one in text if one.isprintable() or one in "\n\t")
