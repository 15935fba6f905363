"""Which build of the program a process runs, so that none works with another that was installed meanwhile.

A process keeps what it has imported, and a child that it starts imports what is there then. After `pip install -U`
under a running system those are two programs, whose messages and lease table need not be the same. So the first thing
that a child does is to compare, before it imports anything of its own and before a message of either side is read.
"""

import contextlib
import hashlib
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

import mulligan

__all__ = ["OTHER_VERSION", "OURS", "check", "is_changed", "of"]

OTHER_VERSION = 75  # EX_TEMPFAIL of sysexits.h: start again
_FOLDER = Path(mulligan.__file__).parent


def of(folder: Path, version: str) -> str:
    """The id of the build that is in a package's folder now: 16 hex digits. Takes a millisecond or two; never raises.

    Of an installed one its RECORD is looked at, where the installer has the hash of every file, so that the same build
    installed again is the same. Of a checkout it is names, sizes and times of the files.
    """
    digest = hashlib.sha256(version.encode())
    records = sorted(folder.parent.glob(f"{folder.name}-*.dist-info/RECORD"))
    for part in map(_content, records) if records else _files(folder):
        digest.update(part)
    return digest.hexdigest()[:16]


def _content(record: Path) -> bytes:
    try:
        return record.read_bytes()
    except OSError as exc:  # it is being replaced
        return str(exc).encode()


def _files(folder: Path) -> Iterator[bytes]:
    """A line a file below the folder; one that goes meanwhile is left out, which makes another build as well."""
    lines: list[str] = []
    folders = [str(folder)]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if not entry.is_dir():
                    status = entry.stat()
                    lines.append(f"{entry.path}\0{status.st_size}\0{status.st_mtime_ns}\n")
                elif entry.name != "__pycache__":
                    folders.append(entry.path)
    return (line.encode("utf-8", "surrogateescape") for line in sorted(lines))


OURS: Final = of(_FOLDER, mulligan.__version__)
"""Of this process. Looked at when this is imported: later, the files may be another's."""


def is_changed() -> bool:
    """Whether there is another build now in the place of the one that this process runs."""
    return of(_FOLDER, mulligan.__version__) != OURS


def check() -> None:
    """End this process unless its parent runs the same build.

    The last of its arguments is the parent's id, and is taken away; the first is the descriptor of its channel. Its
    parent may be of any version from this one on, so name, place and arguments of this function stay as they are, and
    so does the one message that it sends (`channel.OtherVersion`): four bytes of length, then a map in msgpack.
    """
    if sys.argv.pop() == OURS:
        return
    told = msgspec.msgpack.encode(
        {"type": "OtherVersion", "told": f"mulligan {mulligan.__version__} in {_FOLDER}, build {OURS}"}
    )
    os.write(int(sys.argv[1]), struct.pack("<I", len(told)) + told)
    os._exit(OTHER_VERSION)
