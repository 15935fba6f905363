"""Whether a task has broken its own process: then a write that fails here says nothing of the disk.

A storage that fails is the end of the whole system, for nobody knows what it has kept. Where a process had its files
closed under it, or may write no more, that process alone has to end: it dies, and what it ran is suspected.
"""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from mulligan.fork import Identity, identity
from mulligan.storage.file import identity as file_at

__all__ = ["Impairment"]

_FOLDER = "/proc/self/fd"
_ROOT = Path("/")
_LOG, _INDEX = "-wal", "-shm"


class Impairment:
    """What the process could do when this was made, to be held against what it can do later."""

    def __init__(self) -> None:
        self._file_bytes = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        self._root = file_at(_ROOT)
        self._databases = dict(_databases())

    def found(self) -> str | None:
        """What a task has taken from the process since; None when nothing is missing."""
        bytes_now = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        if bytes_now not in (self._file_bytes, resource.RLIM_INFINITY):
            return f"a task has limited the size of files to {bytes_now} bytes (RLIMIT_FSIZE)"
        if file_at(_ROOT) != self._root:
            return "a task has changed the root folder (chroot)"
        for descriptor, (path, seen) in self._databases.items():
            if identity(descriptor) != seen:
                return f"a task has closed descriptor {descriptor}, {path}"
        return None


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
        found = identity(descriptor)
        if found is not None and path.removesuffix(_LOG).removesuffix(_INDEX) in files:
            yield descriptor, (path, found)
