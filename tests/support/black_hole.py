"""Addresses that swallow connections, and names that have such addresses among theirs. Needs no rights.

A socket that listens and accepts nothing, with its queue full, is to the kernel a reason to drop what else comes: a
client waits as it does for a host that is gone.
"""

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

__all__ = ["black_hole", "resolve"]


@contextlib.contextmanager
def black_hole(host: str = "127.0.0.2", port: int = 0) -> Iterator[int]:
    """Swallows every connection to this address while the body runs; gives the port."""
    with contextlib.ExitStack() as open_ones:
        hole = open_ones.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
        hole.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        hole.bind((host, port))
        hole.listen(0)
        for _ in range(3):  # more than its queue takes
            filler = open_ones.enter_context(socket.socket(hole.family))
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
        yield hole.getsockname()[1]


def resolve(monkeypatch: pytest.MonkeyPatch, name: str, *addresses: str) -> None:
    """Have the system's resolver give these addresses, in this order, for one name; others as ever."""
    asked = socket.getaddrinfo

    def answer(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:  # noqa: A002 - as the standard library's
        if host not in (name, name.encode()):
            return asked(host, port, family, type, proto, flags)
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [one for address in addresses for one in asked(address, port, family, type, proto, flags)]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
