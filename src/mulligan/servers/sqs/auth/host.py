"""Under which names a server on a loopback address is asked.

A web page can have its own name lead to 127.0.0.1 and then talk to what listens there as to its own site: only the Host
header tells such a request from one of this machine's programs.
"""

import ipaddress
import re
from collections.abc import Iterable

__all__ = ["Hosts", "is_loopback"]

_PORT = re.compile(r":[0-9]*$")


class Hosts:
    """The names that are taken: the loopback ones, and those given."""

    def __init__(self, also: Iterable[str] = ()) -> None:
        self._also = frozenset(_bare(name) for name in also)

    def has(self, header: str) -> bool:
        """Whether a Host header is one of them. A request without one is no browser's."""
        name = _bare(header)
        return not name or name in self._also or is_loopback(name)


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's alone, or a name always stands for such an address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bare(header: str) -> str:
    """Without port and brackets, in lower case."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return _PORT.sub("", name) if name.count(":") == 1 else name
