"""The folder BODIES_URL: bodies that fit no copy, each in a file of its own. What their names mean is `core.packing`'s.

A body is whole and on the disk before its name is passed on. A crash may leave a file that nobody names; it
never leaves a name without its file.
"""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Protocol

from mulligan.core.error import PackingError

__all__ = ["BodyFolder", "BodyStore"]


class BodyStore(Protocol):
    """Where bodies are kept, by name."""

    def keep(self, name: str, content: bytes) -> None:
        """Have the content on disk under the name, whatever was there. Raises PackingError when that can't be done."""

    def load(self, name: str, size: int) -> bytes:
        """The content. size: bytes it must have. Raises PackingError with what is wrong."""

    def drop(self, name: str) -> None:
        """Remove the body; one that isn't there is removed already. Raises PackingError when it stays."""


class BodyFolder(BodyStore):
    """Keeps, gives and drops files. Made where it is missing, at the first body; several processes may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self, name: str, content: bytes) -> None:
        """See `BodyStore`."""
        part = self._path / f"{name}.{secrets.token_hex(4)}.part"
        try:
            _make_folder(self._path)
            try:
                _write(part, content)
                part.replace(self._path / name)
            except BaseException:
                with contextlib.suppress(OSError):
                    part.unlink()
                raise
            # always both: who made the folder may have died before it was on disk
            _sync_folder(self._path)
            _sync_folder(self._path.parent)
        except OSError as exc:
            raise PackingError(
                f"its copy doesn't fit the queue, and its body ({len(content)} bytes) can't be kept in"
                f" {self._path} (BODIES_URL): {exc.strerror or exc}. Make room there, or correct its rights."
            ) from None

    def load(self, name: str, size: int) -> bytes:
        """See `BodyStore`."""
        path = self._path / name
        try:
            with path.open("rb") as file:
                content = file.read(size + 1)
        except FileNotFoundError:
            raise PackingError(
                f"its body is not where it was stored: there is no file {path}. It was removed, or another host stored"
                " it. Put it back there, or let all hosts share one BODIES_URL."
            ) from None
        except OSError as exc:
            raise PackingError(
                f"its stored body {path} can't be read: {exc.strerror or exc}. Correct its rights."
            ) from None
        if len(content) != size:
            raise PackingError(
                f"its stored body {path} does not have the {size} bytes that were stored. Restore the right file."
            )
        return content

    def drop(self, name: str) -> None:
        """See `BodyStore`."""
        path = self._path / name
        try:
            path.unlink(missing_ok=True)
        except OSError as exc:
            raise PackingError(f"the stored body {path} can't be removed: {exc.strerror or exc}") from None


def _make_folder(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_dir():
        path.mkdir(mode=0o700, exist_ok=True)
        path.chmod(0o700)  # whatever umask a task has set


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123 - of a descriptor
        os.fchmod(descriptor, 0o600)  # others have to read it, whatever umask a task has set
        rest = memoryview(content)
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    """Have the folder's list of names on disk: a rename alone may be lost with the power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
