"""URLs of brokers and ledgers: their scheme, and the path of a SQLite one."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from mulligan.core.error import ConfigurationError
from mulligan.core.secret import redacted_url
from mulligan.core.url import control_fault

__all__ = ["scheme_of", "sqlite_path"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")


def scheme_of(url: str, setting: str, known: Sequence[str], *, unlisted: Sequence[str] = ()) -> str:
    """The scheme, one of `known` or `unlisted`. Raises ConfigurationError that names those known and guesses what was
    meant. unlisted: of no use to an application.
    """
    found = _SCHEME.match(url.strip())
    expected = ", ".join(f"{scheme}://" for scheme in known)
    # without the slashes it may be a user's name with a password after it
    if found is None or not (found[2] or found[1].lower() in (*known, *unlisted)):
        raise ConfigurationError(
            [f"{setting}: {redacted_url(url)!r} is not a URL, expected one that begins with {expected}. Correct it."]
        )
    scheme = found[1].lower()
    if scheme in known or scheme in unlisted:
        if fault := control_fault(url):
            raise ConfigurationError([f"{setting}: {redacted_url(url)!r} can't be used: {fault}."])
        return scheme
    near = difflib.get_close_matches(scheme, known, n=1)
    hint = f" Did you mean {near[0]}://?" if near else ""
    raise ConfigurationError(
        [f"{setting}: the scheme {scheme}:// is unknown in {redacted_url(url)!r}, expected one of {expected}.{hint}"]
    )


def sqlite_path(url: str, setting: str, base_dir: Path) -> Path:
    """The file of `sqlite:///relative` (below base_dir) or `sqlite:////absolute`. Raises ConfigurationError."""
    rest = url.strip().partition(":")[2]
    path = unquote(rest[3:])
    if not rest.startswith("///") or not path.strip("/") or path.endswith("/") or "?" in rest or "\0" in path:
        text = (
            f"{setting}: {redacted_url(url)!r} names no file, expected sqlite:///var/name.db (below the application's"
            " folder) or sqlite:////absolute/path/name.db. Correct it; it takes no parameters."
        )
        raise ConfigurationError([text])
    return base_dir / path
