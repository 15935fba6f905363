"""Whether a task has broken its own process: then a write that fails here says nothing of the disk.

A storage that fails is the end of the whole system, for nobody knows what it has kept. Where a process had its files
closed under it, or may write no more, that process alone has to end: it dies, and what it ran is suspected.
"""

import os
import resource
from collections.abc import Iterator

__all__ = ["Impairment"]

_FOLDER = "/proc/self/fd"
_LOG, _INDEX = "-wal", "-shm"

Identity = tuple[int, int]


class Impairment:
    """What the process could do when this was made, to be held against what it can do later."""

    def __init__(self) -> None:
        self._file_bytes = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        self._root = _root()
        self._databases = dict(_databases())

    def found(self) -> str | None:
        """What a task has taken from the process since; None when nothing is missing."""
        bytes_now = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        if bytes_now not in (self._file_bytes, resource.RLIM_INFINITY):
            return f"a task has limited the size of files to {bytes_now} bytes (RLIMIT_FSIZE)"
        if _root() != self._root:
            return "a task has changed the root folder (chroot)"
        for descriptor, (path, identity) in self._databases.items():
            if _identity(descriptor) != identity:
                return f"a task has closed descriptor {descriptor}, {path}"
        return None


def _root() -> Identity:
    found = os.stat("/")  # noqa: PTH116 - beside os.fstat
    return found.st_dev, found.st_ino


def _databases() -> Iterator[tuple[int, tuple[str, Identity]]]:
    """Descriptors of SQLite's files, each with path and identity. Nothing where there is no /proc."""
    try:
        names = os.listdir(_FOLDER)  # noqa: PTH208 - numbers, not paths
    except OSError:
        return
    paths: dict[int, str] = {}
    for name in names:
        try:
            paths[int(name)] = os.readlink(f"{_FOLDER}/{name}")  # noqa: PTH115 - of a descriptor
        except OSError:  # that of the listing itself
            continue
    files = {path.removesuffix(_LOG) for path in paths.values() if path.endswith(_LOG)}
    for descriptor, path in paths.items():
        identity = _identity(descriptor)
        if identity is not None and path.removesuffix(_LOG).removesuffix(_INDEX) in files:
            yield descriptor, (path, identity)


def _identity(descriptor: int) -> Identity | None:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino
