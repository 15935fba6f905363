"""The names that a Host header may have at a server on a loopback address.

A web page can make its own name resolve to 127.0.0.1 and then send requests to a local server as to its own site (DNS
rebinding). Only the Host header distinguishes such a request from one of this machine's programs.
"""

import ipaddress
import re
from collections.abc import Iterable

__all__ = ["Hosts", "is_loopback"]

_PORT = re.compile(r":[0-9]*$")


class Hosts:
    """The accepted names: those of loopback addresses, and those in `also`."""

    def __init__(self, also: Iterable[str] = ()) -> None:
        self._also = frozenset(_bare(name) for name in also)

    def has(self, header: str) -> bool:
        """Whether a Host header is one of them. Also when it is empty: a browser always sends one."""
        name = _bare(header)
        return not name or name in self._also or is_loopback(name)


def is_loopback(host: str) -> bool:
    """Whether it is a loopback address, or a name that always resolves to one."""
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
