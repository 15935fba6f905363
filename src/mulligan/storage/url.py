"""URLs of brokers and ledgers: their scheme, the path of a SQLite one, and how they may be shown."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from mulligan.core.error import ConfigurationError

__all__ = ["redacted", "scheme_of", "sqlite_path"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_SECRETS = re.compile(r"(?<=//)[^/@\s]*:[^@\s]*(?=@)")
_SECRET_PARAMETERS = re.compile(r"(?i)([?&][^=&]*(?:password|passwd|secret|token|key)[^=&]*=)[^&]*")


def redacted(url: str) -> str:
    """The URL as it may be shown: without a user's password."""
    return _SECRET_PARAMETERS.sub(r"\1***", _SECRETS.sub(lambda found: found[0].split(":", 1)[0] + ":***", url))


def scheme_of(url: str, setting: str, known: Sequence[str], *, untold: Sequence[str] = ()) -> str:
    """The scheme, one of `known` or `untold`. Raises ConfigurationError that names those known and guesses what was
    meant. untold: of no use to an application.
    """
    found = _SCHEME.fullmatch(url.strip())
    expected = ", ".join(f"{scheme}://" for scheme in known)
    if found is None:
        raise ConfigurationError(
            [f"{setting}: {redacted(url)!r} is not a URL, expected one that begins with {expected}. Correct it."]
        )
    scheme = found[1].lower()
    if scheme in known or scheme in untold:
        return scheme
    near = difflib.get_close_matches(scheme, known, n=1)
    hint = f" Did you mean {near[0]}://?" if near else ""
    raise ConfigurationError(
        [f"{setting}: nothing is known for {scheme}:// in {redacted(url)!r}, expected one of {expected}.{hint}"]
    )


def sqlite_path(url: str, setting: str, base_dir: Path) -> Path:
    """The file of `sqlite:///relative` (below base_dir) or `sqlite:////absolute`. Raises ConfigurationError."""
    rest = url.strip().partition(":")[2]
    path = unquote(rest[3:])
    if not rest.startswith("///") or not path.strip("/") or path.endswith("/") or "?" in rest or "\0" in path:
        text = (
            f"{setting}: {url!r} names no file, expected sqlite:///var/name.db (below the application's folder) or"
            " sqlite:////absolute/path/name.db. Correct it; it takes no parameters."
        )
        raise ConfigurationError([text])
    return base_dir / path
