"""The environment variables of the ready tasks: the one module of theirs that asks for them, when a task is made."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec

from mulligan.core.extra import install_hint
from mulligan.core.url import UrlFault, split_url
from mulligan.environ import ENVIRON

__all__ = ["missing", "missing_extra", "token_problems", "url_problems", "variable"]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def variable(name: str, default: str = "") -> str:
    """The value of a variable without blanks around it; `default` when it is not set or empty."""
    return ENVIRON.get(name, "").strip() or default


def missing(**values: str) -> list[str]:
    """A sentence for each name whose value is empty."""
    return [f"the environment variable {name} is not set: export {name}=..." for name, one in values.items() if not one]


def token_problems(**values: str) -> list[str]:
    """A sentence for each name whose value no header of a request can hold. The value itself is never shown."""
    problems = []
    for name, one in values.items():
        at = next((at for at, char in enumerate(one) if not "\x20" < char < "\x7f"), None)
        if at is not None:
            problems.append(
                f"{name} holds the character U+{ord(one[at]):04X} in place {at + 1}, expected letters, digits and "
                "signs without blanks. Copy it again."
            )
    return problems


def missing_extra() -> list[str]:
    """What to install when the HTTP client is not there; [] when it is."""
    if find_spec("httpx") is not None:
        return []
    return [f"it needs httpx, which is not installed: {sys.executable} -m {install_hint('integrations')}"]


def url_problems(name: str, url: str, schemes: Sequence[str] = ("https", "http")) -> list[str]:
    """What is wrong with the URL in a variable: no URL, a password in it, or plain http to another machine."""
    example = f"export {name}={schemes[0]}://..."
    try:
        parts = split_url(url)
    except UrlFault as exc:
        return [f"{name} is not a URL ({exc}): {example}"]
    host = parts.hostname or ""
    if parts.scheme not in schemes or not host:
        return [f"{name} is not a URL that begins with {schemes[0]}://, and a host after that: {example}"]
    if parts.scheme == "http" and host not in _LOOPBACK:
        return [f"{name} begins with http://, so everybody on the way could read the token. Write https://{host}"]
    if parts.scheme in {"http", "https"} and parts.username is not None:
        return [f"{name} holds a user name. Write it without, and give name and token by their own variables."]
    return []
