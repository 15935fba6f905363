"""Taking passwords out of texts that a person or a log will see."""

import re

__all__ = ["redacted"]

# greedy up to the last @ of the word: a password may hold any character, and hiding too much does no harm
_USER_INFO = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://[^\s/@:]*):\S+@")
_PARAMETER = re.compile(r"(?i)([?&;][a-z_.-]*(?:password|passwd|secret|token|credential|key))=[^\s&;#'\"]+")


def redacted(text: str) -> str:
    """`text` with `***` in the place of every password of a URL and of every secret in its query."""
    if "://" not in text:
        return text
    return _PARAMETER.sub(r"\1=***", _USER_INFO.sub(r"\1:***@", text))
