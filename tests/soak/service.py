"""What a system leans on, a broker or a ledger, and how it does wrong while everything else goes on."""

import shutil
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

__all__ = ["Service"]


class Service:
    """Faults that take time go on beside all else, one after the other.

    They are done by one thread for as long as the service is there: a server that it starts again ends with it.
    """

    def __init__(self) -> None:
        self._hand = ThreadPoolExecutor(1)
        self._strikes: list[Future[None]] = []

    def strike(self, fault: str) -> None:
        """Begin a fault. Returns at once."""
        self._strikes.append(self._hand.submit(self._do, fault))

    def wait(self) -> None:
        """Wait until it works again; whoever is told of failures (a producer, a person) asks it only then."""
        while self._strikes:
            self._strikes.pop().result()

    def keep_logs(self, folder: Path) -> None:
        """Put what it said into a folder: something went wrong."""
        for path in self._logs():
            shutil.copy(path, folder)

    def _logs(self) -> Iterable[Path]:
        return ()

    def close(self) -> None:
        """After the last fault."""
        self._hand.shutdown()

    def _do(self, fault: str) -> None:
        raise AssertionError(f"{type(self).__name__} has no fault {fault!r}")
