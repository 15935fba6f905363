"""How a receiver that waits hears at once of a message that another process sent, without asking again and again.

Each process that waits has a named pipe in a folder beside the database; who sends writes one byte, the queue's number,
into every pipe after its commit. A byte too many costs one look at the queue. A lost one costs a second, because every
receiver also polls that often: so nothing here may fail, and where pipes can't be made nothing is lost but time.
"""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from mulligan.fork import keep

__all__ = ["Notifier"]

SUFFIX = ".pipe"


class Notifier:
    """The pipe of this process, and the way to ring those of the others. Bound to the event loop that waits first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        self._pipe: int | None = None
        self._is_deaf = False
        self._waiting: dict[asyncio.Event, int] = {}

    @contextlib.contextmanager
    def listening(self, queue_number: int) -> Iterator[asyncio.Event]:
        """An event that is set whenever the queue may hold something new. Enter before the look that finds nothing."""
        event = asyncio.Event()
        if not self._waiting:
            self._listen()
        self._waiting[event] = queue_number
        try:
            yield event
        finally:
            del self._waiting[event]
            if not self._waiting and self._pipe is not None:
                asyncio.get_running_loop().remove_reader(self._pipe)

    def ring(self, queue_number: int) -> None:
        """Wake all receivers that wait for the queue, in this process and in others. Never raises."""
        self._wake({queue_number % 256})
        try:
            names = os.listdir(self._folder)  # noqa: PTH208 - at every send: Path.iterdir makes a Path of each first
        except OSError:
            return  # nobody ever waited
        for name in names:
            if name.endswith(SUFFIX) and name != self._name:
                self._write(self._folder / name, bytes((queue_number % 256,)))

    def wake_all(self) -> None:
        """Wake all receivers of this process."""
        for event in self._waiting:
            event.set()

    def close(self) -> None:
        """Remove the pipe. Twice is once."""
        if self._pipe is None:
            return
        if self._waiting:
            asyncio.get_running_loop().remove_reader(self._pipe)
        os.close(self._pipe)
        self._pipe = None
        self._is_deaf = True
        with contextlib.suppress(OSError):
            (self._folder / self._name).unlink()

    def _listen(self) -> None:
        if self._pipe is None and not self._is_deaf:
            try:
                self._pipe = self._make()
            except OSError:
                self._is_deaf = True  # a file system without named pipes: looking every second must do
        if self._pipe is None:
            return
        self._read()  # what rang while nobody waited
        try:
            asyncio.get_running_loop().add_reader(self._pipe, self._on_ring)
        except (NotImplementedError, OSError):
            self._is_deaf = True

    def _make(self) -> int:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        unready = self._folder / f"{self._name}.new"
        os.mkfifo(unready, 0o600)
        unready.chmod(0o600)  # whatever umask a task has set
        try:
            # for writing too, so that it doesn't look closed whenever the last sender lets go
            pipe = os.open(unready, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            unready.unlink()
            raise
        keep(pipe)
        # a sender removes pipes that nobody reads, so its name appears only now
        unready.rename(self._folder / self._name)
        return pipe

    def _on_ring(self) -> None:
        self._wake(set(self._read()))

    def _read(self) -> bytes:
        try:
            return os.read(self._pipe, 65_536) if self._pipe is not None else b""
        except OSError:
            return b""

    def _wake(self, numbers: set[int]) -> None:
        for event, number in self._waiting.items():
            if number % 256 in numbers:
                event.set()

    def _write(self, pipe: Path, data: bytes) -> None:
        try:
            target = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError:
            # ENXIO: its process is gone without a good-bye
            with contextlib.suppress(OSError):
                pipe.unlink()
            return
        try:
            os.write(target, data)
        except OSError:
            pass  # full: it will wake up anyway
        finally:
            os.close(target)
