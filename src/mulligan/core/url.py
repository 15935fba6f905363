"""Taking a URL apart, for every setting that takes one. A fault is reported without quoting the URL: the texts of
the standard library's parser quote what they stumbled over, which may be a password.
"""

import re
from urllib.parse import SplitResult, unquote, urlsplit

__all__ = ["ESCAPES", "UrlFault", "control_fault", "hosts_of", "split_url"]

_FORM = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_AUTHORITY = re.compile(r"[^/?#]*")
_HOST = re.compile(r"(\[[^\[\]@]*\]|[^:@\[\]]*)(?::([0-9]*))?")

# also halves of characters that stand for no byte of the environment
_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udc7f\udd00-\udfff]")

ESCAPES = "a # / ? in the password is written %23 / %2F / %3F"


class UrlFault(ValueError):
    """Why a URL can't be used, and what to do: the rest of a sentence that begins with its setting. Holds no part of
    the URL.
    """


def split_url(url: str, *, takes_several: bool = False) -> SplitResult:
    """The parts of `scheme://user:password@host:port/path?query`. Blanks and line ends around it are not part of it.

    takes_several: hosts with commas between them; ask `hosts_of` then, not the result's `hostname` and `port`.
    Raises UrlFault.
    """
    url = url.strip()
    form = _FORM.match(url)
    if form is None:
        raise UrlFault("it is not a URL: it has no scheme with :// after it")
    if fault := control_fault(url):
        raise UrlFault(fault)
    rest = url[form.end() :]
    found = _AUTHORITY.match(rest)
    authority = found[0] if found else ""
    beyond = rest[len(authority) :]
    if "@" in beyond and (any(char in authority for char in ":@") or "@" in beyond.partition("?")[0]):
        raise UrlFault(f"an @ follows after the host has ended; {ESCAPES}, an @ beyond the host %40")
    try:
        # newer versions of the parser refuse [ ] around one of several hosts
        has_several = takes_several and "," in authority
        parts = urlsplit(form[0] + beyond)._replace(netloc=authority) if has_several else urlsplit(url)
    except ValueError:
        raise UrlFault(
            "its host can't be read; an IPv6 address stands in [ and ], other names are plain text"
        ) from None
    names = authority.rpartition("@")[2].split(",") if takes_several else [authority.rpartition("@")[2]]
    for name in names:
        _check_host(name, has_user="@" in authority)
    return parts


def control_fault(url: str) -> str | None:
    """What is wrong with a URL that holds control characters, other than at its ends; None when it holds none.

    Parsers drop some of them without a word, and then another password is sent than the one that was written.
    """
    found = _CONTROL.search(url.strip())
    if found is None:
        return None
    unseen = found[0]
    if ord(unseen) > 127:
        return f"it holds the half character U+{ord(unseen):04X}, which can't be sent; write the whole one"
    name = {"\n": " (a line break)", "\r": " (a line break)", "\t": " (a tab)"}.get(unseen, "")
    return (
        f"it holds the control character U+{ord(unseen):04X}{name}; cut it off where it is the end of a file that a "
        f"part of the URL came from, and write it %{ord(unseen):02X} where it belongs to the password"
    )


def hosts_of(parts: SplitResult) -> list[str]:
    """The hosts of what `split_url` took apart, decoded, without ports; [] when it names none."""
    found = [_HOST.fullmatch(name) for name in parts.netloc.rpartition("@")[2].split(",")]
    return [unquote(one[1]).removeprefix("[").removesuffix("]") for one in found if one is not None and one[1]]


def _check_host(name: str, *, has_user: bool) -> None:
    found = _HOST.fullmatch(name)
    if found is not None and (not found[2] or (len(found[2]) <= 5 and int(found[2]) <= 65535)):
        return
    hint = "" if has_user else f"; where a user and a password are meant, {ESCAPES}, and @ and the host follow"
    raise UrlFault(f"the port of its host is not a number from 1 to 65535{hint}")
